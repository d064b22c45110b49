"""What a proxy takes out of a head, and what it puts in."""

import pytest

from fastmesh._core import forwarding
from fastmesh._core.headers import Head
from fastmesh._core.http1_parser import parse_request, parse_response
from fastmesh._core.http1_writer import write_request
from tests.unit.core.http1_vectors import GOOD_REQUESTS, answer, field, host

ID = b"01234567-89ab-4cde-8f01-23456789abcd"
OURS = (b"host", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"x-request-id")


def values(head: Head, name: bytes) -> list[bytes]:
    return [value for other, value in head.fields if other.lower() == name]


def forward(*fields: bytes, start: bytes = b"GET / HTTP/1.1", hops: int = 0, via: bytes | None = None) -> Head:
    head = parse_request(field(*fields, start=start))
    return forwarding.request(head, client=b"192.0.2.7", scheme=b"https", trusted_hops=hops, via=via, request_id=ID)


def others(head: Head) -> list[bytes]:
    return [name + b": " + value for name, value in head.fields if name.lower() not in OURS]


def test_what_a_plain_request_becomes() -> None:
    data = b"GET /a HTTP/1.1\r\nHost: b:80\r\nAccept: c\r\nConnection: keep-alive\r\nD: e\r\n\r\n"
    head = forwarding.request(parse_request(data), client=b"192.0.2.7", scheme=b"https", via=b"mesh", request_id=ID)
    assert write_request(head) == (
        b"GET /a HTTP/1.1\r\nhost: b:80\r\nAccept: c\r\nD: e\r\nx-forwarded-for: 192.0.2.7\r\n"
        b"x-forwarded-proto: https\r\n"
        b"x-forwarded-host: b:80\r\nx-request-id: " + ID + b"\r\nvia: 1.1 mesh\r\n\r\n"
    )


@pytest.mark.parametrize(
    "dropped",
    [
        b"Connection: close", b"Connection:", b"Keep-Alive: timeout=5", b"Proxy-Connection: keep-alive",
        b"TE: trailers", b"TE: gzip", b"Proxy-Authenticate: Basic", b"Proxy-Authorization: Basic eA==",
        b"HTTP2-Settings: AAMAAABk", b"Upgrade: websocket", b"Upgrade: h2c",
    ],
)  # fmt: skip
def test_hop_by_hop_fields_are_dropped(dropped: bytes) -> None:
    assert others(forward(b"A: b", dropped, b"C: d")) == [b"A: b", b"C: d"]


@pytest.mark.parametrize("connection", [b"x-a", b"X-A", b"close, x-a", b"x-a,x-a", b" , ,x-a\t,"])
def test_fields_that_connection_names_are_dropped(connection: bytes) -> None:
    assert others(forward(b"X-A: 1", b"Connection: " + connection, b"X-B: 2", b"x-a: 3")) == [b"X-B: 2"]


def test_connection_names_known_fields_and_fields_of_other_lines_too() -> None:
    head = forward(b"Connection: cookie", b"Cookie: a", b"Connection: X-A, via", b"X-A: 1", b"Via: 1.1 x", b"X-AB: 2")
    assert others(head) == [b"X-AB: 2"]


def test_connection_does_not_name_away_what_is_ours() -> None:
    names = b"host, content-length, transfer-encoding, expect, " + b", ".join(OURS[1:])
    fields = (b"X-Forwarded-For: 1.1.1.1", b"X-Forwarded-Proto: http", b"X-Forwarded-Host: c", b"X-Request-Id: d")
    head = forward(
        b"Connection: " + names,
        *fields,
        b"Content-Length: 5",
        b"Expect: 100-continue",
        start=b"POST / HTTP/1.1",
        hops=1,
    )
    assert values(head, b"x-forwarded-for") == [b"1.1.1.1, 192.0.2.7"]
    assert values(head, b"x-forwarded-proto") == [b"http"]
    assert values(head, b"x-forwarded-host") == [b"c"]
    assert values(head, b"x-request-id") == [b"d"]
    assert values(head, b"host") == [b"a"]
    assert others(head) == [b"Content-Length: 5", b"Expect: 100-continue"]
    chunked = forward(b"Connection: " + names, b"Transfer-Encoding: chunked", start=b"POST / HTTP/1.1")
    assert others(chunked) == [b"Transfer-Encoding: chunked"]


def test_fields_that_read_as_ours_elsewhere_are_dropped() -> None:
    head = forward(
        b"X_Forwarded_For: 6.6.6.6", b"x-forwarded_host: evil", b"X-Request_Id: e", b"Content_Length: 6",
        b"transfer_encoding: chunked", b"X_Other: kept", b"User_Agent: kept",
    )  # fmt: skip
    assert others(head) == [b"X_Other: kept", b"User_Agent: kept"]
    assert values(head, b"x-forwarded-for") == [b"192.0.2.7"]


# --- X-Forwarded-*


def test_a_stranger_is_not_believed() -> None:
    head = forward(
        b"X-Forwarded-For: 6.6.6.6", b"x-forwarded-for: 7.7.7.7", b"X-Forwarded-Proto: ftp", b"X-Forwarded-Proto: x",
        b"X-Forwarded-Host: evil",
    )  # fmt: skip
    assert values(head, b"x-forwarded-for") == [b"192.0.2.7"]
    assert values(head, b"x-forwarded-proto") == [b"https"]
    assert values(head, b"x-forwarded-host") == [b"a"]


@pytest.mark.parametrize(
    ("hops", "believed"),
    [
        (1, b"3.3.3.3, 192.0.2.7"),
        (2, b"2.2.2.2, 3.3.3.3, 192.0.2.7"),
        (3, b"1.1.1.1, 2.2.2.2, 3.3.3.3, 192.0.2.7"),
        (255, b"1.1.1.1, 2.2.2.2, 3.3.3.3, 192.0.2.7"),
    ],
)
def test_as_many_proxies_are_believed_as_are_trusted(hops: int, believed: bytes) -> None:
    head = forward(
        b"X-Forwarded-For: 1.1.1.1, 2.2.2.2", b"X-Forwarded-Proto: http", b"X-Forwarded-For:",
        b"X-Forwarded-Host: shop", b"X-Forwarded-For: 3.3.3.3", hops=hops,
    )  # fmt: skip
    assert values(head, b"x-forwarded-for") == [believed]
    assert values(head, b"x-forwarded-proto") == [b"http"]
    assert values(head, b"x-forwarded-host") == [b"shop"]


def test_what_a_trusted_proxy_left_out_is_set() -> None:
    head = forward(hops=1)
    assert values(head, b"x-forwarded-for") == [b"192.0.2.7"]
    assert values(head, b"x-forwarded-proto") == [b"https"]
    assert values(head, b"x-forwarded-host") == [b"a"]


def test_of_several_the_one_that_the_nearest_proxy_added_is_kept() -> None:
    head = forward(
        b"X-Forwarded-Proto: ftp", b"X-Forwarded-Host: evil", b"X-Forwarded-Proto: http", b"X-Forwarded-Host: b", hops=1
    )
    assert values(head, b"x-forwarded-proto") == [b"http"]
    assert values(head, b"x-forwarded-host") == [b"b"]


def test_the_authority_of_an_absolute_target_is_passed_on() -> None:
    head = forward(start=b"GET http://shop:81/ HTTP/1.1")
    assert values(head, b"x-forwarded-host") == [b"shop:81"]
    assert b"\r\nhost: shop:81\r\n" in write_request(head)


def test_without_authority_there_is_no_forwarded_host() -> None:
    head = forwarding.request(parse_request(b"GET / HTTP/1.0\r\n\r\n"))
    assert values(head, b"x-forwarded-host") == []


# --- X-Request-Id, Via


@pytest.mark.parametrize("value", [b"a", b"A.b_c:d+e/f=g-9", b"x" * 128])
def test_a_sane_request_id_is_kept(value: bytes) -> None:
    assert values(forward(b"X-Request-Id: " + value), b"x-request-id") == [value]


@pytest.mark.parametrize("value", [b"", b"a b", b"a,b", b'a"b', b"\xe9", b"{a}", b"a;b", b"x" * 129])
def test_another_request_id_is_replaced(value: bytes) -> None:
    assert values(forward(b"X-Request-Id: " + value), b"x-request-id") == [ID]


def test_several_request_ids_are_replaced() -> None:
    assert values(forward(b"X-Request-Id: a", b"X-Request-Id: a"), b"x-request-id") == [ID]


def test_via_is_added_behind_others() -> None:
    assert values(forward(b"Via: 1.0 x", via=b"mesh"), b"via") == [b"1.0 x", b"1.1 mesh"]
    assert values(forward(start=b"GET / HTTP/1.0", via=b"mesh"), b"via") == [b"1.0 mesh"]
    assert values(forwarding.response(parse_response(answer()), via=b"mesh"), b"via") == [b"1.1 mesh"]


# --- framing and upgrades


@pytest.mark.parametrize(
    ("fields", "kept"),
    [
        ((), []),
        ((b"Content-Length: 5",), [b"Content-Length: 5"]),
        ((b"Content-Length: 0",), [b"Content-Length: 0"]),
        ((b"Transfer-Encoding: chunked", b"Trailer: X"), [b"Transfer-Encoding: chunked", b"Trailer: X"]),
    ],
)
def test_framing_fields_of_requests_are_kept(fields: tuple[bytes, ...], kept: list[bytes]) -> None:
    assert others(forward(*fields, start=b"POST / HTTP/1.1")) == kept


def test_an_upgrade_is_passed_on() -> None:
    head = forward(b"Connection: Upgrade, X-A", b"X-A: 1", b"Upgrade: websocket", b"Sec-WebSocket-Key: x")
    assert others(head) == [b"Upgrade: websocket", b"Sec-WebSocket-Key: x", b"connection: upgrade"]


def test_an_upgrade_to_cleartext_http2_is_not() -> None:
    assert others(forward(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk")) == []


LENGTH = b"Content-Length: 5"
CHUNKED = b"Transfer-Encoding: chunked"
APPENDED = b"transfer-encoding: chunked"


@pytest.mark.parametrize(
    ("start", "fields", "method", "minor", "framing", "kept"),
    [
        (b"HTTP/1.1 200 OK", (LENGTH,), "GET", 1, "length", [LENGTH]),
        (b"HTTP/1.1 200 OK", (LENGTH,), "GET", 0, "length", [LENGTH, b"connection: keep-alive"]),
        (b"HTTP/1.1 200 OK", (CHUNKED, b"Trailer: X"), "GET", 1, "chunked", [CHUNKED, b"Trailer: X"]),
        (b"HTTP/1.1 200 OK", (CHUNKED, b"Trailer: X"), "GET", 0, "close", [b"connection: close"]),
        (b"HTTP/1.0 200 OK", (), "GET", 1, "chunked", [APPENDED]),
        (b"HTTP/1.0 200 OK", (), "GET", 0, "close", [b"connection: close"]),
        (b"HTTP/1.1 200 OK", (LENGTH,), "HEAD", 1, "none", [LENGTH]),
        (b"HTTP/1.1 200 OK", (CHUNKED,), "HEAD", 1, "none", []),
        (b"HTTP/1.1 200 OK", (LENGTH,), "CONNECT", 1, "none", []),
        (b"HTTP/1.1 200 OK", (CHUNKED,), "CONNECT", 1, "none", []),
        (b"HTTP/1.1 204 No", (), "GET", 1, "none", []),
        (b"HTTP/1.1 204 No", (b"Content-Length: 0",), "GET", 1, "none", [b"Content-Length: 0"]),
        (b"HTTP/1.1 304 No", (LENGTH,), "GET", 1, "none", [LENGTH]),
        (b"HTTP/1.1 304 No", (CHUNKED,), "GET", 0, "none", [b"connection: keep-alive"]),
        (b"HTTP/1.1 100 Continue", (), "GET", 1, "none", []),
        (b"HTTP/1.1 103 Hints", (b"Link: x", b"Content-Length: 0"), "GET", 1, "none", [b"Link: x"]),
    ],
)
def test_framing_of_responses(
    start: bytes, fields: tuple[bytes, ...], method: str, minor: int, framing: str, kept: list[bytes]
) -> None:
    head = forwarding.response(parse_response(answer(*fields, start=start), method), method, version_minor=minor)
    assert (head.framing, others(head)) == (framing, kept)


def test_a_response_made_without_a_body_says_so() -> None:
    head = forwarding.response(parse_response(answer(CHUNKED), "HEAD"), "GET")
    assert (head.framing, others(head)) == ("length", [b"content-length: 0"])


def test_a_connection_that_ends_says_so() -> None:
    for minor in (0, 1):
        head = forwarding.response(parse_response(answer(LENGTH)), version_minor=minor, keep_alive=False)
        assert others(head) == [LENGTH, b"connection: close"]


def test_hop_by_hop_fields_of_responses_are_dropped() -> None:
    head = forwarding.response(
        parse_response(
            answer(
                b"A: b", b"Connection: keep-alive, X-A", b"X-A: 1", b"Keep-Alive: timeout=5", b"Proxy-Authenticate: x",
                b"Upgrade: h2c", LENGTH,
            )
        )
    )  # fmt: skip
    assert others(head) == [b"A: b", LENGTH]


def test_a_switch_of_protocols_is_passed_on() -> None:
    head = parse_response(answer(b"Upgrade: websocket", b"Connection: Upgrade", start=b"HTTP/1.1 101 Switching"))
    assert others(forwarding.response(head)) == [b"Upgrade: websocket", b"connection: upgrade"]


# --- room


@pytest.mark.parametrize("data", GOOD_REQUESTS)
def test_there_is_room_for_the_longest_fields(data: bytes) -> None:
    for hops in (0, 1):
        head = forwarding.request(
            parse_request(data), client=b"f" * 45, scheme=b"https", trusted_hops=hops, via=b"v" * 255, request_id=ID
        )
        assert values(head, b"x-request-id")


def test_there_is_room_for_the_longest_host_and_upgrade() -> None:
    data = host(b"h" * 255 + b":65535")[:-2] + b"Connection: upgrade\r\nUpgrade: websocket\r\n\r\n"
    head = forwarding.request(parse_request(data), client=b"f" * 45, scheme=b"https", via=b"v" * 255, request_id=ID)
    assert values(head, b"x-forwarded-host") == [b"h" * 255 + b":65535"]
    assert values(head, b"connection") == [b"upgrade"]


def test_there_is_room_for_many_forwarded_fors() -> None:
    head = forward(*[b"X-Forwarded-For: 1"] * 60, hops=60)
    assert values(head, b"x-forwarded-for") == [b"1, " * 60 + b"192.0.2.7"]


def test_arguments_of_the_wrong_length_are_refused() -> None:
    head = parse_request(GOOD_REQUESTS[0])
    with pytest.raises(ValueError, match="36 bytes"):
        forwarding.request(head, request_id=b"x")
    with pytest.raises(ValueError, match="255 bytes"):
        forwarding.request(head, via=b"v" * 256)


def test_a_rehearsal_does_what_one_forwarding_does() -> None:
    head = parse_request(GOOD_REQUESTS[1])
    assert forwarding.rehearse_request(head, 3).fields == forwarding.request(head).fields
