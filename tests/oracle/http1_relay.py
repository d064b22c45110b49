"""A message taken and sent on as the proxy does it, and the proof that other parsers read what we read."""

from fastmesh._core import forwarding, http1_parser, http1_writer
from fastmesh._core.headers import Head
from fastmesh._core.http1_chunked import Decoder
from tests.oracle.http1_readers import (
    LLHTTP_METHODS,
    Reading,
    h11_request,
    h11_response,
    llhttp_request,
    llhttp_response,
    normalized,
)

SIZE_MAX_BYTES = 1 << 20


class Incomplete(Exception):
    """The message has no end yet, or a body that is too long to be tried."""


def _split(data: bytes) -> tuple[bytes, bytes]:
    skipped = http1_parser.skip_empty_lines(data)
    end, _ = http1_parser.find_head_end(data[skipped:])
    if end == 0:
        raise Incomplete
    return data[skipped : skipped + end], data[skipped + end :]


def _read_body(head: Head, rest: bytes) -> tuple[bytes, Head | None]:
    if head.framing == "length":
        if head.content_length > len(rest) or head.content_length > SIZE_MAX_BYTES:
            raise Incomplete
        return rest[: head.content_length], None
    if head.framing == "chunked":
        decoder = Decoder()
        body, done, _ = decoder.feed(rest)
        if not done:
            raise Incomplete
        return body, http1_parser.parse_trailers(decoder.trailer) if decoder.trailer else None
    return (rest if head.framing == "close" else b""), None


def _write_body(framing: str, body: bytes, trailers: Head | None) -> bytes:
    if framing != "chunked":
        return body
    # Two chunks, so that the border between them is read too.
    pieces = [piece for piece in (body[: len(body) // 2], body[len(body) // 2 :]) if piece]
    chunks = b"".join(http1_writer.write_chunk_head(len(piece)) + piece + b"\r\n" for piece in pieces)
    return chunks + http1_writer.write_last_chunk(trailers)


def _trailer_fields(trailers: Head | None) -> list[tuple[bytes, bytes]]:
    return [] if trailers is None else normalized(trailers.fields)


def check_request(data: bytes, trusted_hops: int = 0) -> bytes:
    """Take a request and send it on; what is sent, when h11 and llhttp read it as we do.

    Raises ParseError when it is refused, Incomplete, and AssertionError (or an error of theirs) when they differ.
    """
    head_bytes, rest = _split(data)
    head = http1_parser.parse_request(head_bytes)
    body, trailers = _read_body(head, rest)
    sent_head = forwarding.request(head, trusted_hops=trusted_hops, via=b"mesh")
    written = http1_writer.write_request(sent_head)
    sent = written + _write_body(sent_head.framing, body, trailers)
    target = written.split(b" ", 2)[1]
    fields = [(name, value) for name, value in sent_head.fields if name.lower() != b"host"]
    expected = Reading(
        (head.method, target), normalized([(b"host", head.authority), *fields]), body, _trailer_fields(trailers), True
    )
    assert h11_request(sent) == expected, "h11"
    if head.method in LLHTTP_METHODS:
        assert llhttp_request(sent) == expected, "llhttp"
    return sent


def check_response(data: bytes, method: str = "GET", version_minor: int = 1) -> bytes:
    """The same for a response to a request of this method, sent on to a client of HTTP/1.`version_minor`."""
    head_bytes, rest = _split(data)
    head = http1_parser.parse_response(head_bytes, method)
    body, trailers = _read_body(head, rest)
    sent_head = forwarding.response(head, method, version_minor=version_minor, via=b"mesh")
    sent = http1_writer.write_response(sent_head) + _write_body(sent_head.framing, body, trailers)
    expected = Reading(
        (b"%d" % head.status, head.reason),
        normalized(sent_head.fields),
        body,
        _trailer_fields(trailers) if sent_head.framing == "chunked" else [],
        True,
    )
    closed = sent_head.framing == "close"
    # No CONNECT is answered by 101: whether one was asked for is not the codec's question.
    reading = h11_response(sent, b"GET" if head.status == 101 else method.encode(), closed)
    # Behind an upgrade, or a tunnel that is open, h11 reads no more.
    reading.ended = reading.ended or head.status == 101 or method == "CONNECT"
    assert reading == expected, "h11"
    reading = llhttp_response(sent)
    reading.ended = reading.ended or closed or method in ("HEAD", "CONNECT")
    assert reading == expected, "llhttp"
    return sent
