"""One HTTP/2 connection of either side: frames in, and what they mean for its streams (RFC 9113).

What it costs in memory, at most:
- idle: http2_t, eight buckets, and HPACK's table, no buffers: together with connection_t below 6 KiB;
- input that the other side does not take yet: 64 KiB a stream, the window we give; and 1 MiB for all streams of a
  connection plus the 1 MiB that was on its way when that was reached. One slow stream holds up no other before then;
- output: 64 KiB on the connection, and for each stream what one read of its source brought.
"""

from libc.stdint cimport uint32_t
from fastmesh._core.headers cimport head_t
from fastmesh._core.http2_head cimport http2_head_limits_t
from fastmesh._core.live cimport connection_t, http2_role_t, http2_stream_t, http2_t

# NULL: no memory. It says nothing yet.
cdef http2_t* http2_session_new(connection_t* connection, const http2_role_t* role) noexcept nogil
# Called with the connection, when no stream is left.
cdef void http2_session_free(http2_t* http2) noexcept nogil

cdef void http2_session_on_input(http2_t* http2) noexcept nogil
# The other side takes body bytes again, or may: deliver what waits, soon.
cdef void http2_session_resume(http2_stream_t* stream) noexcept nogil
# Set up a head for http2_read_*: its text and table stand in the worker's scratch memory.
cdef void http2_session_scratch(http2_t* http2, head_t* head, http2_head_limits_t* limits) noexcept nogil
# Let the connection's deadline be the earliest of the session's.
cdef void http2_session_arm(http2_t* http2) noexcept nogil
# What of them is due is dealt with here, but for quiet_due_ms, age_due_ms and grace_due_ms, which are the role's.
cdef void http2_session_on_deadline(http2_t* http2) noexcept nogil
# A stream of which only unsent output is left: it is reset when that does not go on for a while.
cdef void http2_session_leave_output(http2_stream_t* stream) noexcept nogil
