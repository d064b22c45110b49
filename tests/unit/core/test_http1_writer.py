"""Heads and chunk framing as they are written."""

import pytest

from fastmesh._core import http1_writer
from fastmesh._core.headers import Head
from fastmesh._core.http1_parser import parse_request, parse_response, parse_trailers
from tests.unit.core.http1_vectors import GOOD_REQUESTS, GOOD_RESPONSES, answer, field, line


def test_host_comes_first_and_once() -> None:
    head = parse_request(b"GET /a?b HTTP/1.1\r\nX: y\r\nhOsT: c\r\nZ: w\r\n\r\n")
    assert http1_writer.write_request(head) == b"GET /a?b HTTP/1.1\r\nhost: c\r\nX: y\r\nZ: w\r\n\r\n"


@pytest.mark.parametrize(
    ("start", "written"),
    [
        (b"GET http://h:1 HTTP/1.1", b"GET / HTTP/1.1\r\nhost: h:1\r\n\r\n"),
        (b"GET http://h?a=b HTTP/1.1", b"GET /?a=b HTTP/1.1\r\nhost: h\r\n\r\n"),
        (b"GET http://h/c?a=b HTTP/1.1", b"GET /c?a=b HTTP/1.1\r\nhost: h\r\n\r\n"),
        (b"OPTIONS * HTTP/1.1", b"OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n"),
        (b"OPTIONS http://h HTTP/1.1", b"OPTIONS * HTTP/1.1\r\nhost: h\r\n\r\n"),
        (b"OPTIONS http://h/ HTTP/1.1", b"OPTIONS / HTTP/1.1\r\nhost: h\r\n\r\n"),
        (b"CONNECT h:443 HTTP/1.1", b"CONNECT h:443 HTTP/1.1\r\nhost: h:443\r\n\r\n"),
        (b"GET / HTTP/1.0", b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"),
    ],
)
def test_start_lines(start: bytes, written: bytes) -> None:
    assert http1_writer.write_request(parse_request(line(start))) == written


def test_a_request_without_host_gets_an_empty_one() -> None:
    assert http1_writer.write_request(parse_request(b"GET / HTTP/1.0\r\n\r\n")) == b"GET / HTTP/1.1\r\nhost: \r\n\r\n"


@pytest.mark.parametrize("data", GOOD_REQUESTS)
def test_requests_read_again_as_they_were_written(data: bytes) -> None:
    head = parse_request(data)
    again = parse_request(http1_writer.write_request(head))
    others = [(name, value) for name, value in head.fields if name.lower() != b"host"]
    assert again.fields == [(b"host", head.authority), *others]
    assert (again.method, again.framing, again.content_length) == (head.method, head.framing, head.content_length)
    assert (again.authority, again.path if head.target else b"/", again.query) == (
        head.authority,
        head.path if head.target else b"/",
        head.query,
    )


@pytest.mark.parametrize("data", GOOD_RESPONSES)
def test_responses_read_again_as_they_were_written(data: bytes) -> None:
    head = parse_response(data)
    again = parse_response(http1_writer.write_response(head))
    assert (again.status, again.reason, again.fields) == (head.status, head.reason, head.fields)
    assert (again.framing, again.content_length) == (head.framing, head.content_length)


@pytest.mark.parametrize(
    "dropped", [[], [b"via"], [b"accept"], [b"via", b"accept"], [b"cookie", b"via", b"accept", b"te"]]
)
def test_dropped_fields_are_not_written(dropped: list[bytes]) -> None:
    fields = [b"Via: a", b"A: b", b"Accept: c", b"D:e", b"F:  g \t", b"TE: x", b"Cookie: h", b"I: j"]
    head = parse_response(answer(*fields)).copy(100, 2)
    assert head.append(b"k", b"l") and head.append(b"m", b"")
    for name in dropped:
        head.drop(name)
    lines = [name + b": " + value for name, value in head.fields]
    assert len(lines) == len(fields) + 2 - len(dropped)
    assert http1_writer.write_response(head) == b"HTTP/1.1 200 OK\r\n" + b"\r\n".join(lines) + b"\r\n\r\n"


def test_odd_white_space_is_not_passed_on() -> None:
    head = parse_request(field(b"A:b", b"C:\t d \t", b"E: f ", b"G:", b"H: i"))
    assert http1_writer.write_request(head).endswith(b"A: b\r\nC: d\r\nE: f\r\nG: \r\nH: i\r\n\r\n")


def test_a_response_without_fields() -> None:
    assert http1_writer.write_response(parse_response(answer(start=b"HTTP/1.0 404"))) == b"HTTP/1.1 404 \r\n\r\n"


@pytest.mark.parametrize("size", [0, 1, 9, 10, 15, 16, 255, 256, 65536, 2**32 - 1, 2**32, 2**63 - 1, 2**64 - 1])
def test_chunk_heads(size: int) -> None:
    assert http1_writer.write_chunk_head(size) == b"%x\r\n" % size


def test_last_chunks() -> None:
    assert http1_writer.write_last_chunk(None) == b"0\r\n\r\n"
    assert http1_writer.write_last_chunk(Head(0, 0)) == b"0\r\n\r\n"
    trailers = parse_trailers(b"X: y\r\nContent-Length: 5\r\nZ:w\r\n\r\n")
    assert http1_writer.write_last_chunk(trailers) == b"0\r\nX: y\r\nZ: w\r\n\r\n"


def test_a_rehearsal_writes_what_one_writing_does() -> None:
    head = parse_request(GOOD_REQUESTS[1])
    assert http1_writer.rehearse_request(head, 3) == len(http1_writer.write_request(head))
