"""HTTP/1 messages made up by hypothesis: valid ones, and valid ones with a few bytes changed."""

from hypothesis import given, settings
from hypothesis import strategies as st

from fastmesh._core import http1_parser, http1_writer
from fastmesh._core.http1_chunked import Decoder
from fastmesh._core.http1_parser import ParseError
from tests.oracle.http1_relay import Incomplete, check_request, check_response

TOKEN = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
VISIBLE = bytes(code for code in range(0x21, 0x7F) if code != 0x23)
VALUE = bytes([9, *range(0x20, 0x7F), *range(0x80, 0x100)])


def text(alphabet: bytes, min_size: int = 0, max_size: int = 20) -> st.SearchStrategy[bytes]:
    return st.lists(st.sampled_from(alphabet), min_size=min_size, max_size=max_size).map(bytes)


names = st.one_of(
    text(TOKEN, 1, 12).map(lambda name: b"X-" + name),
    st.sampled_from([b"Accept", b"Cookie", b"Via", b"X-Forwarded-For", b"X-Request-Id", b"Keep-Alive"]),
)
spaces = text(b" \t", 0, 2)
values = text(VALUE, 0, 20).map(lambda value: value.strip(b" \t"))
fields = st.lists(st.tuples(names, spaces, values, spaces), max_size=8)
hosts = st.one_of(text(b"abc.-", 1, 12), st.just(b"[2001:db8::1]")).flatmap(
    lambda name: st.integers(0, 65535).map(lambda port: name + b":%d" % port) | st.just(name)
)
targets = st.one_of(
    text(VISIBLE).map(lambda path: b"/" + path),
    st.tuples(st.sampled_from([b"http://", b"HTTPS://"]), hosts, text(VISIBLE).map(lambda path: b"/" + path)).map(
        b"".join
    ),
)
bodies = st.one_of(st.none(), st.binary(max_size=60), st.lists(st.binary(min_size=1, max_size=20), max_size=4))


def encode(start: bytes, head: list[tuple[bytes, bytes, bytes, bytes]], body: bytes | list[bytes] | None) -> bytes:
    lines = [start, *(name + b":" + before + value + behind for name, before, value, behind in head)]
    rest = b""
    if isinstance(body, bytes):
        lines.append(b"Content-Length: %d" % len(body))
        rest = body
    elif body is not None:
        lines.append(b"Transfer-Encoding: chunked")
        rest = b"".join(b"%X\r\n" % len(piece) + piece + b"\r\n" for piece in body) + b"0\r\n\r\n"
    return b"\r\n".join(lines) + b"\r\n\r\n" + rest


requests = st.builds(
    lambda method, target, host, head, body: encode(
        method + b" " + target + b" HTTP/1.1", [(b"Host", b" ", host, b""), *head], body
    ),
    st.sampled_from([b"GET", b"POST", b"PUT", b"DELETE", b"M-SEARCH", b"X-OTHER"]),
    targets,
    hosts,
    fields,
    bodies,
)
responses = st.builds(
    lambda status, reason, head, body: encode(b"HTTP/1.1 %d " % status + reason, head, body),
    st.sampled_from([200, 206, 301, 404, 500, 599]),
    text(VALUE),
    fields,
    bodies,
)

changes = st.lists(
    st.tuples(st.integers(0, 500), st.integers(0, 3), st.sampled_from(b"\x00\t\n\r :,;?#/0159aX\x7f\x80\xff")),
    max_size=3,
)


def change(data: bytes, how: list[tuple[int, int, int]]) -> bytes:
    for place, removed, byte in how:
        at = place % (len(data) + 1)
        data = data[:at] + bytes([byte]) + data[at + removed :]
    return data


@settings(max_examples=150, deadline=None)
@given(requests)
def test_valid_requests_are_taken_and_read_the_same_elsewhere(data: bytes) -> None:
    check_request(data)


@settings(max_examples=150, deadline=None)
@given(responses, st.integers(0, 1))
def test_valid_responses_are_taken_and_read_the_same_elsewhere(data: bytes, minor: int) -> None:
    check_response(data, "GET", minor)


@settings(max_examples=200, deadline=None)
@given(requests, changes)
def test_changed_requests_are_refused_or_read_the_same_elsewhere(data: bytes, how: list[tuple[int, int, int]]) -> None:
    try:
        check_request(change(data, how))
    except (ParseError, Incomplete) as refusal:
        assert how, refusal


@settings(max_examples=200, deadline=None)
@given(responses, changes)
def test_changed_responses_are_refused_or_read_the_same_elsewhere(data: bytes, how: list[tuple[int, int, int]]) -> None:
    try:
        check_response(change(data, how))
    except (ParseError, Incomplete) as refusal:
        assert how, refusal


def outcome(pieces: list[bytes]) -> object:
    """What becomes of a head that comes in these pieces."""
    data = b""
    scanned = 0
    try:
        for piece in pieces:
            data += piece
            end, scanned = http1_parser.find_head_end(data, scanned, start_line_max=60, head_max=300)
            if end:
                return http1_writer.write_request(http1_parser.parse_request(data[:end]))
    except ParseError as error:
        return error.name
    return None


@settings(max_examples=200, deadline=None)
@given(requests, changes, st.lists(st.integers(0, 400), max_size=5))
def test_the_pieces_in_which_a_head_comes_make_no_difference(
    data: bytes, how: list[tuple[int, int, int]], cuts: list[int]
) -> None:
    data = change(data, how)
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    pieces = [data[a:b] for a, b in zip(places, places[1:], strict=False)]
    whole = outcome([data])
    assert outcome(pieces) == whole
    assert outcome([data[i : i + 1] for i in range(len(data))]) == whole


chunk_extensions = st.sampled_from([b"", b";a", b"; a=b", b';q="x;\\"y"'])
chunked = st.lists(st.tuples(st.binary(min_size=1, max_size=40), chunk_extensions), max_size=6)


@settings(max_examples=200, deadline=None)
@given(chunked, st.binary(max_size=10), st.integers(1, 50))
def test_chunked_bodies_are_decoded_in_any_pieces(chunks: list[tuple[bytes, bytes]], behind: bytes, step: int) -> None:
    data = (
        b"".join(b"%x" % len(piece) + extension + b"\r\n" + piece + b"\r\n" for piece, extension in chunks)
        + b"0\r\n\r\n"
    )
    decoder = Decoder()
    body = b""
    total = 0
    fed = data + behind
    for at in range(0, len(fed), step):
        piece, done, consumed = decoder.feed(fed[at : at + step])
        body += piece
        total += consumed
        if done:
            break
    assert (body, done, total) == (b"".join(piece for piece, _ in chunks), True, len(data))
