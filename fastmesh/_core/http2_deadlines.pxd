"""When an HTTP/2 connection has waited long enough: one deadline of the connection for all that is waited for."""

from fastmesh._core.live cimport http2_stream_t, http2_t

cdef enum:
    HTTP2_UNREAD_MAX_BYTES = 262144     # of output, before a client that does not read is not listened to any more

# Let the connection's deadline be the earliest of the session's.
cdef void http2_arm(http2_t* http2) noexcept nogil
# What of them is due is dealt with here, but for quiet_due_ms, age_due_ms and grace_due_ms, which are the role's.
cdef void http2_on_deadline(http2_t* http2) noexcept nogil
# A stream of which only unsent output is left: it is reset when that does not go on for a while.
cdef void http2_leave_output(http2_stream_t* stream) noexcept nogil
# The client does not read, and is not listened to: the same for the connection.
cdef void http2_await_reader(http2_t* http2) noexcept nogil
