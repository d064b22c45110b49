"""When an HTTP/2 connection has waited long enough."""

from libc.stdint cimport uint32_t, uint64_t

from fastmesh._core.connection cimport connection_has_progressed, connection_is_blocked, connection_set_deadline
from fastmesh._core.http2_errors cimport http2_cut_off, http2_fail
from fastmesh._core.http2_frames cimport HTTP2_CANCEL, HTTP2_ENHANCE_YOUR_CALM, HTTP2_SETTINGS_TIMEOUT
from fastmesh._core.http2_output cimport http2_stream_reset
from fastmesh._core.live cimport HTTP2_ATTACK_STALL, HTTP2_IN_BLOCK, connection_t

cdef enum:
    STALL_MOST_MS = 30000               # without a byte taken of what is left of an answer


cdef inline uint64_t stall_ms(http2_t* http2) noexcept nogil:
    """A client that takes nothing is idle: it has no longer than that."""
    cdef connection_t* connection = http2.connection
    if connection.listener == NULL or connection.listener.entry == NULL:
        return STALL_MOST_MS
    return min(connection.listener.entry.idle_timeout_ms, <uint32_t>STALL_MOST_MS)


cdef inline uint64_t sooner(uint64_t one, uint64_t other) noexcept nogil:
    """0: never."""
    return one if other == 0 or (one and one < other) else other


cdef void http2_arm(http2_t* http2) noexcept nogil:
    cdef uint64_t due_ms = sooner(sooner(http2.quiet_due_ms, http2.block_due_ms), http2.stall_due_ms)
    due_ms = sooner(due_ms, sooner(http2.age_due_ms, http2.grace_due_ms))
    connection_set_deadline(http2.connection, due_ms)


cdef void http2_on_deadline(http2_t* http2) noexcept nogil:
    cdef uint64_t now_ms = http2.connection.worker.now_ms
    if http2.block_due_ms and http2.block_due_ms <= now_ms:
        if http2.phase == HTTP2_IN_BLOCK:
            http2_fail(http2, HTTP2_ENHANCE_YOUR_CALM, b"a header block that does not end")
        else:
            http2_fail(http2, HTTP2_SETTINGS_TIMEOUT, b"no SETTINGS")
    elif http2.stall_due_ms and http2.stall_due_ms <= now_ms:
        reset_stalled(http2)


cdef void reset_stalled(http2_t* http2) noexcept nogil:
    """What is left of answers goes nowhere when nobody opens a window or reads: no exchange looks after it any more."""
    cdef http2_stream_t* stream
    cdef http2_stream_t* next
    cdef uint64_t now_ms = http2.connection.worker.now_ms
    cdef uint64_t due_ms = 0
    cdef bint was_stalled = False
    cdef uint32_t i
    http2.stall_due_ms = 0
    if http2.connection.output_bytes >= HTTP2_UNREAD_MAX_BYTES and connection_is_blocked(http2.connection):
        if connection_has_progressed(http2.connection):
            http2_await_reader(http2)   # slow, but reading
        else:
            http2_cut_off(http2, HTTP2_ATTACK_STALL)
        return
    for i in range(http2.bucket_count):
        stream = http2.buckets[i] if http2.stream_count else NULL     # with the last one the table goes
        while stream != NULL:
            next = stream.next
            if stream.exchange == NULL and stream.output != NULL:
                if stream.activity_ms + stall_ms(http2) > now_ms:
                    due_ms = sooner(due_ms, stream.activity_ms + stall_ms(http2))
                else:
                    was_stalled = True
                    http2_stream_reset(stream, HTTP2_CANCEL)
            stream = next
    if was_stalled:
        http2.connection.worker.stats.http2_attacks[HTTP2_ATTACK_STALL] += 1
    http2.stall_due_ms = due_ms


cdef void http2_await_reader(http2_t* http2) noexcept nogil:
    if http2.stall_due_ms == 0:
        http2.stall_due_ms = http2.connection.worker.now_ms + stall_ms(http2)
        http2_arm(http2)


cdef void http2_leave_output(http2_stream_t* stream) noexcept nogil:
    stream.activity_ms = stream.session.connection.worker.now_ms
    http2_await_reader(stream.session)
