"""One TCP connection of either side: descriptor, input, output queue, timer. Knows no codec and no exchange."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from fastmesh._core.live cimport connection_t, io_events_t, worker_t

cdef enum:
    READ_MIN_BYTES = 15360              # with the spare bytes behind it, what is kept of it fits a 16 KiB buffer
    READ_MAX_BYTES = 261120             # of the scratch buffer; the rest is room for what we append to a head
    INPUT_SPARE_BYTES = 1024            # room kept behind input, for the same
    COPY_MAX_BYTES = 4096               # below this, copying next to the head beats another piece

cdef enum read_result_t:
    READ_NOTHING = 0
    READ_END = -1                       # the peer has sent all
    READ_BROKEN = -2                    # reset, or, from an endpoint with TLS, the end without close_notify

# A connection that has `tls` (tls_accept, tls_connect) shakes hands before it is OPEN and events.on_connected is
# called. When that fails, events.on_broken is called for an endpoint's connection (`tls.failure` is set); a client's is
# counted and ends without a word to its codec.

# A connection in the worker's epoll set and list, or NULL (no memory, or epoll refused: `fd` is then closed).
cdef connection_t* connection_new(worker_t* worker, int fd, const io_events_t* events, uint8_t state) noexcept nogil
# Receive once. > 0: that many bytes are now at *data, what had been kept included; else a read_result_t.
cdef int64_t connection_read(connection_t* connection, char** data, uint64_t* room) noexcept nogil
# The first `consumed` of `length` bytes at `data` (from connection_read or connection.input) are done with; the rest is
# kept. -1: no memory.
cdef int connection_keep(connection_t* connection, char* data, size_t consumed, size_t length) noexcept nogil
# Room for `size` more bytes of output in one piece; then say how many it became. NULL: nobody reads any more, or no
# memory (the connection then breaks, and its codec hears of it).
cdef char* connection_reserve(connection_t* connection, size_t size) noexcept nogil
cdef void connection_commit(connection_t* connection, size_t size) noexcept nogil
# Send, or queue what the socket does not take.
cdef void connection_write(connection_t* connection, const char* data, size_t length) noexcept nogil
cdef void connection_flush(connection_t* connection) noexcept nogil
# It is connected: send what stands before everything else.
cdef void connection_send_preamble(connection_t* connection) noexcept nogil
# Whether output waits for the peer; its source is then told when it does not any more (events.on_drained, from
# connection_handle only: never within a call of these functions).
cdef bint connection_is_blocked(connection_t* connection) noexcept nogil
# Whether the peer has taken anything of our output since this was last asked, be it out of the kernel's buffers.
cdef bint connection_has_progressed(connection_t* connection) noexcept nogil
# Its deadline passed while it was FLUSHING or LINGERING, or, a client's, SECURING.
cdef void connection_on_deadline(connection_t* connection) noexcept nogil
# Handle what the flags say: called by the engine for an event, or when the connection is listed as ready.
cdef void connection_handle(connection_t* connection) noexcept nogil
# Handle again soon, without an event.
cdef void connection_wake(connection_t* connection) noexcept nogil
# 0: never.
cdef void connection_set_deadline(connection_t* connection, uint64_t due_ms) noexcept nogil
# Send FIN once the output is out.
cdef void connection_shut(connection_t* connection) noexcept nogil
# Close once the output is out. If the peer may still be sending, linger: an RST would destroy what it has not read.
cdef void connection_finish(connection_t* connection, bint peer_may_send) noexcept nogil
# Close now; with RST if the peer must see that something is missing.
cdef void connection_close(connection_t* connection, bint with_reset) noexcept nogil
cdef void connection_free(connection_t* connection) noexcept nogil
