"""Header blocks of an HTTP/2 connection: put together from their frames, and given to whom they concern."""

from fastmesh._core.headers cimport head_t
from fastmesh._core.http2_frames cimport http2_frame_t
from fastmesh._core.http2_head cimport http2_head_limits_t
from fastmesh._core.live cimport http2_t

cdef void http2_on_headers(http2_t* http2, const http2_frame_t* frame, const char* payload) noexcept nogil
cdef void http2_on_continuation(http2_t* http2, const http2_frame_t* frame, const char* payload) noexcept nogil
# Set up a head for http2_read_*: its text and table stand in the worker's scratch memory.
cdef void http2_scratch(http2_t* http2, head_t* head, http2_head_limits_t* limits) noexcept nogil
