"""What an HTTP/2 connection sends: control frames, header blocks, and bodies as far as the peer's windows allow.

Body bytes for which there is no window, or no room in the connection's output, wait in their stream; whoever made them
is told by http2_is_blocked, and by role.on_drained when they are out. Streams that the connection holds up take turns,
a piece each.
"""

from libc.stdint cimport uint32_t
from fastmesh._core.headers cimport head_t
from fastmesh._core.live cimport http2_stream_t, http2_t

cdef enum:
    HTTP2_OUTPUT_MAX_BYTES = 65536      # of a connection's output before bodies wait in their streams

# Each does nothing once the session is over.
cdef void http2_send_preface(http2_t* http2, uint32_t streams_max, uint32_t head_max_bytes) noexcept nogil
cdef void http2_send_settings_ack(http2_t* http2) noexcept nogil
cdef void http2_send_ping(http2_t* http2, const char* data, bint is_ack) noexcept nogil
cdef void http2_send_reset(http2_t* http2, uint32_t stream_id, uint32_t code) noexcept nogil
cdef void http2_send_window(http2_t* http2, uint32_t stream_id, uint32_t increment) noexcept nogil
cdef void http2_send_goaway(http2_t* http2, uint32_t last_stream_id, uint32_t code, const char* detail) noexcept nogil

# A header block in two steps: room for at most `bound` bytes, NULL if there is none; then what became of it. Split into
# CONTINUATION frames where it must be.
cdef char* http2_block_room(http2_t* http2, size_t bound) noexcept nogil
cdef void http2_block_done(http2_t* http2, uint32_t stream_id, size_t length, bint is_end) noexcept nogil

# Send or queue body bytes. When memory is short the connection breaks.
cdef void http2_send_data(http2_stream_t* stream, const char* data, size_t length) noexcept nogil
# END_STREAM behind all of it, with trailers or NULL. A second time it does nothing.
cdef void http2_send_end(http2_stream_t* stream, head_t* trailers) noexcept nogil
# END_STREAM has gone out (with a head): what follows from it.
cdef void http2_local_ended(http2_stream_t* stream) noexcept nogil
# RST_STREAM, and the stream is over; what still comes for it is thrown away. The exchange, if any, is let go of.
cdef void http2_stream_reset(http2_stream_t* stream, uint32_t code) noexcept nogil
cdef bint http2_is_blocked(http2_stream_t* stream) noexcept nogil
# A window or the output has opened: go on with those that wait.
cdef void http2_pump(http2_t* http2) noexcept nogil
