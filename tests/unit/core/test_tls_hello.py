"""Real ClientHellos, whole and in pieces; flaws in each of their parts."""

import ssl

import pytest

from fastmesh._core.tls_hello import MALFORMED, MAX_BYTES, MESSAGE_MAX_BYTES, NOT_TLS, looks_like, read
from tests.unit.core.hello_vectors import (
    alpn,
    client_hello,
    extension,
    hello,
    message,
    records,
    server_name,
    vector,
)

LONG_NAME = ".".join(["a" * 63] * 3 + ["b" * 57])


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize(
    ("name", "protocols"),
    [
        (None, None),
        ("example.com", None),
        ("EXAMPLE.com", ["h2"]),
        ("a-b.svc_1.mesh.internal", ["http/1.1"]),
        (LONG_NAME, ["h2", "http/1.1"]),
        (None, ["http/1.0", "h2"]),
        ("127.0.0.1", ["acme-tls/1"]),
        ("::1", None),
    ],
)
def test_what_openssl_sends(version: ssl.TLSVersion, name: str | None, protocols: list[str] | None) -> None:
    data = client_hello(name, protocols, version)
    expected_name = "" if name in (None, "127.0.0.1", "::1") else str(name).lower()
    known = {"h2", "http/1.1"}
    found = {each if each in known else "other" for each in protocols or []}
    assert read(data) == (1, expected_name, found)
    assert read(data + b"\x14\x03\x03\x00\x01\x01") == (1, expected_name, found)
    for size in (1, 2, 3, 4, 5, 64, 100, len(data) - 6):
        assert read(records(data[5:], size)) == (1, expected_name, found), size


def test_every_beginning_wants_more() -> None:
    data = client_hello("example.com", ["h2"])
    assert [read(data[:i])[0] for i in range(len(data))] == [0] * len(data)
    split = records(data[5:], 7)
    assert [read(split[:i])[0] for i in range(len(split))] == [0] * len(split)


def test_the_first_byte() -> None:
    assert [byte for byte in range(256) if looks_like(byte)] == [22]
    assert [byte for byte in range(256) if read(bytes([byte]))[0] != NOT_TLS] == [22]


@pytest.mark.parametrize(
    "data",
    [b"GET / HTTP/1.1\r\n\r\n", b"PRI * HTTP/2.0", b"\x16\x02", b"\x16\x03\x05", b"\x16GET", b"\x80.\1"],
)  # fmt: skip
def test_not_tls(data: bytes) -> None:
    assert read(data) == (NOT_TLS, "", set())


@pytest.mark.parametrize("version", [b"\3\0", b"\3\1", b"\3\4"])
def test_versions_of_the_record_and_the_message(version: bytes) -> None:
    data = records(message(server_name(b"a"), version=version), 100)
    assert read(b"\x16" + version + data[3:]) == (1, "a", set())


@pytest.mark.parametrize(
    ("name", "found"),
    [
        (b"a", "a"), (b"A.B", "a.b"), (b"a.b.", "a.b"), (b"1.2.3.4a", "1.2.3.4a"), (b"xn--bcher-kva.example",) * 2,
        (b"1a", "1a"), (b"-a_.b", "-a_.b"), (b"c" * 63, "c" * 63), (LONG_NAME.encode() + b"b" * 4, LONG_NAME + "b" * 4),
        # Addresses are no names.
        (b"1.2.3.4", ""), (b"1.2.3.4.", ""), (b"127.1", ""), (b"1", ""), (b"::", ""), (b"fe80::1", ""),
        (b"::ffff:1.2.3.4", ""),
    ],
)  # fmt: skip
def test_server_names(name: bytes, found: str | bytes) -> None:
    assert read(hello(server_name(name))) == (1, found if isinstance(found, str) else found.decode(), set())


@pytest.mark.parametrize(
    "name",
    [
        b"", b".", b"..", b".a", b"a..b", b"a..", b"a b", b"a\0b", b"a/b", b"a:1", b"[::1]", b"*.a", b"a\x80",
        b"\xc3\xa9.fr", b"d" * 64, b"a." + b"d" * 64, LONG_NAME.encode() + b"b" * 5, b"a." * 200, b"fe80::1%eth0",
        b"a\n", b"a@b",
    ],
)  # fmt: skip
def test_names_that_no_host_has(name: bytes) -> None:
    assert read(hello(server_name(name))) == (MALFORMED, "", set())


def test_every_byte_of_a_name() -> None:
    good = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."
    for code in range(256):
        assert (read(hello(server_name(b"a" + bytes([code]) + b"b")))[0] == 1) == (code in good)


@pytest.mark.parametrize(
    ("protocols", "found"),
    [
        ([b"h2"], {"h2"}),
        ([b"http/1.1"], {"http/1.1"}),
        ([b"http/1.1", b"h2", b"h2"], {"h2", "http/1.1"}),
        ([b"h2c", b"h", b"H2", b"http/1.0", b"\x0a\x0a", b"x" * 255], {"other"}),
        ([b"\x1a\x1a", b"h2"], {"h2", "other"}),
    ],
)
def test_protocols(protocols: list[bytes], found: set[str]) -> None:
    assert read(hello(alpn(*protocols), server_name(b"a"))) == (1, "a", found)


@pytest.mark.parametrize(
    "extensions",
    [
        b"\0", b"\0\0", b"\0\0\0", b"\0\0\0\1", b"\0\5\0\2x", extension(9, b"x") + b"\0",
        # the list of names
        extension(0, b""), extension(0, b"\0\0"), extension(0, b"\0\1\0"), extension(0, b"\0\3\0\0\0"),
        extension(0, b"\0\4\1\0\1a"), extension(0, b"\0\4\0\0\2a"), extension(0, b"\0\4\0\0\1a!"),
        extension(0, b"\0\5\0\0\1a!"), extension(0, vector(2, b"\0\0\1a\0\0\1b")), extension(0, b"\xff\xff\0\0\1a"),
        server_name(b"a") + server_name(b"b"),
        # the list of protocols
        extension(16, b""), extension(16, b"\0\0"), extension(16, b"\0\1\0"), extension(16, b"\0\3\3h2"),
        extension(16, b"\0\3\2h2!"), extension(16, b"\0\4\2h2\0"), extension(16, b"\0\4\2h2"),
        alpn(b"h2") + alpn(b"h2"),
    ],
)  # fmt: skip
def test_bad_extensions(extensions: bytes) -> None:
    assert read(records(message(extensions), 16384)) == (MALFORMED, "", set())


def test_an_extension_that_is_not_ours_may_hold_anything() -> None:
    assert read(hello(extension(1, b""), extension(0xFE0D, b"\xff" * 999), extension(1, b"x"))) == (1, "", set())


@pytest.mark.parametrize(
    "data",
    [
        message(version=b"\2\3"), message(version=b"\4\0"), message(session=bytes(33)), message(suites=b""),
        message(suites=b"abc"), message(compressions=b""), message(behind=b"\0"), message(None, behind=b"\0"),
        b"\1\0\0\0", b"\1\0\0\1\3", b"\1" + vector(3, b"\3\3" + bytes(31)), b"\1" + vector(3, b"\3\3" + bytes(32)),
        b"\1" + vector(3, b"\3\3" + bytes(32) + b"\1"), b"\1" + vector(3, b"\3\3" + bytes(33) + b"\0\2a"),
    ],
)  # fmt: skip
def test_bad_messages(data: bytes) -> None:
    assert read(records(data, 16384)) == (MALFORMED, "", set())


@pytest.mark.parametrize("session", [b"", bytes(1), bytes(32)])
def test_good_messages(session: bytes) -> None:
    assert read(records(message(None, session=session, compressions=b"\1\0"), 16384)) == (1, "", set())


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x00\x00", b"\x16\x03\x01\x40\x01", b"\x16\x03\x01\xff\xff",      # lengths of records
        b"\x16\x03\x01\x00\x01\x02", b"\x16\x03\x01\x00\x01\x00",                       # not a ClientHello
        b"\x16\x03\x01\x00\x04\x01\x00\x3f\xfd", b"\x16\x03\x01\x00\x04\x01\xff\xff\xff",  # too long
        b"\x16\x03\x01\x00\x01\x01\x17", b"\x16\x03\x01\x00\x01\x01\x16\x02", b"\x16\x03\x01\x00\x01\x01\x15",
        b"\x16\x03\x01\x00\x01\x01\x16\x03\x01\x00\x00",
    ],
)  # fmt: skip
def test_bad_records(data: bytes) -> None:
    assert read(data) == (MALFORMED, "", set())
    assert read(data[:-1])[0] == 0


def test_the_longest_message() -> None:
    fixed = len(message(extension(21, b"") + server_name(b"a")))
    longest = message(extension(21, bytes(MESSAGE_MAX_BYTES - fixed)) + server_name(b"a"))
    assert len(longest) == MESSAGE_MAX_BYTES
    for size in (256, 300, 4096, 16384):
        assert read(records(longest, size)) == (1, "a", set())
    assert read(records(longest, 16384)[:-1])[0] == 0
    longer = message(extension(21, bytes(MESSAGE_MAX_BYTES - fixed + 1)) + server_name(b"a"))
    assert read(records(longer, 8192))[0] == MALFORMED


def test_more_is_bounded() -> None:
    """Records that are hardly more than their heads: the bytes of the connection count."""
    data = records(message(extension(21, bytes(9000))), 1)
    assert len(data) > MAX_BYTES
    assert read(data[: MAX_BYTES - 1])[0] == 0
    assert read(data[:MAX_BYTES])[0] == read(data)[0] == MALFORMED
