"""Streams of an HTTP/2 connection: their states, their table, their end.

A stream that has ended leaves the table at once, and its memory stays as it is until the round ends. So whoever called
something that may end streams looks at `state` afterwards, and never at freed memory.
"""

from libc.stdint cimport uint8_t, uint32_t
from fastmesh._core.live cimport buffer_t, http2_stream_t, http2_t, worker_t

cdef enum:                              # http2_stream_event_t
    STREAM_BEGINS = 0                   # HEADERS, whoever sent them
    STREAM_LOCAL_ENDS = 1               # we sent END_STREAM
    STREAM_REMOTE_ENDS = 2              # the peer did
    STREAM_RESETS = 3                   # RST_STREAM, whoever sent it
    STREAM_EVENTS = 4

# A stream that counts, not in the table yet. NULL: no memory.
cdef http2_stream_t* http2_stream_new(http2_t* http2) noexcept nogil
# Give it an id and put it into the table. -1: no memory.
cdef int http2_stream_begin(http2_stream_t* stream, uint32_t stream_id) noexcept nogil
cdef http2_stream_t* http2_stream_find(const http2_t* http2, uint32_t stream_id) noexcept nogil
# Any one that has begun or waits, NULL: there is none.
cdef http2_stream_t* http2_stream_any(const http2_t* http2) noexcept nogil
# The one place where `state` changes. CLOSED: it has left the table (http2_stream_leave), unless it ended well, is a
# client's, and has an exchange, which then makes it leave.
cdef uint8_t http2_stream_change(http2_stream_t* stream, uint8_t event) noexcept nogil
# Out of the table, without its exchange and its buffers; if it was the last one, role.on_quiet is called.
cdef void http2_stream_leave(http2_stream_t* stream) noexcept nogil
# What the table says: the state that follows.
cdef uint8_t http2_stream_next_state(uint8_t state, uint8_t event) noexcept nogil

# Append to a chain of buffers. -1: no memory.
cdef int http2_chain_append(
    worker_t* worker, buffer_t** first, buffer_t** last, const char* data, size_t length
) noexcept nogil
# Take bytes off its front.
cdef void http2_chain_drop(worker_t* worker, buffer_t** first, buffer_t** last, uint32_t length) noexcept nogil
cdef void http2_chain_free(worker_t* worker, buffer_t** first, buffer_t** last) noexcept nogil

# http2_t.waiting: those whose output the connection holds up, in their turn.
cdef void http2_wait(http2_stream_t* stream) noexcept nogil
cdef void http2_stop_waiting(http2_stream_t* stream) noexcept nogil

# At the end of a round: memory of ended streams may be used again.
cdef void http2_streams_reap(worker_t* worker) noexcept nogil
cdef void http2_streams_free_all(worker_t* worker) noexcept nogil
