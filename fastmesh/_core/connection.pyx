"""One TCP connection of either side: descriptor, input, output queue, timer. Knows no codec and no exchange.

Epoll is edge-triggered and armed once for both directions, so a connection costs one epoll_ctl in its life. The io
flags remember what the edges said: IO_READABLE stays until recv has emptied the socket, IO_WRITABLE until send has
filled it.

Input is received into the worker's scratch buffer, which all connections share; only what is not consumed at once is
copied into a buffer of the connection's own. So an idle connection holds no buffer at all.

    CONNECTING -> SECURING -> OPEN -> FLUSHING -> LINGERING -> CLOSED
                  (TLS only)          (each may go to CLOSED at once)
"""

from libc.errno cimport ECONNRESET, EPROTO
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memmove

from fastmesh._core.buffers cimport buffer_data, buffer_give, buffer_room, buffer_take
from fastmesh._core.http1_chunked cimport chunked_release
from fastmesh._core.live cimport (
    CONNECTION_CLOSED,
    CONNECTION_CONNECTING,
    CONNECTION_FLUSHING,
    CONNECTION_LINGERING,
    CONNECTION_OPEN,
    CONNECTION_SECURING,
    IO_BLOCKED,
    IO_BROKEN,
    IO_END,
    IO_READABLE,
    IO_SHUT,
    IO_WRITABLE,
    IO_WRITE_BROKEN,
    LIVE_DOWNSTREAM,
    LIVE_UPSTREAM,
    SOURCE_CONNECTION,
    TIMER_CONNECTION,
    TLS_CLOSED,
    TLS_OK,
    TLS_TIMEOUT,
    buffer_t,
    listener_t,
)
from fastmesh._core.sockets cimport (
    EPOLL_CTL_ADD,
    EPOLLET,
    EPOLLIN,
    EPOLLOUT,
    EPOLLRDHUP,
    SHUT_WR,
    close,
    epoll_ctl,
    epoll_event,
    iovec,
    shutdown,
    socket_error,
    socket_reset_on_close,
    socket_send,
    socket_unsent,
)
from fastmesh._core.timer_wheel cimport wheel_cancel, wheel_set
from fastmesh._core.tls cimport TLS_DONE, TLS_WAITS, tls_free
from fastmesh._core.transport cimport (
    transport_receive,
    transport_receive_plain,
    transport_say_end,
    transport_secure,
    transport_send,
)

cdef enum:
    PIECES_MAX = 16
    OUTPUT_MIN_BYTES = 8192
    LINGER_MS = 2000
    LINGER_MAX_BYTES = 1048576
    FLUSH_MS = 30000                    # a peer that does not read the last of our output


cdef connection_t* connection_new(worker_t* worker, int fd, const io_events_t* events, uint8_t state) noexcept nogil:
    cdef epoll_event event
    cdef connection_t* connection = <connection_t*>calloc(1, sizeof(connection_t))
    if connection == NULL:
        close(fd)
        return NULL
    connection.source = SOURCE_CONNECTION
    connection.state = state
    connection.fd = fd
    connection.worker = worker
    connection.events = events
    connection.read_bytes = READ_MIN_BYTES
    connection.timer.owner = connection
    connection.timer.kind = TIMER_CONNECTION
    event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET
    event.data.ptr = connection
    if epoll_ctl(worker.epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0:
        close(fd)
        free(connection)
        return NULL
    connection.next = worker.connections
    if worker.connections != NULL:
        worker.connections.prev = connection
    worker.connections = connection
    return connection


cdef void drop_buffer(worker_t* worker, buffer_t** buffer) noexcept nogil:
    if buffer[0] != NULL:
        buffer_give(worker, buffer[0])
        buffer[0] = NULL


# ---- input


cdef int64_t connection_read(connection_t* connection, char** data, uint64_t* room) noexcept nogil:
    """Receive once, behind what had been kept, or into the scratch buffer. `room` is what `data` may grow to."""
    cdef worker_t* worker = connection.worker
    cdef buffer_t* kept = connection.input
    cdef buffer_t* larger
    cdef int64_t received
    cdef uint32_t length
    if kept == NULL:
        data[0] = buffer_data(worker.scratch)
        room[0] = worker.scratch.capacity
        return transport_receive(connection, data[0], connection.read_bytes)
    length = kept.end - kept.begin
    if kept.begin > 0:
        memmove(buffer_data(kept), buffer_data(kept) + kept.begin, length)
        kept.begin = 0
        kept.end = length
    if buffer_room(kept) < 2 * INPUT_SPARE_BYTES:
        larger = buffer_take(worker, kept.capacity + 1)
        if larger == NULL:
            connection.io |= IO_BROKEN      # more than the largest head or the memory allows
            return READ_BROKEN
        memcpy(buffer_data(larger), buffer_data(kept), length)
        larger.end = length
        buffer_give(worker, kept)
        connection.input = kept = larger
    received = transport_receive(connection, buffer_data(kept) + length, buffer_room(kept) - INPUT_SPARE_BYTES)
    if received <= 0:
        return received
    kept.end += <uint32_t>received
    data[0] = buffer_data(kept)
    room[0] = kept.capacity
    return kept.end


cdef int connection_keep(connection_t* connection, char* data, size_t consumed, size_t length) noexcept nogil:
    cdef buffer_t* kept = connection.input
    cdef size_t rest = length - consumed
    if kept != NULL:
        if rest == 0:
            buffer_give(connection.worker, kept)
            connection.input = NULL
        else:
            kept.begin = <uint32_t>(data + consumed - buffer_data(kept))
            kept.end = kept.begin + <uint32_t>rest
        return 0
    if rest == 0:
        return 0
    kept = buffer_take(connection.worker, rest + INPUT_SPARE_BYTES)
    if kept == NULL:
        return -1
    memcpy(buffer_data(kept), data + consumed, rest)
    kept.end = <uint32_t>rest
    connection.input = kept
    return 0


# ---- output


cdef inline void mark_dirty(connection_t* connection) noexcept nogil:
    if connection.in_dirty:
        return
    connection.in_dirty = 1
    if connection.flushes_late:
        connection.next_dirty = connection.worker.dirty_late
        connection.worker.dirty_late = connection
    else:
        connection.next_dirty = connection.worker.dirty
        connection.worker.dirty = connection


cdef char* connection_reserve(connection_t* connection, size_t size) noexcept nogil:
    cdef buffer_t* last = connection.output_last
    if connection.io & (IO_BROKEN | IO_WRITE_BROKEN) or connection.state == CONNECTION_CLOSED:
        return NULL
    mark_dirty(connection)
    if last != NULL and buffer_room(last) >= size:
        return buffer_data(last) + last.end
    last = buffer_take(connection.worker, max(size, <size_t>OUTPUT_MIN_BYTES))
    if last == NULL:
        connection.io |= IO_BROKEN      # a gap must not be sent
        connection_wake(connection)
        return NULL
    if connection.output_last == NULL:
        connection.output_first = last
    else:
        connection.output_last.next = last
    connection.output_last = last
    return buffer_data(last)


cdef void connection_commit(connection_t* connection, size_t size) noexcept nogil:
    connection.output_last.end += <uint32_t>size
    connection.output_bytes += size


cdef void queue(connection_t* connection, const char* data, size_t length) noexcept nogil:
    cdef size_t piece
    cdef char* room
    while length > 0:
        piece = min(length, <size_t>READ_MAX_BYTES)
        if connection.output_last != NULL and buffer_room(connection.output_last) > 0:
            piece = min(piece, <size_t>buffer_room(connection.output_last))
        room = connection_reserve(connection, piece)
        if room == NULL:
            return
        memcpy(room, data, piece)
        connection_commit(connection, piece)
        data += piece
        length -= piece


cdef void drop_output(connection_t* connection) noexcept nogil:
    cdef buffer_t* buffer
    while connection.output_first != NULL:
        buffer = connection.output_first
        connection.output_first = buffer.next
        buffer_give(connection.worker, buffer)
    connection.output_last = NULL
    connection.output_bytes = 0
    if connection.tls != NULL and connection.tls.unsent != NULL:
        buffer_give(connection.worker, connection.tls.unsent)
        connection.tls.unsent = NULL


cdef void advance_output(connection_t* connection, size_t sent) noexcept nogil:
    cdef buffer_t* buffer
    cdef uint32_t length
    connection.output_bytes -= sent
    while connection.output_first != NULL:
        buffer = connection.output_first
        length = buffer.end - buffer.begin
        if sent < length:
            buffer.begin += <uint32_t>sent
            return
        sent -= length
        connection.output_first = buffer.next
        if buffer.next == NULL:
            connection.output_last = NULL
        buffer_give(connection.worker, buffer)


cdef void fail_output(connection_t* connection) noexcept nogil:
    """Nobody reads any more. What the peer sent before that may still be there: the codec finds out by reading."""
    drop_output(connection)
    connection.io |= IO_WRITE_BROKEN | IO_READABLE
    connection.io &= ~IO_WRITABLE
    connection_wake(connection)


cdef int64_t send_output(connection_t* connection, const char* extra, size_t extra_length) noexcept nogil:
    """Send the queue and then `extra` in one call. How many of extra's bytes went; -1 when the connection is broken."""
    cdef iovec[PIECES_MAX] pieces
    cdef buffer_t* buffer = connection.output_first
    cdef size_t count = 0
    cdef size_t queued = 0
    cdef int64_t sent
    while buffer != NULL and count < PIECES_MAX - 1:
        pieces[count].iov_base = buffer_data(buffer) + buffer.begin
        pieces[count].iov_len = buffer.end - buffer.begin
        queued += pieces[count].iov_len
        count += 1
        buffer = buffer.next
    if buffer == NULL and extra_length > 0:
        pieces[count].iov_base = <void*>extra
        pieces[count].iov_len = extra_length
        count += 1
    if count == 0 and connection.output_bytes == 0:
        return 0
    sent = transport_send(connection, pieces, count)
    if sent < 0:
        fail_output(connection)
        return -1
    if <size_t>sent <= queued:
        advance_output(connection, <size_t>sent)
        return 0
    advance_output(connection, queued)
    return sent - <int64_t>queued


cdef void connection_write(connection_t* connection, const char* data, size_t length) noexcept nogil:
    cdef int64_t sent
    if connection.io & (IO_BROKEN | IO_WRITE_BROKEN) or connection.state == CONNECTION_CLOSED:
        return
    while length > COPY_MAX_BYTES and connection.io & IO_WRITABLE:
        sent = send_output(connection, data, length)
        if sent < 0:
            return
        data += sent
        length -= <size_t>sent
    queue(connection, data, length)


cdef void connection_flush(connection_t* connection) noexcept nogil:
    while connection.output_bytes > 0 and connection.io & IO_WRITABLE:
        if send_output(connection, NULL, 0) < 0:
            return
    if connection.output_bytes > 0:
        return
    if connection.output_first != NULL:     # reserved, never committed
        drop_output(connection)
    if connection.io & IO_SHUT and connection.state == CONNECTION_OPEN or connection.state == CONNECTION_FLUSHING:
        transport_say_end(connection)
        if connection.output_bytes > 0:
            return
    if connection.io & IO_SHUT and connection.state == CONNECTION_OPEN:
        shutdown(connection.fd, SHUT_WR)
    if connection.state == CONNECTION_FLUSHING:
        end_after_flush(connection)
    elif connection.io & IO_BLOCKED:
        # Told from connection_handle: whoever flushes is in the midst of something that the answer may end.
        connection_wake(connection)


cdef bint connection_is_blocked(connection_t* connection) noexcept nogil:
    if connection.output_bytes == 0 or connection.state != CONNECTION_OPEN:
        return False
    connection_flush(connection)
    if connection.output_bytes == 0:
        return False
    connection.io |= IO_BLOCKED
    return True


cdef bint connection_has_progressed(connection_t* connection) noexcept nogil:
    cdef int before = connection.unsent_bytes
    connection.unsent_bytes = socket_unsent(connection.fd)
    return connection.unsent_bytes != before


cdef void connection_send_preamble(connection_t* connection) noexcept nogil:
    cdef buffer_t* preamble = connection.preamble
    cdef ssize_t length
    if preamble == NULL:
        return
    length = preamble.end - preamble.begin
    if socket_send(connection.fd, buffer_data(preamble) + preamble.begin, <size_t>length) != length:
        connection.io |= IO_BROKEN      # a new socket takes so few bytes, or is broken
        connection_wake(connection)
    drop_buffer(connection.worker, &connection.preamble)


# ---- what the flags say


cdef void connection_handle(connection_t* connection) noexcept nogil:
    cdef int error
    if connection.state == CONNECTION_CLOSED:
        return
    if connection.state == CONNECTION_CONNECTING:
        if connection.io & IO_BROKEN:
            error = socket_error(connection.fd)
            connection.events.on_broken(connection, error if error else ECONNRESET)
            return
        if not connection.io & IO_WRITABLE:
            return
        connection_send_preamble(connection)
        if connection.tls != NULL:
            connection.state = CONNECTION_SECURING
        else:
            connection.state = CONNECTION_OPEN
            connection.events.on_connected(connection)
    if connection.state == CONNECTION_SECURING:
        secure(connection)
    if connection.state == CONNECTION_CLOSED:
        return
    if connection.output_bytes > 0 and connection.io & IO_WRITABLE:
        connection_flush(connection)
    if connection.io & IO_BLOCKED and connection.output_bytes == 0 and connection.state == CONNECTION_OPEN:
        connection.io &= ~IO_BLOCKED
        if not connection.io & (IO_BROKEN | IO_WRITE_BROKEN):
            connection.events.on_drained(connection)
    if connection.state == CONNECTION_OPEN:
        if connection.io & IO_READABLE or connection.input != NULL or connection.http2 != NULL:
            connection.events.on_input(connection)
        # Nobody reads what we send: for a client that is the end; an endpoint may have answered before.
        if connection.is_downstream and connection.io & IO_WRITE_BROKEN:
            connection.io |= IO_BROKEN
        if connection.io & IO_BROKEN and connection.state == CONNECTION_OPEN:
            error = socket_error(connection.fd)
            connection.events.on_broken(connection, error if error else ECONNRESET)
    elif connection.state == CONNECTION_LINGERING:
        linger(connection)
    if connection.io & IO_BROKEN and connection.state != CONNECTION_CLOSED and connection.state != CONNECTION_OPEN:
        connection_close(connection, False)


cdef void secure(connection_t* connection) noexcept nogil:
    cdef listener_t* listener = connection.listener
    cdef int result = transport_secure(connection)
    if result == TLS_WAITS and not connection.io & IO_BROKEN:
        return
    if result != TLS_DONE:
        fail_handshake(connection)
        return
    connection.state = CONNECTION_OPEN
    if listener != NULL:
        listener.stats.handshakes += 1
        listener.stats.handshakes_resumed += connection.tls.was_resumed
        if listener.entry != NULL:
            connection_set_deadline(connection, connection.worker.now_ms + listener.entry.idle_timeout_ms)
    connection.events.on_connected(connection)
    if listener != NULL and listener.is_removed and connection.state == CONNECTION_OPEN:
        connection.server.drain(connection)


cdef void fail_handshake(connection_t* connection) noexcept nogil:
    """Nothing hangs on a client's connection yet: it ends here. Our alert may be on its way, and should be read."""
    if connection.tls.failure == TLS_OK:
        connection.tls.failure = TLS_CLOSED     # reset while it waited
    if not connection.is_downstream:
        connection.events.on_broken(connection, EPROTO)
        return
    connection.listener.stats.tls_failures[connection.tls.failure] += 1
    connection_finish(connection, connection.tls.failure != TLS_CLOSED)


cdef void connection_wake(connection_t* connection) noexcept nogil:
    if not connection.in_ready:
        connection.in_ready = 1
        connection.next_ready = connection.worker.ready
        connection.worker.ready = connection


cdef void connection_set_deadline(connection_t* connection, uint64_t due_ms) noexcept nogil:
    """The wheel is only touched when the timer would fire too late; one that fires early looks at deadline_ms again."""
    if connection.state == CONNECTION_CLOSED:
        return                          # it is freed at the end of the round, and a timer would outlive it
    connection.deadline_ms = due_ms
    if due_ms and (connection.timer.node.next == NULL or connection.timer.node.due_ms > due_ms):
        wheel_set(&connection.worker.wheel, &connection.timer.node, due_ms)


# ---- the end


cdef void connection_shut(connection_t* connection) noexcept nogil:
    if connection.io & IO_SHUT:
        return
    connection.io |= IO_SHUT
    if connection.output_bytes == 0 and connection.state == CONNECTION_OPEN:
        transport_say_end(connection)
        if connection.output_bytes == 0:    # else connection_flush goes on from here
            shutdown(connection.fd, SHUT_WR)


cdef void connection_finish(connection_t* connection, bint peer_may_send) noexcept nogil:
    if connection.state == CONNECTION_CLOSED:
        return
    connection.state = CONNECTION_FLUSHING
    connection.lingers = peer_may_send
    if connection.input != NULL:
        buffer_give(connection.worker, connection.input)
        connection.input = NULL
    if connection.io & (IO_BROKEN | IO_WRITE_BROKEN):
        connection_close(connection, False)
        return
    connection_set_deadline(connection, connection.worker.now_ms + FLUSH_MS)
    mark_dirty(connection)          # connection_flush goes on from here


cdef void end_after_flush(connection_t* connection) noexcept nogil:
    if connection.lingers and not connection.io & IO_END:
        connection.state = CONNECTION_LINGERING
        shutdown(connection.fd, SHUT_WR)
        connection_set_deadline(connection, connection.worker.now_ms + LINGER_MS)
        connection_wake(connection)
        return
    connection_close(connection, False)


cdef void connection_on_deadline(connection_t* connection) noexcept nogil:
    if connection.state == CONNECTION_SECURING:
        connection.tls.failure = TLS_TIMEOUT
        connection.listener.stats.tls_failures[TLS_TIMEOUT] += 1
        connection_close(connection, False)
        return
    if connection.state == CONNECTION_FLUSHING and connection_has_progressed(connection):
        connection_set_deadline(connection, connection.worker.now_ms + FLUSH_MS)    # slow, but reading
        return
    # What was not sent is missed: the peer must not take what it has for the whole.
    connection_close(connection, connection.output_bytes > 0)


cdef void linger(connection_t* connection) noexcept nogil:
    cdef int64_t received
    while connection.io & IO_READABLE:
        received = transport_receive_plain(connection, buffer_data(connection.worker.scratch), READ_MAX_BYTES)
        if received == READ_NOTHING:
            return
        if received < 0:
            connection_close(connection, False)
            return
        connection.lingered_bytes += <uint64_t>received
        if connection.lingered_bytes > LINGER_MAX_BYTES:
            connection_close(connection, False)
            return


cdef void connection_close(connection_t* connection, bint with_reset) noexcept nogil:
    cdef worker_t* worker = connection.worker
    if connection.state == CONNECTION_CLOSED:
        return
    if with_reset:
        socket_reset_on_close(connection.fd)
    elif connection.output_bytes == 0:
        transport_say_end(connection)
    close(connection.fd)
    connection.fd = -1
    connection.state = CONNECTION_CLOSED
    connection.deadline_ms = 0
    wheel_cancel(&worker.wheel, &connection.timer.node)
    drop_output(connection)
    drop_buffer(worker, &connection.input)
    drop_buffer(worker, &connection.preamble)
    if connection.prev != NULL:
        connection.prev.next = connection.next
    else:
        worker.connections = connection.next
    if connection.next != NULL:
        connection.next.prev = connection.prev
    connection.prev = NULL
    connection.next = worker.closed
    worker.closed = connection


cdef void connection_free(connection_t* connection) noexcept nogil:
    chunked_release(&connection.http1.chunked)
    if connection.tls != NULL:
        tls_free(connection.worker, connection.tls)
    connection.worker.stats.live[LIVE_DOWNSTREAM if connection.is_downstream else LIVE_UPSTREAM] -= 1
    free(connection)
