"""Heads of HTTP/1: what is taken, what is refused and why, however the bytes come."""

from collections.abc import Callable, Iterator

import pytest

from fastmesh._core import http1_parser
from fastmesh._core.headers import Head
from fastmesh._core.http1_parser import ParseError, parse_request, parse_response, parse_trailers
from tests.unit.core.http1_vectors import (
    BAD_REQUESTS,
    BAD_RESPONSES,
    GOOD_REQUESTS,
    GOOD_RESPONSES,
    answer,
    field,
    host,
    line,
)

Parse = Callable[[bytes], Head]


def feed(pieces: list[bytes], parse: Parse, **limits: int) -> tuple[Head | None, bytes]:
    """As a connection does: look for the end of the head after each piece; the head and what stands behind it."""
    data = b""
    scanned = 0
    for piece in pieces:
        data += piece
        end, scanned = http1_parser.find_head_end(data, scanned, **limits)
        if end:
            return parse(data[:end]), data[end:]
    return None, data


def deliveries(data: bytes) -> Iterator[list[bytes]]:
    """The same bytes whole, one by one, in two pieces at each place, and with others behind them."""
    yield [data]
    yield [data[i : i + 1] for i in range(len(data))]
    yield from ([data[:i], data[i:]] for i in range(1, len(data)))
    yield [data + b"\x00\n\r\rPOST x"]


def summary(head: Head | None) -> object:
    assert head is not None
    return (
        head.method, head.target, head.authority, head.path, head.query, head.status, head.reason, head.version_minor,
        head.framing, head.content_length, head.flags, head.fields,
    )  # fmt: skip


@pytest.mark.parametrize(("data", "error"), BAD_REQUESTS)
def test_bad_requests_are_refused_with_their_error(data: bytes, error: str) -> None:
    for pieces in deliveries(data):
        with pytest.raises(ParseError) as raised:
            feed(pieces, parse_request)
        assert raised.value.name == error


@pytest.mark.parametrize(("data", "error"), BAD_RESPONSES)
def test_bad_responses_are_refused_with_their_error(data: bytes, error: str) -> None:
    for pieces in deliveries(data):
        with pytest.raises(ParseError) as raised:
            feed(pieces, parse_response)
        assert raised.value.name == error


def test_the_table_of_bad_heads_is_long_and_has_no_row_twice() -> None:
    rows = [data for data, _ in BAD_REQUESTS]
    assert len(rows) >= 80
    assert len(set(rows)) == len(rows)
    covered = {error for _, error in BAD_REQUESTS + BAD_RESPONSES}
    elsewhere = {"ok", "bad_chunk", "bad_trailer", "start_line_too_long", "head_too_large", "too_many_headers"}
    assert covered | elsewhere == set(http1_parser.ERROR_NAMES)


@pytest.mark.parametrize(
    ("data", "parse"), [(r, parse_request) for r in GOOD_REQUESTS] + [(r, parse_response) for r in GOOD_RESPONSES]
)
def test_good_heads_read_the_same_however_they_come(data: bytes, parse: Parse) -> None:
    expected = summary(parse(data))
    for pieces in deliveries(data):
        head, rest = feed(pieces, parse)
        assert summary(head) == expected
        assert rest in (b"", b"\x00\n\r\rPOST x")


@pytest.mark.parametrize("data", GOOD_REQUESTS)
def test_a_head_has_not_ended_before_its_last_byte(data: bytes) -> None:
    for length in range(len(data)):
        assert http1_parser.find_head_end(data[:length])[0] == 0


@pytest.mark.parametrize("data", GOOD_REQUESTS)
def test_a_part_of_a_head_is_never_taken_for_a_whole_one(data: bytes) -> None:
    for length in range(len(data)):
        with pytest.raises(ParseError):
            parse_request(data[:length])


def test_an_empty_line_before_the_end_is_refused() -> None:
    with pytest.raises(ParseError, match="bad_line_end"):
        parse_request(line(b"GET / HTTP/1.1") + b"X: y\r\n\r\n")


# --- targets


@pytest.mark.parametrize(
    ("start", "authority", "path", "query", "target"),
    [
        (b"GET / HTTP/1.1", b"a", b"/", b"", b"/"),
        (b"GET /? HTTP/1.1", b"a", b"/", b"", b"/?"),
        (b"GET /b?c HTTP/1.1", b"a", b"/b", b"c", b"/b?c"),
        (b"GET /b?c?d=/e HTTP/1.1", b"a", b"/b", b"c?d=/e", b"/b?c?d=/e"),
        (b"GET //b HTTP/1.1", b"a", b"//b", b"", b"//b"),
        (b"GET http://h HTTP/1.1", b"h", b"/", b"", b"/"),
        (b"GET http://h:1/b HTTP/1.1", b"h:1", b"/b", b"", b"/b"),
        (b"GET http://h?c=d HTTP/1.1", b"h", b"/", b"c=d", b"?c=d"),
        (b"GET hTTps://[::1]:1/b?c HTTP/1.1", b"[::1]:1", b"/b", b"c", b"/b?c"),
        (b"OPTIONS * HTTP/1.1", b"a", b"*", b"", b"*"),
        (b"OPTIONS /b HTTP/1.1", b"a", b"/b", b"", b"/b"),
        (b"OPTIONS http://h HTTP/1.1", b"h", b"/", b"", b""),
        (b"OPTIONS http://h/ HTTP/1.1", b"h", b"/", b"", b"/"),
        (b"CONNECT h:443 HTTP/1.1", b"h:443", b"h:443", b"", b"h:443"),
        (b"CONNECT [::1]:443 HTTP/1.1", b"[::1]:443", b"[::1]:443", b"", b"[::1]:443"),
    ],
)
def test_forms_of_the_target(start: bytes, authority: bytes, path: bytes, query: bytes, target: bytes) -> None:
    head = parse_request(line(start))
    assert (head.authority, head.path, head.query, head.target) == (authority, path, query, target)
    assert ("absolute_form" in head.flags) == (b"://" in start)
    assert ("asterisk_form" in head.flags) == (start in (b"OPTIONS * HTTP/1.1", b"OPTIONS http://h HTTP/1.1"))


def test_an_absolute_target_outranks_host() -> None:
    assert parse_request(host(b"other", start=b"GET http://h/ HTTP/1.1")).authority == b"h"


@pytest.mark.parametrize("value", [b"", b"a", b"A.b-c_d~e", b"a:", b"a:0", b"a:65535", b"1.2.3.4", b"[::]", b"x" * 255])
def test_hosts_that_are_taken(value: bytes) -> None:
    assert parse_request(host(value)).authority == value


def test_every_byte_of_a_target() -> None:
    for code in range(256):
        data = line(b"GET /" + bytes([code]) + b" HTTP/1.1")
        if 0x21 <= code <= 0x7E and code != 0x23:
            assert parse_request(data).target == b"/" + bytes([code])
        else:
            with pytest.raises(ParseError):
                parse_request(data)


def test_every_byte_of_a_method_and_of_a_field_name() -> None:
    token = set(b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
    for code in range(256):
        byte = bytes([code])
        # The name is closed by ":", so that byte alone could not stand in the middle.
        for data in (line(b"M" + byte + b"M / HTTP/1.1"), field(b"X" + byte + b"X: v")):
            if code in token or (code == 0x3A and data.startswith(b"GET")):
                assert parse_request(data)
            else:
                with pytest.raises(ParseError):
                    parse_request(data)


def test_every_byte_of_a_field_value() -> None:
    for code in range(256):
        data = field(b"X: a" + bytes([code]) + b"b")
        if code == 9 or (code >= 0x20 and code != 0x7F):
            assert parse_request(data).find(b"x") == b"a" + bytes([code]) + b"b"
        else:
            with pytest.raises(ParseError):
                parse_request(data)


# --- what the fields say


@pytest.mark.parametrize(
    ("fields", "framing", "length"),
    [
        ((), "none", 0),
        ((b"Content-Length: 0",), "length", 0),
        ((b"content-length:5 ",), "length", 5),
        ((b"Content-Length: 0012",), "length", 12),
        ((b"Content-Length: 9223372036854775807",), "length", 2**63 - 1),
        ((b"Transfer-Encoding: chunked",), "chunked", 0),
        ((b"TRANSFER-ENCODING:\tcHuNkEd\t",), "chunked", 0),
    ],
)
def test_framing_of_requests(fields: tuple[bytes, ...], framing: str, length: int) -> None:
    head = parse_request(field(*fields, start=b"POST / HTTP/1.1"))
    assert (head.framing, head.content_length) == (framing, length)


@pytest.mark.parametrize(
    ("start", "fields", "method", "framing"),
    [
        (b"HTTP/1.1 200 OK", (), "GET", "close"),
        (b"HTTP/1.0 200 OK", (), "GET", "close"),
        (b"HTTP/1.1 200 OK", (b"Content-Length: 0",), "GET", "length"),
        (b"HTTP/1.1 200 OK", (b"Transfer-Encoding: chunked",), "GET", "chunked"),
        (b"HTTP/1.1 200 OK", (b"Content-Length: 7",), "HEAD", "none"),
        (b"HTTP/1.1 200 OK", (b"Transfer-Encoding: chunked",), "HEAD", "none"),
        (b"HTTP/1.1 200 OK", (b"Content-Length: 7",), "CONNECT", "none"),
        (b"HTTP/1.1 403 No", (b"Content-Length: 7",), "CONNECT", "length"),
        (b"HTTP/1.1 100 Continue", (), "POST", "none"),
        (b"HTTP/1.1 101 Switching", (b"Upgrade: websocket", b"Connection: upgrade"), "GET", "none"),
        (b"HTTP/1.1 204 No Content", (), "GET", "none"),
        (b"HTTP/1.1 304 Not Modified", (b"Content-Length: 7",), "GET", "none"),
        (b"HTTP/1.1 304 Not Modified", (b"Transfer-Encoding: chunked",), "GET", "none"),
        (b"HTTP/1.1 599 ?", (), "GET", "close"),
    ],
)
def test_framing_of_responses(start: bytes, fields: tuple[bytes, ...], method: str, framing: str) -> None:
    assert parse_response(answer(*fields, start=start), method).framing == framing


@pytest.mark.parametrize(
    ("version", "connection", "kept"),
    [
        (b"1.1", b"", True),
        (b"1.1", b"close", False),
        (b"1.1", b"x, CLOSE ,y", False),
        (b"1.1", b"keep-alive, close", False),
        (b"1.1", b"closed", True),
        (b"1.0", b"", False),
        (b"1.0", b"Keep-Alive", True),
        (b"1.0", b"keep-alive, close", False),
    ],
)
def test_persistence(version: bytes, connection: bytes, kept: bool) -> None:
    fields = (b"Connection: " + connection, b"Content-Length: 0")
    request = parse_request(field(*fields, start=b"GET / HTTP/" + version))
    response = parse_response(answer(*fields, start=b"HTTP/" + version + b" 200 OK"))
    assert ("keep_alive" in request.flags, "keep_alive" in response.flags) == (kept, kept)


def test_a_body_that_ends_with_the_connection_does_not_keep_it() -> None:
    assert parse_response(answer()).flags == set()


@pytest.mark.parametrize(
    ("fields", "version", "upgrade"),
    [
        ((b"Connection: upgrade", b"Upgrade: websocket"), b"1.1", True),
        ((b"Connection: keep-alive, Upgrade", b"Upgrade: WebSocket"), b"1.1", True),
        ((b"Upgrade: websocket",), b"1.1", False),
        ((b"Connection: upgrade",), b"1.1", False),
        ((b"Connection: upgrade", b"Upgrade:"), b"1.1", False),
        ((b"Connection: upgrade", b"Upgrade: websocket"), b"1.0", False),
        ((b"Connection: upgrade", b"Upgrade: h2c"), b"1.1", False),
        ((b"Connection: upgrade", b"Upgrade: websocket, H2C"), b"1.1", False),
        ((b"Connection: upgrade", b"Upgrade: websocket", b"Upgrade: h2"), b"1.1", False),
        ((b"Connection: upgrade", b"Upgrade: websocket", b"Content-Length: 0"), b"1.1", True),
        ((b"Connection: upgrade", b"Upgrade: websocket", b"Content-Length: 1"), b"1.1", False),
        ((b"Connection: upgrade", b"Upgrade: websocket", b"Transfer-Encoding: chunked"), b"1.1", False),
    ],
)
def test_upgrades(fields: tuple[bytes, ...], version: bytes, upgrade: bool) -> None:
    assert ("upgrade" in parse_request(field(*fields, start=b"GET / HTTP/" + version)).flags) == upgrade


@pytest.mark.parametrize(
    ("value", "version", "expected"),
    [
        (b"100-continue", b"1.1", True),
        (b"100-Continue", b"1.1", True),
        (b"100-continue", b"1.0", False),
        (b"x", b"1.1", False),
    ],
)
def test_expect(value: bytes, version: bytes, expected: bool) -> None:
    head = parse_request(field(b"Expect: " + value, b"Content-Length: 1", start=b"POST / HTTP/" + version))
    assert ("expect_continue" in head.flags) == expected


def test_reasons() -> None:
    for reason in (b"", b"OK", b"Not \xf6 here\t!", b" "):
        assert parse_response(answer(start=b"HTTP/1.1 404 " + reason)).reason == reason
    assert parse_response(answer(start=b"HTTP/1.1 404")).status == 404


def test_white_space_around_values_is_left_out() -> None:
    head = parse_request(field(b"A:b", b"C:  d  ", b"E:\t\t", b"F: g h\t"))
    assert head.fields[1:] == [(b"A", b"b"), (b"C", b"d"), (b"E", b""), (b"F", b"g h")]


# --- limits


def test_start_line_limit() -> None:
    data = line(b"GET /aaaa HTTP/1.1")
    length = len(b"GET /aaaa HTTP/1.1")
    assert parse_request(data, start_line_max=length).path == b"/aaaa"
    for pieces in deliveries(data):
        assert feed(pieces, parse_request, start_line_max=length)[0] is not None
        with pytest.raises(ParseError, match="start_line_too_long"):
            feed(pieces, parse_request, start_line_max=length - 1)
    with pytest.raises(ParseError, match="start_line_too_long"):
        parse_request(data, start_line_max=length - 1)
    with pytest.raises(ParseError, match="start_line_too_long"):
        parse_response(answer(), start_line_max=14)


def test_a_start_line_that_never_ends_is_cut_off() -> None:
    with pytest.raises(ParseError, match="start_line_too_long"):
        feed([b"GET /"] + [b"a"] * 200, parse_request, start_line_max=100)


def test_head_limit() -> None:
    data = field(b"X: " + b"a" * 100)
    for pieces in deliveries(data):
        assert feed(pieces, parse_request, head_max=len(data))[0] is not None
        with pytest.raises(ParseError, match="head_too_large"):
            feed(pieces, parse_request, head_max=len(data) - 1)


def test_a_head_that_never_ends_is_cut_off() -> None:
    with pytest.raises(ParseError, match="head_too_large"):
        feed([b"GET / HTTP/1.1\r\n"] + [b"X: a\r\n"] * 100, parse_request, head_max=300)


def test_header_limit() -> None:
    data = field(*[b"X: a"] * 9)
    assert len(parse_request(data, header_max=10).fields) == 10
    with pytest.raises(ParseError, match="too_many_headers"):
        parse_request(data, header_max=9)
    with pytest.raises(ParseError, match="too_many_headers"):
        parse_response(answer(b"X: a", b"X: a"), header_max=1)
    with pytest.raises(ParseError, match="too_many_headers"):
        parse_trailers(b"X: a\r\nX: b\r\n\r\n", header_max=1)


def test_at_most_two_empty_lines_in_front_are_skipped() -> None:
    for count, skipped in ((0, 0), (1, 2), (2, 4), (3, 4)):
        assert http1_parser.skip_empty_lines(b"\r\n" * count + b"GET") == skipped
    assert http1_parser.skip_empty_lines(b"\r") == 0
    assert http1_parser.skip_empty_lines(b"\n\r\n") == 0


def test_bad_line_ends_are_seen_before_the_head_ends() -> None:
    for bad in (b"\n", b"\rx", b"\x00"):
        for length in range(1, 120):
            with pytest.raises(ParseError, match="bad_line_end"):
                http1_parser.find_head_end(b"G" * length + bad)


def test_what_stands_behind_the_head_is_not_looked_at() -> None:
    for length in range(80):
        data = b"GET /" + b"a" * length + b" HTTP/1.1\r\nHost: a\r\n\r\n"
        assert http1_parser.find_head_end(data + b"\x00\n\n\r\r" * 20)[0] == len(data)


# --- trailers


def test_trailers_without_those_that_have_no_place_there() -> None:
    harmful = [
        b"Transfer-Encoding: chunked", b"Content-Length: 5", b"Host: b", b"X-Forwarded-For: 1.2.3.4", b"Connection: x",
        b"authorization: x", b"Set-Cookie: a=b", b"CONTENT-ENCODING: gzip", b"cache-control: x", b"Age: 1", b"Te: x",
        b"WWW-Authenticate: x", b"Content-Type: text/html", b"if-match: *", b"Trailer: a",
    ]  # fmt: skip
    kept = [b"X-Checksum: 1", b"Server-Timing: a", b"grpc-status: 0", b"Ag: 1", b"Ages: 1"]
    head = parse_trailers(b"\r\n".join([kept[0], *harmful, *kept[1:]]) + b"\r\n\r\n")
    assert [name + b": " + value for name, value in head.fields] == kept
    assert parse_trailers(b"\r\n").fields == []


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\r", b"X: a\r\n", b"X: a", b"X\r\n\r\n", b"X : a\r\n\r\n", b"X: a\n\r\n", b"X: a\r\n b\r\n\r\n",
        b": a\r\n\r\n", b"X: \x01\r\n\r\n", b"X: \x00\r\n\r\n", b"X: a\rb\r\n\r\n", b"\r\n\r\n",
        b"Content-Length: 1, 1\r\n\r\n",
    ],
)  # fmt: skip
def test_bad_trailers(data: bytes) -> None:
    with pytest.raises(ParseError, match="bad_trailer"):
        parse_trailers(data)


def test_a_rehearsal_reads_what_one_reading_does() -> None:
    assert summary(http1_parser.rehearse_request(GOOD_REQUESTS[1], 3)) == summary(parse_request(GOOD_REQUESTS[1]))
