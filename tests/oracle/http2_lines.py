"""A head that came by HTTP/2 and goes on by HTTP/1 says the same there, and nothing besides."""

from fastmesh._core import http1_parser, http1_writer, http2_writer
from fastmesh._core.headers import Head
from fastmesh._core.http2_head import HeadError, read_request, read_response

_LARGE = {"start_line_max": 1 << 17, "head_max": 1 << 20}


def _fields(head: Head) -> list[tuple[bytes, bytes]]:
    # Writers put a Host of their own first, and one `te: trailers` in lower case.
    return [field for field in head.fields if field[0] not in (b"host", b"te")]


def _one_head(text: bytes) -> bytes:
    end, _ = http1_parser.find_head_end(text, **_LARGE)
    assert end == len(text), text
    return text


def check_http2_request(block: bytes, is_end: bool) -> str:
    """Raises AssertionError; returns a signature of what happened."""
    try:
        head = read_request(block, is_end)
    except HeadError as error:
        return str(error)
    again = http1_parser.parse_request(_one_head(http1_writer.write_request(head)), **_LARGE)
    assert _fields(again) == _fields(head)
    assert (again.method, again.target, again.authority) == (head.method, head.target, head.authority)
    assert (again.path, again.query, again.content_length) == (head.path, head.query, head.content_length)
    assert head.find(b"transfer-encoding") is None
    back = read_request(http2_writer.write_request(head), is_end)
    assert (_fields(back), back.flags, back.framing) == (_fields(head), head.flags, head.framing)
    assert (back.method, back.target, back.authority) == (head.method, head.target, head.authority)
    return f"{head.framing} {sorted(head.flags)} {min(len(head.fields), 1)}"


def check_http2_response(block: bytes, is_end: bool) -> str:
    """Raises AssertionError; returns a signature of what happened."""
    try:
        head = read_response(block, is_end)
    except HeadError as error:
        return str(error)
    again = http1_parser.parse_response(_one_head(http1_writer.write_response(head)), **_LARGE)
    assert (again.status, again.fields, again.reason) == (head.status, head.fields, b"")
    assert head.find(b"transfer-encoding") is None
    back = read_response(http2_writer.write_response(head), is_end)
    assert (back.status, _fields(back), back.framing) == (head.status, _fields(head), head.framing)
    return f"{head.framing} {head.status // 100} {min(len(head.fields), 1)}"
