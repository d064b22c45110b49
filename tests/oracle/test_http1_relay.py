"""Whatever is taken and sent on reads the same in h11 and in llhttp."""

import pytest

from fastmesh._core.http1_parser import ParseError
from tests.oracle.http1_relay import check_request, check_response
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

BEHIND = b"GET /smuggled HTTP/1.1\r\nHost: b\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked"


def with_body(data: bytes, behind: bytes) -> bytes:
    if b"chunked" in data.lower():
        return data + b"5\r\nhello\r\n0\r\n\r\n" + behind
    return data + (b"hello" if b"Content-Length: 5" in data else b"0123456789") + behind


@pytest.mark.parametrize("hops", [0, 1])
@pytest.mark.parametrize("data", GOOD_REQUESTS)
def test_requests(data: bytes, hops: int) -> None:
    sent = check_request(with_body(data, BEHIND), hops)
    assert b"smuggled" not in sent


@pytest.mark.parametrize("minor", [0, 1])
@pytest.mark.parametrize("data", GOOD_RESPONSES)
def test_responses(data: bytes, minor: int) -> None:
    check_response(with_body(data, b""), "GET", minor)
    check_response(data, "HEAD", minor)
    if not data.startswith(b"HTTP/1.1 101"):
        check_response(with_body(data, b""), "CONNECT", minor)


@pytest.mark.parametrize(("encoded", "body", "trailer"), GOOD_CHUNKED)
def test_chunked_bodies(encoded: bytes, body: bytes, trailer: bytes) -> None:
    request = check_request(field(CHUNKED, start=b"POST / HTTP/1.1") + encoded + BEHIND)
    response = check_response(answer(CHUNKED) + encoded)
    for sent in (request, response):
        assert sent.endswith(b"0\r\n" + (trailer or b"\r\n"))
        assert b"smuggled" not in sent


@pytest.mark.parametrize(("data", "error"), BAD_REQUESTS)
def test_bad_requests_are_not_sent_on(data: bytes, error: str) -> None:
    with pytest.raises(ParseError, match=error):
        check_request(with_body(data, BEHIND))


@pytest.mark.parametrize(("data", "error"), BAD_RESPONSES)
def test_bad_responses_are_not_sent_on(data: bytes, error: str) -> None:
    with pytest.raises(ParseError, match=error):
        check_response(with_body(data, b""))


@pytest.mark.parametrize(("encoded", "error"), BAD_CHUNKED)
def test_bad_chunked_bodies_are_not_sent_on(encoded: bytes, error: str) -> None:
    with pytest.raises(ParseError, match=error):
        check_request(field(CHUNKED, start=b"POST / HTTP/1.1") + encoded + b"\r\n\r\n" + BEHIND)
