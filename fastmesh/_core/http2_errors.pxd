"""How an HTTP/2 connection or a stream ends in an error (RFC 9113 5.4)."""

from libc.stdint cimport uint8_t, uint32_t
from fastmesh._core.live cimport http2_stream_t, http2_t

# GOAWAY with an error code, then role.on_over ends the connection. A second time it does nothing.
cdef void http2_fail(http2_t* http2, uint32_t code, const char* detail) noexcept nogil
# The same for a peer that does something too often, counted by http2_attack_t.
cdef void http2_cut_off(http2_t* http2, uint8_t attack) noexcept nogil
# RST_STREAM, and the exchange is told.
cdef void http2_fail_stream(http2_stream_t* stream, uint32_t code, const char* detail) noexcept nogil
# The same for one that is in no table any more.
cdef void http2_refuse_frame(http2_t* http2, uint32_t stream_id, uint32_t code) noexcept nogil
# Whether a frame of this stream, which is in no table, may have crossed our RST_STREAM.
cdef bint http2_was_reset(const http2_t* http2, uint32_t stream_id) noexcept nogil
# A result below 0 of http2_read_* that ends the connection is dealt with here. True: it was.
cdef bint http2_is_lost(http2_t* http2, int result) noexcept nogil
