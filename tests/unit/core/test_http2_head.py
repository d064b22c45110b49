"""Heads from HTTP/2 blocks and back: each rule of RFC 9113 8.2 and 8.3, and of RFC 8441."""

import pytest

from fastmesh._core import http1_parser, http1_writer, http2_writer
from fastmesh._core.headers import Head
from fastmesh._core.hpack import Decoder, encode
from fastmesh._core.http2_head import HeadError, read_request, read_response, read_trailers

Fields = list[tuple[bytes, bytes]]

GET: Fields = [(b":method", b"GET"), (b":scheme", b"https"), (b":path", b"/a?b=c"), (b":authority", b"shop.example:81")]
POST: Fields = [(b":method", b"POST"), *GET[1:]]
OK: Fields = [(b":status", b"200")]
WEBSOCKET: Fields = [(b":method", b"CONNECT"), (b":protocol", b"websocket"), *GET[1:]]


def request(fields: Fields, is_end: bool = True, **limits: int) -> Head:
    # As a literal: hpack.encode would make names small.
    return read_request(block_of(fields), is_end, **limits)


def block_of(fields: Fields) -> bytes:
    return b"".join(b"\0" + _string(name) + _string(value) for name, value in fields)


def _string(text: bytes) -> bytes:
    if len(text) < 127:
        return bytes([len(text)]) + text
    rest, size = len(text) - 127, b"\x7f"
    while rest > 127:
        size += bytes([rest & 127 | 128])
        rest >>= 7
    return size + bytes([rest]) + text


def without(name: bytes, fields: Fields = GET) -> Fields:
    return [field for field in fields if field[0] != name]


def changed(name: bytes, value: bytes, fields: Fields = GET) -> Fields:
    return [(name, value) if field[0] == name else field for field in fields]


def refused(fields: Fields, is_end: bool = True) -> str:
    with pytest.raises(HeadError) as caught:
        request(fields, is_end)
    assert caught.value.name == "malformed"
    assert caught.value.detail
    return caught.value.detail


def refused_response(fields: Fields, is_end: bool = True) -> str:
    with pytest.raises(HeadError) as caught:
        read_response(block_of(fields), is_end)
    assert caught.value.name == "malformed"
    return caught.value.detail


# --- requests


def test_a_request_is_as_http1_would_bring_it() -> None:
    head = request([*GET, (b"accept", b"*/*"), (b"x-a", b""), (b"te", b"trailers")])
    assert (head.method, head.target, head.path, head.query) == (b"GET", b"/a?b=c", b"/a", b"b=c")
    assert (head.authority, head.version_minor, head.framing) == (b"shop.example:81", 1, "none")
    assert head.flags == {"keep_alive"}
    assert head.fields == [(b"host", b"shop.example:81"), (b"accept", b"*/*"), (b"x-a", b""), (b"te", b"trailers")]
    assert head.find(b"host") == b"shop.example:81"
    written = http1_writer.write_request(head)
    assert written == (b"GET /a?b=c HTTP/1.1\r\nhost: shop.example:81\r\naccept: */*\r\nx-a: \r\nte: trailers\r\n\r\n")
    again = http1_parser.parse_request(written)
    assert (again.fields, again.authority, again.target) == (head.fields, head.authority, head.target)


@pytest.mark.parametrize("name", [b":method", b":scheme", b":path", b":authority"])
def test_pseudo_headers_are_needed_once_and_first(name: bytes) -> None:
    value = dict(GET)[name]
    assert refused(without(name))
    assert refused([*GET, (name, value)]) == "pseudo-header field twice"
    assert refused([*without(name), (b"x", b"y"), (name, value)]) == "pseudo-header field behind a field"
    assert refused(changed(name, b""))


@pytest.mark.parametrize("name", [b":status", b":foo", b":", b":Method", b":host"])
def test_other_pseudo_headers_are_refused(name: bytes) -> None:
    assert refused([*GET, (name, b"200")]) == "unknown pseudo-header field"


@pytest.mark.parametrize("byte", range(256))
def test_every_byte_of_a_field(byte: int) -> None:
    code = bytes([byte])
    name = b"x" + code + b"y"
    if code in b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz":
        assert request([*GET, (name, b"v")]).find(name) == b"v"
    else:
        assert refused([*GET, (name, b"v")])
    # At every place of the vector code, and behind it.
    for before in range(0, 40, 3):
        value = b"a" * before + code + b"b"
        if byte in (0x20, 9) and before == 0:
            assert refused([*GET, (b"x", value)]) == "white space around a value"
        elif (byte < 32 and byte != 9) or byte == 127:
            assert refused([*GET, (b"x", value)]) == "control character in a field"
        else:
            assert request([*GET, (b"x", value)]).find(b"x") == value


@pytest.mark.parametrize("length", range(100))
def test_values_of_every_length(length: int) -> None:
    for value in (b"v" * length, b"\xff" * length):
        assert request([*GET, (b"x", value)]).find(b"x") == value
        assert refused([*GET, (b"x", value + b"\r\ny: z")]) == "control character in a field"


@pytest.mark.parametrize("value", [b" a", b"a ", b"\ta", b"a\t", b" "])
def test_white_space_around_a_value_is_refused(value: bytes) -> None:
    assert refused([*GET, (b"x", value)])
    assert refused(changed(b":path", value))


@pytest.mark.parametrize("name", [b"", b"A", b"Accept", b"hosT", b"a b", b"a:b"])
def test_bad_names_are_refused(name: bytes) -> None:
    assert refused([*GET, (name, b"v")]) == "bad field name"


@pytest.mark.parametrize(
    "field",
    [
        (b"connection", b"close"),
        (b"keep-alive", b"timeout=5"),
        (b"proxy-connection", b"keep-alive"),
        (b"transfer-encoding", b"chunked"),
        (b"upgrade", b"websocket"),
        (b"te", b"gzip"),
        (b"te", b"trailers, gzip"),
        (b"te", b""),
    ],
)
def test_fields_of_a_connection_are_refused(field: tuple[bytes, bytes]) -> None:
    assert refused([*GET, field])
    assert refused_response([*OK, field])
    with pytest.raises(HeadError):
        read_trailers(block_of([field]))


def test_methods() -> None:
    for method in (b"GET", b"PURGE", b"M-SEARCH", b"a" * 32):
        assert request(changed(b":method", method)).method == method
    for method in (b"G ET", b"G\x00T", b"G(T", b"a" * 33, b"GET\r\n"):
        assert refused(changed(b":method", method))


def test_schemes() -> None:
    for scheme in (b"http", b"https", b"HTTPS"):
        request(changed(b":scheme", scheme))
    for scheme in (b"ftp", b"httpx", b"http:", b"h"):
        assert refused(changed(b":scheme", scheme)) == "bad :scheme"


def test_paths() -> None:
    for path in (b"/", b"/?", b"//a", b"/a%20b", b"/\\", b"/a?b?c"):
        assert request(changed(b":path", path)).target == path
    for path in (b"a", b"?", b"http://a/", b"/a b", b"/a#b", b"/\x80", b"*"):
        assert refused(changed(b":path", path)) == "bad :path"
    options = [(b":method", b"OPTIONS"), *GET[1:]]
    head = request(changed(b":path", b"*", options))
    assert head.flags == {"keep_alive", "asterisk_form"}
    assert http1_writer.write_request(head).startswith(b"OPTIONS * HTTP/1.1\r\n")
    assert refused(changed(b":path", b"*a", options))


def test_authority_and_host_agree() -> None:
    assert request([*GET, (b"host", b"shop.example:81")]).fields == [(b"host", b"shop.example:81")]
    assert request([*GET, (b"host", b"SHOP.example:81")]).fields == [(b"host", b"shop.example:81")]
    for host in (b"shop.example", b"shop.example:82", b"", b"shop.example:81,b"):
        assert refused([*GET, (b"host", host)]) == "host is not :authority"
    assert refused([*GET, (b"host", b"shop.example:81"), (b"host", b"shop.example:81")]) == "host twice"
    alone = request([*without(b":authority"), (b"a", b"b"), (b"host", b"h"), (b"cookie", b"c")])
    assert (alone.authority, alone.fields) == (b"h", [(b"a", b"b"), (b"host", b"h"), (b"cookie", b"c")])
    for authority in (b"a@b", b"a/b", b"a,b", b"a:b", b"[::", b"a b"):
        assert refused(changed(b":authority", authority)) == "bad authority"
        assert refused([*without(b":authority"), (b"host", authority)]) == "bad authority"


def test_host_behind_cookies_that_are_joined() -> None:
    fields = [*without(b":authority"), (b"cookie", b"a=1"), (b"host", b"h"), (b"cookie", b"b=2"), (b"x", b"y")]
    head = request(fields)
    assert head.authority == b"h"
    assert head.fields == [(b"cookie", b"a=1; b=2"), (b"host", b"h"), (b"x", b"y")]


def test_cookies_are_joined() -> None:
    crumbs = [b"a=1", b"", b"b=" + b"2" * 300, b"c=3"]
    fields = [field for i, crumb in enumerate(crumbs) for field in ((b"cookie", crumb), (b"x-%d" % i, b"v" * i))]
    head = request([*GET, (b"accept", b"*/*"), *fields])
    others = [(b"x-%d" % i, b"v" * i) for i in range(4)]
    expected = [
        (b"host", b"shop.example:81"),
        (b"accept", b"*/*"),
        (b"cookie", b"; ".join(filter(None, crumbs))),
        *others,
    ]
    assert head.fields == expected
    assert http1_parser.parse_request(http1_writer.write_request(head)).fields == expected
    together = request([*GET, *[(b"cookie", crumb) for crumb in crumbs], (b"x", b"y")])
    assert together.fields == [expected[0], expected[2], (b"x", b"y")]
    for values, joined in (([b"", b""], b""), ([b"", b"a", b"", b"b"], b"a; b"), ([b"a", b""], b"a")):
        assert request([*GET, *[(b"cookie", value) for value in values]]).find(b"cookie") == joined
    assert refused([*GET, (b"cookie", b"a"), (b"cookie", b"b\r\nx: y")]) == "control character in a field"


def test_content_length() -> None:
    head = request([*POST, (b"content-length", b"5")], is_end=False)
    assert (head.framing, head.content_length) == ("length", 5)
    twice = request([*POST, (b"content-length", b"5"), (b"content-length", b"05")], is_end=False)
    assert [field for field in twice.fields if field[0] == b"content-length"] == [(b"content-length", b"5")]
    assert refused([*POST, (b"content-length", b"5"), (b"content-length", b"6")], is_end=False)
    for value in (b"", b"-1", b"+1", b"5, 5", b"0x5", b"9223372036854775808", b"1" * 20):
        assert refused([*POST, (b"content-length", value)], is_end=False) == "bad content-length"
    assert refused([*POST, (b"content-length", b"5")]) == "content-length without content"
    assert request([*POST, (b"content-length", b"0")]).framing == "length"
    assert (request(POST).framing, request(POST).content_length) == ("length", 0)
    assert request([*GET, (b"content-length", b"0")]).framing == "length"
    assert request(GET).framing == "none"
    assert request(POST, is_end=False).framing == "chunked"
    assert refused([(b":method", b"TRACE"), *GET[1:]], is_end=False) == "TRACE with content"
    assert request([(b":method", b"TRACE"), *GET[1:]]).framing == "none"


def test_expect() -> None:
    assert "expect_continue" in request([*POST, (b"expect", b"100-Continue")], is_end=False).flags
    assert "expect_continue" not in request([*POST, (b"expect", b"x")], is_end=False).flags


def test_connect() -> None:
    head = request([(b":method", b"CONNECT"), (b":authority", b"a:1")], is_end=False)
    assert (head.method, head.authority, head.target, head.framing) == (b"CONNECT", b"a:1", b"a:1", "none")
    assert refused([(b":method", b"CONNECT"), *GET[1:]])
    assert refused([(b":method", b"CONNECT"), (b":authority", b"a:1"), (b":path", b"/")])
    assert refused([(b":method", b"CONNECT"), (b"host", b"a:1")])
    assert refused([(b":method", b"CONNECT"), (b":authority", b"a")]) == "bad authority"
    assert refused([(b":method", b"CONNECT"), (b":authority", b"a:1"), (b"content-length", b"0")])


def test_extended_connect_is_an_upgrade() -> None:
    head = request([*WEBSOCKET, (b"sec-websocket-version", b"13")], is_end=False)
    assert (head.method, head.target, head.framing) == (b"GET", b"/a?b=c", "none")
    assert head.flags == {"keep_alive", "upgrade"}
    assert head.fields == [
        (b"upgrade", b"websocket"),
        (b"host", b"shop.example:81"),
        (b"sec-websocket-version", b"13"),
    ]
    assert b"\r\nupgrade: websocket\r\n" in http1_writer.write_request(head)
    assert refused(changed(b":protocol", b"h2c", WEBSOCKET)) == "unknown :protocol"
    assert refused(changed(b":method", b"GET", WEBSOCKET)) == "misplaced :protocol"
    assert refused([*without(b":authority", WEBSOCKET), (b"host", b"a")]) == "misplaced :protocol"
    assert refused(without(b":path", WEBSOCKET))
    assert refused(without(b":scheme", WEBSOCKET))
    assert refused([*WEBSOCKET, (b"content-length", b"0")], is_end=False) == "CONNECT with content-length"


# --- limits, and the table


def test_limits() -> None:
    fields = [*GET, (b"x", b"y")]
    size = sum(len(name) + len(value) + 32 for name, value in fields)
    assert request(fields, head_max=size).find(b"x") == b"y"
    for limits in ({"head_max": size - 1}, {"header_max": 1}, {"target_max": 5}):
        with pytest.raises(HeadError) as caught:
            request(fields, **limits)
        assert caught.value.name == ("target_too_long" if "target_max" in limits else "too_large")
    assert request(fields, header_max=2, target_max=6).find(b"x") == b"y"
    with pytest.raises(HeadError, match="too_large"):
        request([*GET, (b"x" * 65536, b"y")], head_max=1 << 20)


@pytest.mark.parametrize(
    "wrong", [[(b"Bad", b"name")], [(b":status", b"200")], [(b"x", b"y" * 100)], [(b"x", b"a\nb")], [(b"a", b"b")] * 20]
)
def test_the_table_is_right_behind_a_refused_head(wrong: Fields) -> None:
    decoder = Decoder()
    late = b"\x40\x05later\x05value"
    with pytest.raises(HeadError):
        read_request(block_of([*GET, *wrong]) + late, True, decoder, head_max=300, header_max=9)
    assert decoder.entries == [(b"later", b"value")]
    head = read_request(encode(GET) + b"\xbe", True, decoder)
    assert head.find(b"later") == b"value"


@pytest.mark.parametrize("block", [b"\x80", block_of([*GET, (b"Bad", b"name")]) + b"\xff"])
def test_bad_compression_outweighs_a_malformed_head(block: bytes) -> None:
    with pytest.raises(HeadError, match="bad_compression"):
        read_request(block)


def test_names_from_the_dynamic_table_are_checked() -> None:
    decoder = Decoder()
    with pytest.raises(HeadError):
        read_request(encode(GET) + b"\x40\x03BAD\x01v\x40\x0aconnection\x05close", True, decoder)
    for index in (b"\xbe", b"\xbf", b"\x0f\x2f\x01v", b"\x0f\x30\x01v"):
        with pytest.raises(HeadError, match="malformed"):
            read_request(encode(GET) + index, True, decoder)


# --- responses and trailers


def test_responses() -> None:
    head = read_response(encode([*OK, (b"content-length", b"3"), (b"server", b"x")]), False)
    assert (head.status, head.framing, head.content_length, head.reason) == (200, "length", 3, b"")
    written = http1_writer.write_response(head)
    assert written == b"HTTP/1.1 200 \r\ncontent-length: 3\r\nserver: x\r\n\r\n"
    assert http1_parser.parse_response(written).fields == head.fields
    assert read_response(encode(OK), False).framing == "chunked"
    assert read_response(encode(OK), True).framing == "none"
    assert read_response(encode([*OK, (b"content-length", b"3")]), True).framing == "none"
    for status in (b"103", b"204", b"304"):
        assert read_response(encode([(b":status", status)]), False).framing == "none"


def test_bad_responses() -> None:
    for status in (b"", b"20", b"2000", b"2x0", b"099", b"600", b"101", b"+20"):
        assert refused_response([(b":status", status)]) == "bad :status"
    assert refused_response([(b"server", b"x")]) == "bad :status"
    assert refused_response([*OK, *OK]) == "pseudo-header field twice"
    assert refused_response([*OK, (b":path", b"/")]) == "unknown pseudo-header field"
    assert refused_response([(b":status", b"100")], is_end=True)
    assert refused_response([(b":status", b"204"), (b"content-length", b"1")])


def test_trailers() -> None:
    head = read_trailers(encode([(b"x-sum", b"1"), (b"content-length", b"5"), (b"set-cookie", b"a"), (b"host", b"h")]))
    assert head.fields == [(b"x-sum", b"1")]
    assert http2_writer.write_trailers(head) == encode([(b"x-sum", b"1")])
    for fields in (OK, [(b":path", b"/")]):
        with pytest.raises(HeadError, match="malformed"):
            read_trailers(encode(fields))


# --- writing


def parsed(text: bytes) -> Head:
    return http1_parser.parse_request(text.replace(b"\n", b"\r\n"))


def written(head: Head, secure: bool = False) -> Fields:
    return Decoder().decode(http2_writer.write_request(head, secure))


def test_a_request_of_http1_is_written() -> None:
    head = parsed(
        b"POST /a?b HTTP/1.1\nHost: h:1\nConnection: keep-alive\nKeep-Alive: 5\nProxy-Connection: close\nTE: trailers\n"
        b"HTTP2-Settings: x\nTransfer-Encoding: chunked\nX-Fastmesh-A: B\nUpgrade: x\n\n"
    )
    start = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/a?b"), (b":authority", b"h:1")]
    assert written(head) == [*start, (b"te", b"trailers"), (b"x-fastmesh-a", b"B")]
    assert written(head, secure=True)[1] == (b":scheme", b"https")
    head.drop(b"te")
    assert (b"te", b"trailers") in written(head)


@pytest.mark.parametrize(
    ("te", "kept"), [(b"gzip", []), (b"gzip, Trailers", [(b"te", b"trailers")]), (b"trailers;q=1", []), (b"", [])]
)
def test_te_is_kept_for_trailers(te: bytes, kept: Fields) -> None:
    assert written(parsed(b"GET / HTTP/1.1\nHost: h\nTE: %s\nTE: %s\n\n" % (te, te)))[4:] == kept


@pytest.mark.parametrize(
    ("line", "path"),
    [
        (b"GET / HTTP/1.1", b"/"),
        (b"GET http://h HTTP/1.1", b"/"),
        (b"GET http://h?a HTTP/1.1", b"/?a"),
        (b"GET http://h/b?a HTTP/1.1", b"/b?a"),
        (b"OPTIONS * HTTP/1.1", b"*"),
        (b"OPTIONS http://h HTTP/1.1", b"*"),
    ],
)
def test_paths_are_written(line: bytes, path: bytes) -> None:
    fields = written(parsed(line + b"\nHost: h\n\n"))
    assert fields[2:4] == [(b":path", path), (b":authority", b"h")]


def test_secrets_are_never_indexed() -> None:
    secrets = [b"Authorization", b"Cookie", b"Proxy-Authorization", b"Set-Cookie"]
    for name in [*secrets, b"X-Plain"]:
        block = http2_writer.write_request(parsed(b"GET / HTTP/1.1\nHost: h\n%s: secret\n\n" % name))
        assert block.endswith(encode([(name, b"secret")], frozenset({name} if name in secrets else set())))
        # 0001 in the first four bits.
        assert (block[-len(encode([(name, b"secret")]))] & 0xF0 == 0x10) == (name in secrets)


def test_an_upgrade_becomes_an_extended_connect() -> None:
    head = parsed(
        b"GET /chat HTTP/1.1\nHost: h\nConnection: upgrade\nUpgrade: websocket\nSec-WebSocket-Key: k\n"
        b"Sec-WebSocket-Version: 13\n\n"
    )
    assert written(head) == [
        (b":method", b"CONNECT"),
        (b":protocol", b"websocket"),
        (b":scheme", b"http"),
        (b":path", b"/chat"),
        (b":authority", b"h"),
        (b"sec-websocket-version", b"13"),
    ]
    back = read_request(http2_writer.write_request(head), False)
    assert back.flags == head.flags
    assert back.find(b"upgrade") == b"websocket"


def test_a_plain_connect_has_no_path() -> None:
    head = parsed(b"CONNECT h:1 HTTP/1.1\nHost: h:1\n\n")
    assert written(head) == [(b":method", b"CONNECT"), (b":authority", b"h:1")]


def test_responses_are_written() -> None:
    text = b"HTTP/1.1 %s\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: a\r\nServer: x\r\n\r\n"
    switch = http1_parser.parse_response(text % b"101 Switching")
    assert Decoder().decode(http2_writer.write_response(switch)) == [*OK, (b"server", b"x")]
    plain = http1_parser.parse_response(text % b"418 Teapot")
    assert Decoder().decode(http2_writer.write_response(plain)) == [
        (b":status", b"418"),
        (b"sec-websocket-accept", b"a"),
        (b"server", b"x"),
    ]


def test_dropped_fields_are_not_written() -> None:
    head = parsed(b"GET / HTTP/1.1\nHost: h\nUser-Agent: a\nVia: b\n\n")
    head.drop(b"user-agent")
    assert written(head)[4:] == [(b"via", b"b")]
