"""Control frames of an HTTP/2 connection: what each does to its session and streams (RFC 9113 6.3 to 6.9)."""

from libc.stdint cimport uint32_t
from fastmesh._core.http2_frames cimport http2_frame_t
from fastmesh._core.live cimport http2_t

cdef void http2_on_settings(http2_t* http2, const http2_frame_t* frame, const char* payload) noexcept nogil
cdef void http2_on_ping(http2_t* http2, const http2_frame_t* frame, const char* payload) noexcept nogil
cdef void http2_on_priority(http2_t* http2, const http2_frame_t* frame, const char* payload) noexcept nogil
cdef void http2_on_rst_stream(http2_t* http2, uint32_t stream_id, uint32_t code) noexcept nogil
cdef void http2_on_window_update(http2_t* http2, uint32_t stream_id, uint32_t increment) noexcept nogil
