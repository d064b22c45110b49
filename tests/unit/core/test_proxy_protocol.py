"""The PROXY protocol: the specification's cases by hand, flaws, limits, and what is written."""

import struct

import pytest

from fastmesh._core.proxy_protocol import MALFORMED, MAX_BYTES, NONE, read, write_v1, write_v2

SIGNATURE = b"\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a"
NOTHING = (0, "", 0, "", 0)
V4 = bytes([192, 0, 2, 1, 198, 51, 100, 7]) + b"\xdc\x04\x01\xbb"
V4_CLAIM = (4, "192.0.2.1", 56324, "198.51.100.7", 443)
V6 = bytes.fromhex("20010db800000000000000000000000120010db8000000000000000000000002") + b"\xff\xff\x00\x50"
V6_CLAIM = (6, "2001:db8::1", 65535, "2001:db8::2", 80)
LONGEST_LINE = b"PROXY UNKNOWN " + b" ".join([b":".join([b"ffff"] * 8)] * 2) + b" 65535 65535\r\n"


def v2(form: int, body: bytes, command: int = 0x21) -> bytes:
    return SIGNATURE + struct.pack("!BBH", command, form, len(body)) + body


def tlv(kind: int, value: bytes) -> bytes:
    return struct.pack("!BH", kind, len(value)) + value


GOOD = [
    (b"PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n", V4_CLAIM),
    (b"PROXY TCP4 255.255.255.255 1.2.3.4 65535 65535\r\n", (4, "255.255.255.255", 65535, "1.2.3.4", 65535)),
    (b"PROXY TCP4 0.0.0.0 1.2.3.4 0 1\r\n", (4, "0.0.0.0", 0, "1.2.3.4", 1)),
    (b"PROXY TCP6 2001:db8::1 2001:DB8:0:0:0:0:0:2 65535 80\r\n", V6_CLAIM),
    (b"PROXY TCP6 ::ffff:192.0.2.1 :: 1 2\r\n", (6, "::ffff:192.0.2.1", 1, "::", 2)),
    (b"PROXY UNKNOWN\r\n", NOTHING),
    (b"PROXY UNKNOWN \r\n", NOTHING),
    (LONGEST_LINE, NOTHING),
    (v2(0x11, V4), V4_CLAIM),
    (v2(0x21, V6), V6_CLAIM),
    (v2(0x11, V4 + tlv(2, b"example.com") + tlv(0x20, b"\1\0\0\0\0" + tlv(0x21, b"TLSv1.3"))), V4_CLAIM),
    (v2(0x21, V6 + tlv(4, b"") + tlv(3, bytes(4))), V6_CLAIM),
    (v2(0x00, b""), NOTHING),
    (v2(0x00, b"anything"), NOTHING),
    (v2(0x01, b""), NOTHING),
    (v2(0x12, V4), NOTHING),
    (v2(0x22, V6), NOTHING),
    (v2(0x31, bytes(216)), NOTHING),
    (v2(0x32, bytes(216) + tlv(4, b"x")), NOTHING),
    # HAProxy 2.6 with send-proxy-v2 and proxy-v2-options ssl,crc32c,unique-id
    (
        SIGNATURE + b'!\x11\x00B\x7f\0\0\1\x7f\0\0\1\xb8"\xe6K\3\0\4\x7f\xec\xc4\xed\5\0$'
        b"ccdef1e4-529b-400d-abde-be7519ab6e9a \0\5\0\0\0\0\0",
        (4, "127.0.0.1", 47138, "127.0.0.1", 58955),
    ),
    # LOCAL: a health check of the proxy's own, whatever stands in it
    (v2(0x00, b"", 0x20), NOTHING),
    (v2(0x11, V4, 0x20), NOTHING),
    (v2(0x11, b"x", 0x20), NOTHING),
    (v2(0x11, V4 + tlv(4, bytes(MAX_BYTES - 16 - 12 - 3))), V4_CLAIM),
]  # fmt: skip


@pytest.mark.parametrize(("data", "claim"), GOOD)
def test_read(data: bytes, claim: tuple[int, str, int, str, int]) -> None:
    assert read(data) == (len(data), *claim)
    assert read(data + b"GET / HTTP/1.1\r\n\r\n") == (len(data), *claim)
    assert {read(data[:i]) for i in range(len(data))} == {(0, *NOTHING)}


@pytest.mark.parametrize(
    "data",
    [
        b"G", b"GET / HTTP/1.1\r\n", b"\x16\x03\x01", b"P ", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"PROXY\t", b"PROXX",
        b"proxy ", b"\r\n\r\nG", b"\n", b"\0", SIGNATURE[:-1] + b"\0", b" PROXY ",
    ],
)  # fmt: skip
def test_no_header_at_all(data: bytes) -> None:
    assert read(data) == (NONE, *NOTHING)


@pytest.mark.parametrize(
    "line",
    [
        b"", b" ", b"TCP", b"TCP4", b"TCP4 ", b"TCP5 1.2.3.4 1.2.3.4 1 2", b"UDP4 1.2.3.4 1.2.3.4 1 2", b"UNKNOWNX",
        b"tcp4 1.2.3.4 1.2.3.4 1 2", b"unknown", b" UNKNOWN", b"TCP41.2.3.4 1.2.3.4 1 2", b"TCP6 1.2.3.4 1.2.3.4 1 2",
        b"TCP4 ::1 ::1 1 2", b"TCP4 1.2.3.4 ::1 1 2", b"TCP4 1.2.3 1.2.3.4 1 2", b"TCP4 1.2.3.256 1.2.3.4 1 2",
        b"TCP4 1.2.3.4.5 1.2.3.4 1 2", b"TCP4 01.2.3.4 1.2.3.4 1 2", b"TCP4 1.2.3.4 1.2.3.4 1", b"TCP4 1.2.3.4",
        b"TCP4 1.2.3.4 1.2.3.4 1 ", b"TCP4 1.2.3.4 1.2.3.4 1 2 ", b"TCP4 1.2.3.4 1.2.3.4 1 2 3",
        b"TCP4  1.2.3.4 1.2.3.4 1 2", b"TCP4 1.2.3.4  1.2.3.4 1 2", b"TCP4 1.2.3.4 1.2.3.4  1 2",
        b"TCP4 1.2.3.4 1.2.3.4 1  2", b"TCP4\t1.2.3.4 1.2.3.4 1 2", b"TCP4 1.2.3.4 1.2.3.4 65536 2",
        b"TCP4 1.2.3.4 1.2.3.4 1 65536", b"TCP4 1.2.3.4 1.2.3.4 1 99999", b"TCP4 1.2.3.4 1.2.3.4 1 100000",
        b"TCP4 1.2.3.4 1.2.3.4 01 2", b"TCP4 1.2.3.4 1.2.3.4 1 00", b"TCP4 1.2.3.4 1.2.3.4 -1 2",
        b"TCP4 1.2.3.4 1.2.3.4 +1 2", b"TCP4 1.2.3.4 1.2.3.4 a 2", b"TCP4 1.2.3.4\0 1.2.3.4 1 2",
        b"TCP4 1.2.3.4 1.2.3.4 1 2\r", b"TCP6 [::1] ::1 1 2", b"TCP6 ::1%lo ::1 1 2", b"TCP6 ::1::2 ::1 1 2",
        b"TCP6 12345:: ::1 1 2", b"TCP6 1:2:3:4:5:6:7 ::1 1 2", b"TCP6 " + b"0" * 46 + b" ::1 1 2",
    ],
)  # fmt: skip
def test_bad_lines(line: bytes) -> None:
    assert read(b"PROXY " + line + b"\r\n") == (MALFORMED, *NOTHING)


def test_the_end_of_a_line() -> None:
    for line in (b"PROXY TCP4 192.0.2.1 198.51.100.7 56324 443", b"PROXY UNKNOWN"):
        assert read(line + b"\n") == (MALFORMED, *NOTHING)
        assert read(line + b"\r\r\n")[0] in (MALFORMED, len(line) + 3)
        assert read(line + b"\r") == read(line + b"\rX") == (0, *NOTHING)


def test_a_line_is_bounded() -> None:
    assert len(LONGEST_LINE) == 107
    long = LONGEST_LINE[:-2] + b"0\r\n"
    assert read(long[:106])[0] == 0
    assert read(long[:107]) == read(long) == (MALFORMED, *NOTHING)
    assert read(b"PROXY " + b"x" * 5000) == (MALFORMED, *NOTHING)


@pytest.mark.parametrize(
    "data",
    [
        v2(0x11, V4, 0x22), v2(0x11, V4, 0x01), v2(0x11, V4, 0x11), v2(0x11, V4, 0x31), v2(0x11, V4, 0x2F),
        v2(0x13, V4), v2(0x41, V4), v2(0xF1, bytes(216)), v2(0x03, b""), v2(0x1F, V4, 0x20),
        v2(0x11, V4[:-1]), v2(0x11, b""), v2(0x21, V4), v2(0x21, V6[:-1]), v2(0x31, bytes(215)), v2(0x12, V4[:-1]),
        v2(0x11, V4 + b"\4"), v2(0x11, V4 + b"\4\0"), v2(0x11, V4 + b"\4\0\1"),
        v2(0x11, V4 + tlv(4, b"x") + b"\4\xff\xff"),
        v2(0x31, bytes(216) + b"\4"), v2(0x21, V6 + tlv(4, b"")[:-1]),
    ],
)  # fmt: skip
def test_bad_blocks(data: bytes) -> None:
    assert read(data) == read(data + b"GET /") == (MALFORMED, *NOTHING)
    assert read(data[:15]) == (0, *NOTHING)


def test_a_block_is_bounded() -> None:
    # The length alone decides: nobody waits for so many bytes.
    for command in (0x20, 0x21):
        too_long = v2(0x11, V4 + tlv(4, bytes(MAX_BYTES - 16 - 12 - 2)), command)
        assert read(too_long[:15])[0] == 0
        assert read(too_long[:16]) == read(too_long) == (MALFORMED, *NOTHING)


@pytest.mark.parametrize(
    ("source", "source_port", "destination", "destination_port", "line", "block"),
    [
        (b"192.0.2.1", 56324, b"198.51.100.7", 443, GOOD[0][0], v2(0x11, V4)),
        (
            b"2001:db8::1", 65535, b"2001:db8::2", 80,
            b"PROXY TCP6 2001:db8::1 2001:db8::2 65535 80\r\n", v2(0x21, V6),
        ),
        (
            b"1.2.3.4", 0, b"::1", 9,
            b"PROXY TCP6 ::ffff:1.2.3.4 ::1 0 9\r\n",
            v2(0x21, bytes(10) + b"\xff\xff\1\2\3\4" + bytes(15) + b"\1" + b"\0\0\0\x09"),
        ),
        (
            b"::1", 10, b"1.2.3.4", 100,
            b"PROXY TCP6 ::1 ::ffff:1.2.3.4 10 100\r\n",
            v2(0x21, bytes(15) + b"\1" + bytes(10) + b"\xff\xff\1\2\3\4" + b"\0\x0a\0\x64"),
        ),
        (b"", 1, b"1.2.3.4", 2, b"PROXY UNKNOWN\r\n", v2(0, b"", 0x20)),
        (b"1.2.3.4", 1, b"/run/mesh.sock", 2, b"PROXY UNKNOWN\r\n", v2(0, b"", 0x20)),
        (b"name", 1, b"::1", 2, b"PROXY UNKNOWN\r\n", v2(0, b"", 0x20)),
    ],
)  # fmt: skip
def test_write(
    source: bytes, source_port: int, destination: bytes, destination_port: int, line: bytes, block: bytes
) -> None:
    assert write_v1(source, source_port, destination, destination_port) == line
    assert write_v2(source, source_port, destination, destination_port) == block
