"""Deadlines, statuses, messages, paths and content types of gRPC."""

import pytest

from fastmesh._core import grpc
from fastmesh._core.reason import NAMES, STATUSES

SECOND = 10**9
LONGEST = 2**63 - 1
OK, CANCELLED, UNKNOWN, DEADLINE_EXCEEDED, PERMISSION_DENIED, RESOURCE_EXHAUSTED = 0, 1, 2, 4, 7, 8
UNIMPLEMENTED, INTERNAL, UNAVAILABLE, UNAUTHENTICATED = 12, 13, 14, 16


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        (b"1n", 1), (b"1u", 1000), (b"1m", 1_000_000), (b"1S", SECOND), (b"1M", 60 * SECOND), (b"1H", 3600 * SECOND),
        (b"99999999n", 99999999), (b"99999999M", 99999999 * 60 * SECOND), (b"0S", 0), (b"00000012m", 12_000_000),
        # More than 292 years are no more than that.
        (b"2562047H", 2562047 * 3600 * SECOND), (b"2562048H", LONGEST), (b"99999999H", LONGEST),
    ],
)  # fmt: skip
def test_timeouts(text: bytes, ns: int) -> None:
    assert grpc.timeout_parse(text) == ns


@pytest.mark.parametrize(
    "text",
    [
        b"", b"1", b"n", b"123456789n", b"000000001n", b"1s", b"1h", b"1N", b"1U", b"1 S", b" 1S", b"1S ", b"-1S",
        b"+1S", b"1.5S", b"0x1S", b"1SS", b"1\0", b"\0S", b"1e3m", b"9999999999999999999999S",
    ],
)  # fmt: skip
def test_what_is_no_timeout(text: bytes) -> None:
    assert grpc.timeout_parse(text) is None


def test_every_unit_and_digit() -> None:
    assert [bytes([code]) for code in range(256) if grpc.timeout_parse(b"1" + bytes([code])) is not None] == [
        b"H", b"M", b"S", b"m", b"n", b"u",
    ]  # fmt: skip
    assert bytes(code for code in range(256) if grpc.timeout_parse(bytes([code]) + b"S") is not None) == b"0123456789"


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, b"1n"), (1, b"1n"), (99_999_999, b"99999999n"), (100_000_000, b"100000u"), (100_000_999, b"100000u"),
        (99_999_999_999, b"99999999u"), (10**11, b"100000m"), (SECOND, b"1000000u"), (10**14 - 1, b"99999999m"),
        (10**14, b"100000S"), (10**17 - 1, b"99999999S"), (10**17, b"1666666M"), (2**63, b"2562047H"),
        (2**64 - 1, b"5124095H"), (59999999 * 60 * SECOND, b"59999999M"),
    ],
)  # fmt: skip
def test_written_timeouts(ns: int, text: bytes) -> None:
    assert grpc.timeout_write(ns) == text


def test_statuses_of_http() -> None:
    """http-grpc-status-mapping.md: these, and UNKNOWN for every other."""
    told = {400: INTERNAL, 401: UNAUTHENTICATED, 403: PERMISSION_DENIED, 404: UNIMPLEMENTED}
    told |= dict.fromkeys((429, 502, 503, 504), UNAVAILABLE)
    assert {status: grpc.status_of_http(status) for status in range(1000)} == dict.fromkeys(range(1000), UNKNOWN) | told


EXPECTED = {
    "": OK,
    "bad_request": INTERNAL,
    "uri_too_long": RESOURCE_EXHAUSTED,
    "head_too_large": RESOURCE_EXHAUSTED,
    "head_timeout": DEADLINE_EXCEEDED,
    "body_too_large": RESOURCE_EXHAUSTED,
    "body_timeout": DEADLINE_EXCEEDED,
    "downstream_closed": CANCELLED,
    "downstream_stalled": CANCELLED,
    "no_route": UNIMPLEMENTED,
    "no_endpoint": UNAVAILABLE,
    "rate_limited": RESOURCE_EXHAUSTED,
    "overloaded": UNAVAILABLE,
    "pool_exhausted": UNAVAILABLE,
    "draining": UNAVAILABLE,
    "connect_failed": UNAVAILABLE,
    # Nothing was sent yet: another try is safe.
    "connect_timeout": UNAVAILABLE,
    "request_timeout": DEADLINE_EXCEEDED,
    "upstream_reset": UNAVAILABLE,
    "upstream_malformed": INTERNAL,
    "upstream_stalled": DEADLINE_EXCEEDED,
    "upstream_truncated": UNAVAILABLE,
    "connect_not_supported": UNIMPLEMENTED,
    "deadline_exceeded": DEADLINE_EXCEEDED,
}


def test_statuses_of_reasons() -> None:
    found = {name: grpc.status_of_reason(index) for index, name in enumerate(NAMES)}
    assert {name: found[name] for name in EXPECTED} == EXPECTED
    # A reason without a row of its own reads as its HTTP status does, and none reads as success.
    for index, name in enumerate(NAMES):
        if name not in EXPECTED:
            assert found[name] == grpc.status_of_http(STATUSES[index])
    assert OK not in [grpc.status_of_reason(index) for index in range(1, 256)]


def test_statuses_as_text() -> None:
    good = {str(status).encode(): status for status in range(17)}
    tried = [str(number).encode() for number in range(200)]
    tried += [b"", b"-1", b"00", b"01", b"016", b"+1", b" 1", b"1 ", b"a", b"1a", b"\0", b"1\0", b"0x1", b"10000000000"]
    tried += [bytes([code]) for code in range(256)]
    assert {text: grpc.status_parse(text) for text in tried if grpc.status_parse(text) != -1} == good
    assert all(grpc.status_parse(text) == -1 for text in set(tried) - set(good))


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("", b""), ("no endpoint", b"no endpoint"), ("100%", b"100%25"), ("a\r\nb\tc\0", b"a%0D%0Ab%09c%00"),
        ("ünïcode €", b"%C3%BCn%C3%AFcode %E2%82%AC"), ("%41~\x7f", b"%2541~%7F"),
    ],
)  # fmt: skip
def test_messages(text: str, written: bytes) -> None:
    assert grpc.message_write(text.encode()) == written


@pytest.mark.parametrize(
    ("path", "split"),
    [
        (b"/helloworld.Greeter/SayHello", (b"helloworld.Greeter", b"SayHello")),
        (b"/S/M", (b"S", b"M")),
        (b"/a/b.S/M", (b"a/b.S", b"M")),
        (b"", None), (b"/", None), (b"//", None), (b"S/M", None), (b"/S", None), (b"/S/", None), (b"//M", None),
        (b"*", None), (b"/SM", None),
    ],
)  # fmt: skip
def test_paths(path: bytes, split: tuple[bytes, bytes] | None) -> None:
    assert grpc.split_path(path) == split


@pytest.mark.parametrize(
    ("value", "is_grpc"),
    [
        (b"application/grpc", True), (b"application/grpc+proto", True), (b"application/grpc+json;a=b", True),
        (b"application/grpc;charset=utf-8", True), (b"application/grpc ; a=b", True), (b"Application/GRPC", True),
        (b"application/grpc ", True), (b"application/grpc-web", False), (b"application/grpc-web+proto", False),
        (b"application/grpc-web-text", False), (b"application/grpcx", False), (b"application/grp", False),
        (b"application/json", False), (b"", False), (b"application/grpc x", False), (b"xapplication/grpc", False),
        (b"application/grpc,", False),
    ],
)  # fmt: skip
def test_content_types(value: bytes, is_grpc: bool) -> None:
    assert grpc.is_content_type(value) == is_grpc
