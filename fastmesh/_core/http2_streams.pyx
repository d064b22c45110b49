"""Streams of an HTTP/2 connection: their states (RFC 9113 5.1), their table, their end.

    event            IDLE         OPEN          HALF_LOCAL   HALF_REMOTE
    begins           OPEN
    local ends                    HALF_LOCAL                 CLOSED
    remote ends                   HALF_REMOTE   CLOSED
    resets           CLOSED       CLOSED        CLOSED       CLOSED
"""

from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset

from fastmesh._core.buffers cimport KEEPS_MEMORY, buffer_data, buffer_give, buffer_room, buffer_take
from fastmesh._core.connection cimport connection_wake
from fastmesh._core.http2_frames cimport HTTP2_WINDOW_BYTES
from fastmesh._core.live cimport (
    CONNECTION_OPEN,
    HTTP2_CLOSED,
    HTTP2_HALF_LOCAL,
    HTTP2_HALF_REMOTE,
    HTTP2_IDLE,
    HTTP2_OPEN,
    HTTP2_STREAM_STATES,
    LIVE_STREAM,
    SESSION_IS_OVER,
    STREAM_IS_WAITING,
    STREAM_IS_WOKEN,
)

cdef enum:
    BUCKETS_MIN = 8
    BUCKETS_MAX = 4096
    FREE_MAX = 4096                     # ended streams kept for reuse: about 1 MiB
    CHAIN_MIN_BYTES = 2048
    CHAIN_MAX_BYTES = 65536

# NEXT[state][event]; an event that cannot be in a state leaves it as it is.
cdef uint8_t[5][4] NEXT
NEXT[HTTP2_IDLE] = [HTTP2_OPEN, HTTP2_IDLE, HTTP2_IDLE, HTTP2_CLOSED]
NEXT[HTTP2_OPEN] = [HTTP2_OPEN, HTTP2_HALF_LOCAL, HTTP2_HALF_REMOTE, HTTP2_CLOSED]
NEXT[HTTP2_HALF_LOCAL] = [HTTP2_HALF_LOCAL, HTTP2_HALF_LOCAL, HTTP2_CLOSED, HTTP2_CLOSED]
NEXT[HTTP2_HALF_REMOTE] = [HTTP2_HALF_REMOTE, HTTP2_CLOSED, HTTP2_HALF_REMOTE, HTTP2_CLOSED]
NEXT[HTTP2_CLOSED] = [HTTP2_CLOSED, HTTP2_CLOSED, HTTP2_CLOSED, HTTP2_CLOSED]


cdef uint8_t http2_stream_next_state(uint8_t state, uint8_t event) noexcept nogil:
    if state >= HTTP2_STREAM_STATES or event >= STREAM_EVENTS:
        return HTTP2_CLOSED
    return NEXT[state][event]


cdef uint8_t http2_stream_change(http2_stream_t* stream, uint8_t event) noexcept nogil:
    cdef uint8_t before = stream.state
    stream.state = http2_stream_next_state(before, event)
    if stream.state != HTTP2_CLOSED or (before == HTTP2_CLOSED and stream.exchange == NULL):
        return stream.state
    # A client's stream may have ended both ways before its exchange has (a tunnel whose endpoint still takes bytes, an
    # endpoint that ends an answer to HEAD late). It stays until then: the end of the connection must find the exchange.
    if event == STREAM_RESETS or stream.exchange == NULL or not stream.session.connection.is_downstream:
        http2_stream_leave(stream)
    return HTTP2_CLOSED


# ---- the table


cdef inline http2_stream_t** bucket_of(const http2_t* http2, uint32_t stream_id) noexcept nogil:
    return &http2.buckets[stream_id >> 1 & http2.bucket_count - 1]     # ids are odd and follow each other


cdef http2_stream_t* http2_stream_find(const http2_t* http2, uint32_t stream_id) noexcept nogil:
    cdef http2_stream_t* stream
    if http2.bucket_count == 0:
        return NULL
    stream = bucket_of(http2, stream_id)[0]
    while stream != NULL and stream.id != stream_id:
        stream = stream.next
    return stream


cdef http2_stream_t* http2_stream_any(const http2_t* http2) noexcept nogil:
    cdef uint32_t i
    if http2.waiting != NULL:
        return http2.waiting
    for i in range(http2.bucket_count):
        if http2.buckets[i] != NULL:
            return http2.buckets[i]
    return NULL


cdef int grow(http2_t* http2) noexcept nogil:
    cdef uint32_t old_count = http2.bucket_count
    cdef http2_stream_t** old = http2.buckets
    cdef http2_stream_t* stream
    cdef http2_stream_t* next
    cdef uint32_t count = max(old_count * 2, <uint32_t>BUCKETS_MIN)
    cdef uint32_t i
    cdef http2_stream_t** made = <http2_stream_t**>calloc(count, sizeof(http2_stream_t*))
    if made == NULL:
        return 0 if old_count else -1   # longer buckets do as well
    http2.buckets = made
    http2.bucket_count = count
    for i in range(old_count):
        stream = old[i]
        while stream != NULL:
            next = stream.next
            stream.next = bucket_of(http2, stream.id)[0]
            bucket_of(http2, stream.id)[0] = stream
            stream = next
    free(old)
    return 0


cdef void unlink(http2_stream_t* stream) noexcept nogil:
    cdef http2_stream_t** link = bucket_of(stream.session, stream.id)
    while link[0] != NULL and link[0] != stream:
        link = &link[0].next
    if link[0] == stream:
        link[0] = stream.next


# ---- birth


cdef http2_stream_t* http2_stream_new(http2_t* http2) noexcept nogil:
    cdef worker_t* worker = http2.connection.worker
    cdef http2_stream_t* stream = worker.free_streams
    if stream != NULL:
        worker.free_streams = stream.next
        worker.free_stream_count -= 1
    else:
        stream = <http2_stream_t*>malloc(sizeof(http2_stream_t))
        if stream == NULL:
            return NULL
    memset(stream, 0, sizeof(http2_stream_t))
    stream.session = http2
    stream.send_window = http2.peer_window
    stream.receive_window = HTTP2_WINDOW_BYTES
    http2.stream_count += 1
    http2.quiet_due_ms = 0
    worker.stats.live[LIVE_STREAM] += 1
    return stream


cdef int http2_stream_begin(http2_stream_t* stream, uint32_t stream_id) noexcept nogil:
    cdef http2_t* http2 = stream.session
    cdef http2_stream_t** bucket
    if http2.stream_count > http2.bucket_count and http2.bucket_count < BUCKETS_MAX and grow(http2) < 0:
        return -1
    stream.id = stream_id
    stream.send_window = http2.peer_window
    bucket = bucket_of(http2, stream_id)
    stream.next = bucket[0]
    bucket[0] = stream
    http2_stream_change(stream, STREAM_BEGINS)
    return 0


# ---- the end


cdef void http2_stream_leave(http2_stream_t* stream) noexcept nogil:
    cdef http2_t* http2 = stream.session
    cdef worker_t* worker = http2.connection.worker
    cdef buffer_t* buffer = stream.input
    if stream.id:
        unlink(stream)
    http2_stop_waiting(stream)
    stop_being_woken(stream)
    if buffer != NULL:
        connection_wake(http2.connection)   # the connection's window may have waited for this one
    while buffer != NULL:
        http2.buffered_bytes -= buffer.end - buffer.begin
        buffer = buffer.next
    http2_chain_free(worker, &stream.input, &stream.input_last)
    http2_chain_free(worker, &stream.output, &stream.output_last)
    if stream.input_trailers != NULL:
        buffer_give(worker, stream.input_trailers)
    if stream.output_trailers != NULL:
        buffer_give(worker, stream.output_trailers)
    stream.input_trailers = NULL
    stream.output_trailers = NULL
    if stream.exchange != NULL:
        if http2.connection.is_downstream:
            stream.exchange.down_stream = NULL
        else:
            stream.exchange.up_stream = NULL
        stream.exchange = NULL
    http2.stream_count -= 1
    if http2.stream_count == 0 and http2.bucket_count > BUCKETS_MIN:
        free(http2.buckets)             # what an idle connection holds does not tell of its busiest time
        http2.buckets = NULL
        http2.bucket_count = 0
    worker.stats.live[LIVE_STREAM] -= 1
    stream.next = worker.ended_streams
    worker.ended_streams = stream
    if http2.stream_count == 0 and http2.connection.state == CONNECTION_OPEN and not http2.flags & SESSION_IS_OVER:
        http2.role.on_quiet(http2)


cdef void stop_being_woken(http2_stream_t* stream) noexcept nogil:
    cdef http2_stream_t** link = &stream.session.woken
    if not stream.flags & STREAM_IS_WOKEN:
        return
    while link[0] != stream:
        link = &link[0].next_woken
    link[0] = stream.next_woken
    stream.flags &= ~STREAM_IS_WOKEN


cdef void http2_streams_reap(worker_t* worker) noexcept nogil:
    cdef http2_stream_t* stream
    while worker.ended_streams != NULL:
        stream = worker.ended_streams
        worker.ended_streams = stream.next
        if not KEEPS_MEMORY or worker.free_stream_count >= FREE_MAX:
            free(stream)
            continue
        stream.next = worker.free_streams
        worker.free_streams = stream
        worker.free_stream_count += 1


cdef void http2_streams_free_all(worker_t* worker) noexcept nogil:
    cdef http2_stream_t* stream
    http2_streams_reap(worker)
    while worker.free_streams != NULL:
        stream = worker.free_streams
        worker.free_streams = stream.next
        free(stream)
    worker.free_stream_count = 0


# ---- chains of buffers


cdef int http2_chain_append(
    worker_t* worker, buffer_t** first, buffer_t** last, const char* data, size_t length
) noexcept nogil:
    cdef buffer_t* buffer
    cdef size_t piece
    while length > 0:
        buffer = last[0]
        if buffer == NULL or buffer_room(buffer) == 0:
            buffer = buffer_take(worker, min(max(length, <size_t>CHAIN_MIN_BYTES), <size_t>CHAIN_MAX_BYTES))
            if buffer == NULL:
                return -1
            if last[0] == NULL:
                first[0] = buffer
            else:
                last[0].next = buffer
            last[0] = buffer
        piece = min(length, <size_t>buffer_room(buffer))
        memcpy(buffer_data(buffer) + buffer.end, data, piece)
        buffer.end += <uint32_t>piece
        data += piece
        length -= piece
    return 0


cdef void http2_chain_drop(worker_t* worker, buffer_t** first, buffer_t** last, uint32_t length) noexcept nogil:
    cdef buffer_t* buffer = first[0]
    buffer.begin += length
    if buffer.begin < buffer.end:
        return
    first[0] = buffer.next
    if buffer.next == NULL:
        last[0] = NULL
    buffer_give(worker, buffer)


cdef void http2_chain_free(worker_t* worker, buffer_t** first, buffer_t** last) noexcept nogil:
    cdef buffer_t* buffer
    while first[0] != NULL:
        buffer = first[0]
        first[0] = buffer.next
        buffer_give(worker, buffer)
    last[0] = NULL


# ---- those that wait for the connection


cdef void http2_wait(http2_stream_t* stream) noexcept nogil:
    cdef http2_t* http2 = stream.session
    cdef http2_stream_t* first = http2.waiting
    if stream.flags & STREAM_IS_WAITING:
        return
    stream.flags |= STREAM_IS_WAITING
    if first == NULL:
        http2.waiting = stream
        stream.next_waiting = stream
        stream.prev_waiting = stream
        return
    stream.next_waiting = first
    stream.prev_waiting = first.prev_waiting
    first.prev_waiting.next_waiting = stream
    first.prev_waiting = stream


cdef void http2_stop_waiting(http2_stream_t* stream) noexcept nogil:
    cdef http2_t* http2 = stream.session
    if not stream.flags & STREAM_IS_WAITING:
        return
    stream.flags &= ~STREAM_IS_WAITING
    if stream.next_waiting == stream:
        http2.waiting = NULL
        return
    stream.next_waiting.prev_waiting = stream.prev_waiting
    stream.prev_waiting.next_waiting = stream.next_waiting
    if http2.waiting == stream:
        http2.waiting = stream.next_waiting
