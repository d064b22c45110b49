"""Bodies as HTTP/1 sends them, the same in both directions: as they are, or in chunks (RFC 9112 7.1)."""

from fastmesh._core.connection cimport connection_commit, connection_reserve, connection_write
from fastmesh._core.headers cimport FRAMING_CHUNKED, FRAMING_NONE
from fastmesh._core.http1_writer cimport (
    HTTP1_CHUNK_HEAD_MAX_BYTES,
    http1_last_chunk_bound,
    http1_write_chunk_head,
    http1_write_last_chunk,
)


cdef void http1_send_body(connection_t* connection, const char* data, size_t length) noexcept nogil:
    cdef char* out
    if connection.http1.out_framing == FRAMING_NONE or length == 0:
        return
    if connection.http1.out_framing != FRAMING_CHUNKED:
        connection_write(connection, data, length)
        return
    out = connection_reserve(connection, HTTP1_CHUNK_HEAD_MAX_BYTES)
    if out == NULL:
        return
    connection_commit(connection, http1_write_chunk_head(length, out))
    connection_write(connection, data, length)
    connection_write(connection, b"\r\n", 2)


cdef void http1_send_body_end(connection_t* connection, head_t* trailers) noexcept nogil:
    cdef char* out
    if connection.http1.out_framing != FRAMING_CHUNKED:
        return
    out = connection_reserve(connection, http1_last_chunk_bound(trailers))
    if out != NULL:
        connection_commit(connection, http1_write_last_chunk(trailers, out))
