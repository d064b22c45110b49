"""Bodies as they come on an HTTP/2 connection: DATA frames to the other side, and windows back (RFC 9113 6.1, 6.9).

A stream's window is given back as the other side takes its bytes; the connection's at receipt, as long as less than
HTTP2_BUFFERED_MAX_BYTES wait in all streams together. So a slow stream stops itself, and no other before that.
"""

from libc.stdint cimport uint32_t
from fastmesh._core.headers cimport head_t
from fastmesh._core.http2_frames cimport http2_frame_t
from fastmesh._core.live cimport http2_stream_t, http2_t

cdef enum:
    HTTP2_CONNECTION_WINDOW_BYTES = 1048576
    HTTP2_BUFFERED_MAX_BYTES = 1048576

# The head of a DATA frame, at `data` with `length` bytes there. How much of them was used up; 0: more are needed.
cdef size_t http2_body_begin(http2_t* http2, const http2_frame_t* frame, const char* data, size_t length) noexcept nogil
# Within its payload.
cdef size_t http2_body_piece(http2_t* http2, const char* data, size_t length) noexcept nogil
# END_STREAM has come, with trailers or NULL.
cdef void http2_remote_end(http2_stream_t* stream, head_t* trailers) noexcept nogil
# Deliver what waits in the streams that were woken (http2_session_resume).
cdef void http2_deliver_woken(http2_t* http2) noexcept nogil
cdef void http2_credit_connection(http2_t* http2) noexcept nogil
