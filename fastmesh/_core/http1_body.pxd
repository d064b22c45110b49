"""Bodies as HTTP/1 sends them, the same in both directions: as they are, or in chunks."""

from fastmesh._core.headers cimport head_t
from fastmesh._core.live cimport connection_t

# By connection.http1.out_framing; with FRAMING_NONE nothing is sent.
cdef void http1_send_body(connection_t* connection, const char* data, size_t length) noexcept nogil
# The last chunk, where there are chunks; `trailers` may be NULL.
cdef void http1_send_body_end(connection_t* connection, head_t* trailers) noexcept nogil
