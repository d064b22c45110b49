"""One HTTP/2 connection of either side: frames in, and what they mean for its streams (RFC 9113).

What it costs in memory, at most:
- idle: http2_t, eight buckets, and HPACK's table, no buffers: together with connection_t below 6 KiB;
- input that the other side does not take yet: 64 KiB a stream, the window we give; and 1 MiB for all streams of a
  connection plus the 1 MiB that was on its way when that was reached. One slow stream holds up no other before then;
- output: 64 KiB on the connection, and for each stream what one read of its source brought.
"""

from fastmesh._core.live cimport connection_t, http2_role_t, http2_stream_t, http2_t

# NULL: no memory. It says nothing yet.
cdef http2_t* http2_session_new(connection_t* connection, const http2_role_t* role) noexcept nogil
# Called with the connection, when no stream is left.
cdef void http2_session_free(http2_t* http2) noexcept nogil

cdef void http2_session_on_input(http2_t* http2) noexcept nogil
# The other side takes body bytes again, or may: deliver what waits, soon.
cdef void http2_session_resume(http2_stream_t* stream) noexcept nogil
