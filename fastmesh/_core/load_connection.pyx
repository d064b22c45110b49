"""The state machine of a load generator's connection."""

from libc.errno cimport EAGAIN, ECONNRESET, EINPROGRESS, EPIPE, ETIMEDOUT, errno
from libc.string cimport memmove
from fastmesh._core.headers cimport FRAMING_CHUNKED, FRAMING_CLOSE, FRAMING_LENGTH, FRAMING_NONE, HEAD_KEEP_ALIVE
from fastmesh._core.http1_chunked cimport CHUNKED_DONE, chunked_decode, chunked_init, chunked_release
from fastmesh._core.http1_parser cimport http1_find_head_end, http1_parse_response
from fastmesh._core.sockets cimport (EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLLIN, EPOLLOUT, EPOLLRDHUP, SOCK_CLOEXEC,
                                     SOCK_NONBLOCK, SOCK_STREAM, close, connect, epoll_ctl, epoll_event, sockaddr,
                                     socket, socket_error, socket_receive, socket_send, socket_set_nodelay)

cdef enum:
    READS_AT_ONCE = 16              # of one connection, before the others get their turn


cdef int load_begin(load_connection_t* connection, load_work_t* work) noexcept nogil:
    connection.sent_bytes = 0
    connection.head_bytes = 0
    connection.scanned = 0
    connection.status = 0
    connection.keep = not work.close_each
    if connection.fd < 0:
        return begin_connect(connection, work)
    connection.state = LOAD_HEAD
    send_request(connection, work)
    return LOAD_PENDING


cdef int begin_connect(load_connection_t* connection, load_work_t* work) noexcept nogil:
    cdef epoll_event event
    connection.state = LOAD_CONNECTING
    connection.wants_write = 1
    connection.fd = socket(work.address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)
    event.events = EPOLLIN | EPOLLRDHUP | EPOLLOUT
    event.data.u64 = connection.index
    if connection.fd < 0 or epoll_ctl(work.epoll, EPOLL_CTL_ADD, connection.fd, &event) < 0:
        work.connect_errno = errno
        return LOAD_CONNECT_FAILED
    socket_set_nodelay(connection.fd)
    if connect(connection.fd, <const sockaddr*>&work.address, work.address_bytes) < 0 and errno != EINPROGRESS:
        work.connect_errno = errno
        return LOAD_CONNECT_FAILED
    return LOAD_PENDING


cdef int load_handle(load_connection_t* connection, load_work_t* work, uint32_t events) noexcept nogil:
    cdef int failure
    if connection.state == LOAD_IDLE:
        # Nothing is owed to us: the other side closes the connection, or breaks the protocol. Neither is kept.
        load_close(connection)
        return LOAD_PENDING
    if connection.state == LOAD_CONNECTING:
        failure = socket_error(connection.fd)
        if failure != 0:
            work.connect_errno = failure
            return LOAD_CONNECT_FAILED
        connection.state = LOAD_HEAD
    if connection.wants_write and events & EPOLLOUT:
        send_request(connection, work)
    if events & ~EPOLLOUT:
        return receive(connection, work)
    return LOAD_PENDING


cdef void send_request(load_connection_t* connection, load_work_t* work) noexcept nogil:
    cdef epoll_event event
    cdef ssize_t count = 0
    cdef bint wants_write
    while connection.sent_bytes < work.request_bytes:
        count = socket_send(connection.fd, work.request + connection.sent_bytes,
                            work.request_bytes - connection.sent_bytes)
        if count < 0:
            break
        connection.sent_bytes += <size_t>count
    if count == -EPIPE or count == -ECONNRESET:
        # The other side wants no more; it may have answered early, and reading will tell.
        connection.keep = 0
    wants_write = count == -EAGAIN
    if wants_write != connection.wants_write:
        connection.wants_write = wants_write
        event.events = EPOLLIN | EPOLLRDHUP | (EPOLLOUT if wants_write else 0)
        event.data.u64 = connection.index
        epoll_ctl(work.epoll, EPOLL_CTL_MOD, connection.fd, &event)


cdef int receive(load_connection_t* connection, load_work_t* work) noexcept nogil:
    cdef char* into
    cdef size_t room
    cdef ssize_t count
    cdef int outcome = LOAD_PENDING
    cdef int _read
    for _read in range(READS_AT_ONCE):
        into = work.scratch
        room = LOAD_BODY_READ_BYTES
        if connection.state == LOAD_HEAD:
            into = connection.head + connection.head_bytes
            room = LOAD_HEAD_MAX_BYTES - connection.head_bytes
        count = socket_receive(connection.fd, into, room)
        if count == -EAGAIN:
            return LOAD_PENDING
        if count < 0:
            return LOAD_TIMEOUT if count == -ETIMEDOUT else LOAD_RESET
        if count == 0:
            connection.keep = 0
            if connection.state == LOAD_BODY and connection.framing == FRAMING_CLOSE:
                return LOAD_COMPLETE
            return LOAD_RESET
        work.received_bytes += <uint64_t>count
        if connection.state == LOAD_HEAD:
            connection.head_bytes += <uint32_t>count
            outcome = take_head(connection, work)
        else:
            outcome = take_body(connection, into, <size_t>count)
        if outcome != LOAD_PENDING or <size_t>count < room:
            break
    return outcome


cdef int take_head(load_connection_t* connection, load_work_t* work) noexcept nogil:
    cdef head_t* head = &work.head
    cdef ssize_t end = 0
    while True:
        end = http1_find_head_end(connection.head, connection.head_bytes, &connection.scanned, &work.limits)
        if end == 0 and connection.head_bytes < LOAD_HEAD_MAX_BYTES:
            return LOAD_PENDING
        if end <= 0 or http1_parse_response(connection.head, <size_t>end, &work.limits, work.method_id, head) != 0:
            return LOAD_MALFORMED
        if head.status >= 200 or head.status == 101:
            break
        connection.head_bytes -= <uint32_t>end
        memmove(connection.head, connection.head + end, connection.head_bytes)
        connection.scanned = 0
    connection.state = LOAD_BODY
    connection.status = head.status
    connection.framing = head.framing
    connection.remaining_bytes = head.content_length if head.framing == FRAMING_LENGTH else 0
    if head.status == 101:
        # What follows is another protocol.
        connection.keep = 0
        return LOAD_COMPLETE
    if not head.flags & HEAD_KEEP_ALIVE:
        connection.keep = 0
    if connection.framing == FRAMING_CHUNKED:
        chunked_init(&connection.chunked)
    return take_body(connection, connection.head + end, connection.head_bytes - <size_t>end)


cdef int take_body(load_connection_t* connection, char* data, size_t length) noexcept nogil:
    cdef size_t consumed = 0, offset = 0, body = 0
    cdef int result
    if connection.framing == FRAMING_CLOSE:
        return LOAD_PENDING
    if connection.framing == FRAMING_CHUNKED:
        if length == 0:
            return LOAD_PENDING
        result = chunked_decode(&connection.chunked, data, length, &consumed, &offset, &body)
        if result < 0 or (result == CHUNKED_DONE and consumed < length):
            return LOAD_MALFORMED
        return LOAD_COMPLETE if result == CHUNKED_DONE else LOAD_PENDING
    # More bytes than the response has: nobody asked for them.
    if length > connection.remaining_bytes:
        return LOAD_MALFORMED
    connection.remaining_bytes -= length
    return LOAD_PENDING if connection.remaining_bytes else LOAD_COMPLETE


cdef void load_release(load_connection_t* connection, const load_work_t* work, int outcome) noexcept nogil:
    if outcome != LOAD_COMPLETE or not connection.keep or connection.sent_bytes < work.request_bytes:
        load_close(connection)
    if connection.framing == FRAMING_CHUNKED:
        chunked_release(&connection.chunked)
    connection.framing = FRAMING_NONE
    connection.state = LOAD_IDLE


cdef void load_close(load_connection_t* connection) noexcept nogil:
    if connection.fd >= 0:
        close(connection.fd)
    connection.fd = -1
    connection.wants_write = 0
