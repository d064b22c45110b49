"""What an HTTP/2 peer may do how often before it is cut off. Knows no stream: it only counts.

Counts are of one second. Those that honest traffic causes too are set off against it: resets against streams that ended
well, WINDOW_UPDATE and PING against the DATA frames that went back and forth.
"""

from libc.stdint cimport uint8_t, uint32_t
from fastmesh._core.live cimport http2_t

cdef enum:
    HTTP2_BLOCK_FRAMES_MAX = 64         # CONTINUATION frames of one header block
    HTTP2_BLOCK_MAX_BYTES = 65536       # of one header block, as it comes
    HTTP2_CONTROL_MAX_BYTES = 65536     # of answers that a peer makes us queue and does not read

# Count one; True: it was one too many.
cdef bint http2_guard_count(http2_t* http2, uint8_t attack) noexcept nogil
# A stream ended as it should.
cdef void http2_guard_completed(http2_t* http2) noexcept nogil
cdef void http2_guard_sent_data(http2_t* http2) noexcept nogil
cdef void http2_guard_received_data(http2_t* http2) noexcept nogil
# We have queued an answer of so many bytes to a control frame.
cdef void http2_guard_answered(http2_t* http2, uint32_t length) noexcept nogil
cdef const char* http2_guard_name(uint8_t attack) noexcept nogil
