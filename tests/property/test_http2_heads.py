"""HTTP/2 heads made up by hypothesis: valid ones come back as they went, and hostile ones smuggle nothing."""

from hypothesis import given, settings
from hypothesis import strategies as st

from fastmesh._core import http2_writer
from fastmesh._core.hpack import encode
from fastmesh._core.http2_head import HeadError, read_request, read_trailers
from tests.oracle.http2_lines import check_http2_request, check_http2_response
from tests.property.test_http1_messages import TOKEN, VISIBLE, hosts, text, values

Fields = list[tuple[bytes, bytes]]

methods = st.sampled_from([b"GET", b"HEAD", b"POST", b"OPTIONS", b"PURGE"])
paths = text(VISIBLE).map(lambda path: b"/" + path)
names = st.one_of(
    text(TOKEN, 1, 12).map(lambda name: b"x-" + name.lower()),
    st.sampled_from([b"accept", b"authorization", b"cookie", b"expect", b"via", b"set-cookie", b"x-request-id"]),
)
fields = st.lists(st.tuples(names, values), max_size=10)
hostile_values = st.one_of(
    values,
    st.binary(max_size=12),
    st.sampled_from([b"a\r\nb: c", b"\r\n\r\nGET / HTTP/1.1", b"chunked", b"5", b"h", b"close", b"/", b"200", b"a\nb"]),
)
hostile_names = st.one_of(
    names,
    st.binary(max_size=8),
    st.sampled_from(
        [b":method", b":path", b":authority", b":scheme", b":status", b":protocol", b"host", b"content-length"]
        + [b"transfer-encoding", b"connection", b"te", b"a: b\r\nc", b"cookie"]
    ),
)
hostile = st.lists(st.tuples(hostile_names, hostile_values), max_size=6)


@settings(max_examples=500, deadline=None)
@given(methods, paths, hosts, fields, st.booleans(), st.one_of(st.none(), st.integers(0, 2**63 - 1)))
def test_a_head_comes_back(
    method: bytes, path: bytes, host: bytes, head: Fields, secure: bool, length: int | None
) -> None:
    lengths = [] if length is None else [(b"content-length", b"%d" % length)]
    pseudo = [(b":method", method), (b":scheme", b"https"), (b":path", path), (b":authority", host)]
    first = read_request(encode([*pseudo, *head, *lengths]), False)
    cookies = [value for name, value in head if name == b"cookie"]
    crumbs = [(b"cookie", b"; ".join(filter(None, cookies)))] if cookies else []
    others = [field for field in head if field[0] != b"cookie"]
    assert [field for field in first.fields if field[0] != b"cookie"] == [(b"host", host), *others, *lengths]
    assert [field for field in first.fields if field[0] == b"cookie"] == crumbs
    again = read_request(http2_writer.write_request(first, secure), False)
    assert again.fields == first.fields
    assert (again.method, again.target, again.authority) == (method, path, host)
    assert (again.framing, again.content_length, again.flags) == (first.framing, length or 0, first.flags)


@settings(max_examples=1500, deadline=None)
@given(methods, hostile, st.booleans(), st.booleans())
def test_nothing_is_smuggled_into_http1(method: bytes, extra: Fields, is_end: bool, whole: bool) -> None:
    pseudo = [(b":method", method), (b":scheme", b"https"), (b":path", b"/"), (b":authority", b"h")]
    check_http2_request(encode([*pseudo, *extra] if whole else extra), is_end)
    check_http2_response(encode([(b":status", b"200"), *extra] if whole else extra), is_end)


@settings(max_examples=300, deadline=None)
@given(hostile)
def test_trailers_hold_no_control_characters(extra: Fields) -> None:
    try:
        head = read_trailers(encode(extra))
    except HeadError:
        return
    assert not any(byte < 32 and byte != 9 for field in head.fields for piece in field for byte in piece)
