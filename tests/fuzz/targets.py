"""What is fuzzed: each target takes any bytes, and raises only when something is wrong.

It returns a signature of what happened; an input with a new signature is worth to be changed further.
"""

import re
from collections.abc import Callable
from urllib.parse import unquote_to_bytes

from fastmesh._core import grpc, hpack, http1_parser, http1_writer, proxy_protocol, tls_hello
from fastmesh._core.headers import Head
from fastmesh._core.http1_chunked import Decoder
from fastmesh._core.http1_parser import ParseError
from tests.fuzz import session
from tests.http2_peers import PREFACE, frame, settings, u32
from tests.oracle.first_bytes import read_hello, read_proxy
from tests.oracle.hpack_blocks import check_blocks
from tests.oracle.http1_relay import Incomplete, check_request, check_response
from tests.oracle.http2_lines import check_http2_request, check_http2_response
from tests.unit.core.hello_vectors import alpn, client_hello, message, records, server_name
from tests.unit.core.http1_vectors import (
    BAD_CHUNKED,
    BAD_REQUESTS,
    BAD_RESPONSES,
    GOOD_CHUNKED,
    GOOD_REQUESTS,
    GOOD_RESPONSES,
    answer,
    field,
)
from tests.unit.core.test_proxy_protocol import GOOD as GOOD_PROXY_HEADERS

Target = Callable[[bytes], str]
METHODS = ("GET", "HEAD", "CONNECT")
_SMALL = {"start_line_max": 100, "head_max": 600}


def _head(data: bytes, cut: int, parse: Callable[[bytes], Head]) -> Head | str | None:
    """The head, the name of an error, or None: not yet; the bytes come in two pieces, cut there."""
    scanned = 0
    try:
        for piece in (data[:cut], data):
            end, scanned = http1_parser.find_head_end(piece, scanned, **_SMALL)
            if end:
                return parse(data[:end])
    except ParseError as error:
        return error.name
    return None


def _read_twice(data: bytes, parse: Callable[[bytes], Head], write: Callable[[Head], bytes]) -> str:
    whole = _head(data, 0, parse)
    pieces = _head(data, sum(data) % (len(data) + 1), parse)
    if not isinstance(whole, Head):
        assert pieces == whole, (pieces, whole)
        return str(whole)
    assert isinstance(pieces, Head), pieces
    written = write(whole)
    assert write(pieces) == written
    # What we write, we take; and it says the same.
    again = parse(written)
    assert write(again) == written
    assert (again.framing, again.content_length) == (whole.framing, whole.content_length)
    return f"{whole.framing} {sorted(whole.flags)} {whole.version_minor} {min(len(whole.fields), 1)}"


def request(data: bytes) -> str:
    return _read_twice(data, http1_parser.parse_request, http1_writer.write_request)


def response(data: bytes) -> str:
    method = METHODS[sum(data) % 3]
    return method + _read_twice(
        data, lambda head: http1_parser.parse_response(head, method), http1_writer.write_response
    )


_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]+)(?:;[ \t]*[!#-'*+\-.0-9A-Z^_`a-z|~][\t\x20-\x7e\x80-\xff]*)?\r\n")
_TRAILER = re.compile(rb"\r\n|(?:[^\r\n\x00]|\r\n(?!\r\n))+\r\n\r\n")


def slow_decode(data: bytes) -> tuple[bytes, int] | None:
    """The obvious twin of the decoder: body and length of a whole chunked body, or None."""
    body = b""
    at = 0
    while True:
        line = _CHUNK_LINE.match(data, at)
        if line is None or line.end() - at > 1024:
            return None
        size = int(line[1], 16)
        at = line.end()
        if size == 0:
            break
        if data[at + size : at + size + 2] != b"\r\n":
            return None
        body += data[at : at + size]
        at += size + 2
    trailer = _TRAILER.match(data, at)
    return (body, trailer.end()) if trailer is not None else None


def _decode(pieces: list[bytes]) -> tuple[bytes, bool, int]:
    decoder = Decoder()
    body = b""
    total = 0
    for piece in pieces:
        data, done, consumed = decoder.feed(piece)
        body += data
        total += consumed
        if done:
            if decoder.trailer:
                http1_parser.parse_trailers(decoder.trailer)
            return body, True, total
    return body, False, total


def chunked(data: bytes) -> str:
    cut = sum(data) % (len(data) + 1)
    outcomes: list[object] = []
    for pieces in ([data], [data[i : i + 1] for i in range(len(data))], [data[:cut], data[cut:]]):
        try:
            outcomes.append(_decode(pieces))
        except ParseError as error:
            outcomes.append(error.name)
    assert outcomes[0] == outcomes[1] == outcomes[2], outcomes
    expected = slow_decode(data)
    if isinstance(outcomes[0], tuple) and outcomes[0][1]:
        assert expected == (outcomes[0][0], outcomes[0][2]), (expected, outcomes[0])
        return f"done {min(len(outcomes[0][0]), 9)}"
    # A trailer may have no flaw in its lines and yet hold no fields.
    assert expected is None or outcomes[0] == "bad_trailer", (expected, outcomes[0])
    return str(outcomes[0] if isinstance(outcomes[0], str) else "more")


def _checked(check: Callable[[], bytes]) -> str:
    try:
        lines = check().count(b"\r\n")
    except ParseError as error:
        return error.name
    except Incomplete:
        return "incomplete"
    return f"sent {min(lines, 16)}"


def relay_request(data: bytes) -> str:
    return _checked(lambda: check_request(data, sum(data) % 2))


def relay_response(data: bytes) -> str:
    method = METHODS[sum(data) % 3]
    return _checked(lambda: check_response(data, method, len(data) % 2))


def proxy(data: bytes) -> str:
    """Bytes that may begin with a PROXY header."""
    found = proxy_protocol.read(data)
    assert found == read_proxy(data), (found, read_proxy(data))
    early = proxy_protocol.read(data[: sum(data) % (len(data) + 1)])
    assert early[0] == 0 or early == found, (early, found)
    result, family, source, source_port, destination, destination_port = found
    if family:
        for write in (proxy_protocol.write_v1, proxy_protocol.write_v2):
            written = write(source.encode(), source_port, destination.encode(), destination_port)
            assert proxy_protocol.read(written) == (len(written), *found[1:]), written
    return f"{min(result, 1)} {family} {data.startswith(b'PROXY ')} {len(source) // 8}"


def hello(data: bytes) -> str:
    """Bytes that may begin with a ClientHello."""
    found = tls_hello.read(data)
    assert found == read_hello(data), (found, read_hello(data))
    early = tls_hello.read(data[: sum(data) % (len(data) + 1)])
    assert early[0] == 0 or early == found, (early, found)
    result, name, protocols = found
    return f"{result} {bool(name)} {sorted(protocols)}"


_TIMEOUT = re.compile(rb"[0-9]{1,8}[HMSmun]")
_CONTENT_TYPE = re.compile(rb"application/grpc(\+.*|[ \t]*(;.*)?)", re.DOTALL | re.IGNORECASE)


def grpc_fields(data: bytes) -> str:
    """A value of grpc-timeout, grpc-status, grpc-message, content-type, or a path."""
    ns = grpc.timeout_parse(data)
    assert (ns is not None) == (_TIMEOUT.fullmatch(data) is not None)
    if ns is not None:
        again = grpc.timeout_parse(grpc.timeout_write(ns))
        assert again is not None and again <= max(ns, 1)
    assert (grpc.status_parse(data) >= 0) == (re.fullmatch(rb"[0-9]|1[0-6]", data) is not None)
    assert unquote_to_bytes(grpc.message_write(data)) == data
    split = grpc.split_path(data)
    assert split is None or b"/" + split[0] + b"/" + split[1] == data
    is_grpc = grpc.is_content_type(data)
    assert is_grpc == (_CONTENT_TYPE.fullmatch(data) is not None)
    return f"{len(str(ns))} {grpc.status_parse(data)} {split is not None} {is_grpc}"


def header_blocks(data: bytes) -> str:
    cut = sum(data) % (len(data) + 1)
    fields = check_blocks([data[:cut], data[cut:], data])
    return "bad" if fields is None else f"{min(len(fields), 20)}"


def http2_request(data: bytes) -> str:
    return check_http2_request(data, sum(data) % 2 == 0)


def http2_response(data: bytes) -> str:
    return check_http2_response(data, sum(data) % 2 == 0)


TARGETS: dict[str, Target] = {
    "request": request,
    "response": response,
    "chunked": chunked,
    "relay_request": relay_request,
    "relay_response": relay_response,
    "proxy": proxy,
    "hello": hello,
    "grpc_fields": grpc_fields,
    "header_blocks": header_blocks,
    "http2_request": http2_request,
    "http2_response": http2_response,
    "http2_client": session.as_client,
    "http2_endpoint": session.as_endpoint,
}

_CODED = b"Transfer-Encoding: chunked"
_ENCODED = [data for data, *_ in GOOD_CHUNKED] + [data for data, _ in BAD_CHUNKED if len(data) < 600]
# A real one is mostly keys: changes rarely meet what is read, so there are small ones too.
_HELLOS = [client_hello("example.com", ["h2", "http/1.1"])] + [
    records(message(extensions), size)
    for extensions in (None, b"", server_name(b"A.b"), alpn(b"h2", b"x"), server_name(b"1.2.3.4") + alpn(b"http/1.1"))
    for size in (9, 1000)
]
_REQUESTS = GOOD_REQUESTS + [data for data, _ in BAD_REQUESTS]
_RESPONSES = GOOD_RESPONSES + [data for data, _ in BAD_RESPONSES]

_PSEUDO = [(b":method", b"POST"), (b":scheme", b"https"), (b":path", b"/a?b"), (b":authority", b"h:1")]
_CONNECT = [(b":method", b"CONNECT"), (b":protocol", b"websocket"), *_PSEUDO[1:]]
_FIELDS = [
    (b"host", b"h:1"),
    (b"cookie", b"a=1"),
    (b"accept", b"*/*"),
    (b"cookie", b"b=2"),
    (b"te", b"trailers"),
    (b"content-length", b"5"),
    (b"x-a", b"b"),
]
_STATUS = [(b":status", b"200"), *_FIELDS[1:]]
# Literals that go into the table, coded plainly and by Huffman, and what refers to them.
_INDEXED = bytes.fromhex(
    "400a637573746f6d2d6b65790d637573746f6d2d686561646572be828684418cf1e3c2e5f23a6ba0ab90f4ffbe5886a8eb10649cbf"
)
_UPDATES = bytes.fromhex("203fe11f4001610162be")


def _growing(fields: list[tuple[bytes, bytes]]) -> list[bytes]:
    return [hpack.encode(fields[:count]) for count in range(1, len(fields) + 1)]


_POST = hpack.encode(_PSEUDO)
_FRAMES = [
    frame(1, 5, 1, hpack.encode([(b":method", b"GET"), *_PSEUDO[1:]])),
    frame(1, 4, 3, _POST) + frame(0, 0, 3, b"he") + frame(8, 0, 3, u32(1000)) + frame(0, 1, 3, b"llo"),
    frame(6, 0, 0, b"12345678") + settings((4, 100), (1, 0)) + frame(4, 1),
    frame(1, 0, 5, _POST[:4]) + frame(9, 0, 5, _POST[4:9]) + frame(9, 4, 5, _POST[9:]) + frame(3, 0, 5, u32(8)),
    frame(1, 12, 7, b"\x02" + _POST + b"\0\0") + frame(0, 9, 7, b"\x03hello\0\0\0"),
    frame(1, 4, 9, _POST) + frame(1, 5, 9, hpack.encode([(b"x-sum", b"1")])) + frame(2, 0, 9, u32(1) + b"\x05"),
    frame(1, 4, 11, hpack.encode(_CONNECT)) + frame(0, 0, 11, b"hello") + frame(0, 1, 11),
    frame(7, 0, 0, u32(0) + u32(0)),
]
_OK = hpack.encode([(b":status", b"200"), (b"x-a", b"b")])
_ANSWERS = [
    frame(1, 4, 1, _OK) + frame(0, 1, 1, b"hello"),
    frame(1, 4, 1, hpack.encode([(b":status", b"103")])) + frame(1, 5, 1, _OK) + frame(3, 0, 1, u32(0)),
    frame(1, 4, 1, _OK) + frame(0, 0, 1, b"hello") + frame(1, 5, 1, hpack.encode([(b"x-sum", b"1")])),
    frame(3, 0, 1, u32(7)) + frame(1, 5, 3, _OK),
    frame(7, 0, 0, u32(1) + u32(0)) + frame(1, 5, 1, _OK),
    frame(8, 0, 0, u32(1000)) + frame(8, 0, 1, u32(1000)) + frame(6, 0, 0, b"12345678"),
]


SEEDS: dict[str, list[bytes]] = {
    "request": _REQUESTS,
    "response": _RESPONSES,
    "chunked": _ENCODED,
    "relay_request": [data + b"hello" for data in _REQUESTS]
    + [field(_CODED, start=b"POST / HTTP/1.1") + body for body in _ENCODED],
    "relay_response": [data + b"hello" for data in _RESPONSES] + [answer(_CODED) + body for body in _ENCODED],
    "proxy": [data for data, _ in GOOD_PROXY_HEADERS],
    "hello": _HELLOS,
    "grpc_fields": [
        b"1n",
        b"99999999H",
        b"12345u",
        b"0",
        b"16",
        b"no endpoint: 100%",
        b"/helloworld.Greeter/SayHello",
        b"/a/b/c",
        b"application/grpc+proto",
        b"application/grpc ; a=b",
        b"application/grpc-web",
    ],
    "header_blocks": [_INDEXED, _UPDATES, b"\x82" + _INDEXED, *_growing(_PSEUDO + _FIELDS)],
    "http2_request": [_INDEXED, *_growing(_PSEUDO + _FIELDS), *_growing(_CONNECT)],
    "http2_response": [_UPDATES, *_growing(_STATUS), hpack.encode([(b":status", b"204")])],
    "http2_client": [PREFACE + settings() + one for one in (*_FRAMES, b"".join(_FRAMES))],
    "http2_endpoint": [settings((8, 1)) + frame(4, 1) + one for one in (*_ANSWERS, b"".join(_ANSWERS))],
}
