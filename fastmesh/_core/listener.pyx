"""Listening sockets: the stage `accept`.

The supervisor binds the sockets and every worker accepts on the same ones, so none is lost with a worker. The kernel
tells all workers of a new connection, and the quickest takes it; so that this is not always the same one, a worker that
has more than its share leaves it to the others for a moment.
"""

from libc.errno cimport EAGAIN, EMFILE, ENFILE, ENOBUFS, ENOMEM, errno
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport strlen

from fastmesh._core.connection cimport connection_new, connection_set_deadline
from fastmesh._core.live cimport (
    CONNECTION_CLOSED,
    CONNECTION_OPEN,
    IO_WRITABLE,
    LIVE_DOWNSTREAM,
    LIVE_LISTENER,
    SOURCE_LISTENER,
    TIMER_LISTENER,
)
from fastmesh._core.opening cimport opening_begin, opening_is_needed
from fastmesh._core.shared cimport shared_listener
from fastmesh._core.sockets cimport (
    EPOLL_CTL_ADD,
    EPOLL_CTL_DEL,
    EPOLLIN,
    SOCK_CLOEXEC,
    SOCK_NONBLOCK,
    accept4,
    close,
    epoll_ctl,
    epoll_event,
    sockaddr,
    sockaddr_storage,
    socket_address_text,
    socket_set_nodelay,
    socklen_t,
)
from fastmesh._core.timer_wheel cimport wheel_cancel, wheel_set

cdef enum:
    ACCEPTS_PER_TURN = 4                # then the connections that there are get their turn, and other workers theirs
    YIELD_MS = 5                        # how long a worker with more than its share leaves connections to the others
    PAUSE_MS = 100                      # when descriptors have run out


cdef listener_t* listener_find(worker_t* worker, uint32_t listener_id) noexcept nogil:
    cdef listener_t* listener = worker.listeners
    while listener != NULL:
        if listener.id == listener_id and not listener.is_removed:
            return listener
        listener = listener.next
    return NULL


cdef int watch(listener_t* listener) noexcept nogil:
    cdef epoll_event event
    event.events = EPOLLIN
    event.data.ptr = listener
    if epoll_ctl(listener.worker.epoll_fd, EPOLL_CTL_ADD, listener.fd, &event) < 0:
        return -errno
    return 0


cdef void unwatch(listener_t* listener) noexcept nogil:
    cdef epoll_event event
    epoll_ctl(listener.worker.epoll_fd, EPOLL_CTL_DEL, listener.fd, &event)


cdef int listener_add(worker_t* worker, uint32_t listener_id, int fd) noexcept nogil:
    cdef listener_t* listener = listener_find(worker, listener_id)
    socket_set_nodelay(fd)              # accepted sockets inherit it
    if listener != NULL:
        if listener.fd >= 0:
            unwatch(listener)           # other processes hold the socket too: closing it would not end the watch
            close(listener.fd)
        listener.fd = fd
        return watch(listener)
    listener = <listener_t*>calloc(1, sizeof(listener_t))
    if listener == NULL:
        close(fd)
        return -ENOMEM
    listener.source = SOURCE_LISTENER
    listener.id = listener_id
    listener.fd = fd
    listener.worker = worker
    listener.stats = shared_listener(worker.shared, worker.slot, listener_id)
    listener.timer.owner = listener
    listener.timer.kind = TIMER_LISTENER
    listener.next = worker.listeners
    worker.listeners = listener
    worker.stats.live[LIVE_LISTENER] += 1
    listeners_bind(worker)
    return watch(listener)


cdef void listeners_bind(worker_t* worker) noexcept nogil:
    cdef listener_t* listener = worker.listeners
    cdef uint32_t i
    while listener != NULL:
        listener.entry = NULL
        if worker.tables != NULL:
            for i in range(worker.tables.listener_count):
                if worker.tables.listeners[i].id == listener.id:
                    listener.entry = &worker.tables.listeners[i]
        listener = listener.next


# ---- accept


cdef int64_t open_in_all_workers(const listener_t* listener) noexcept nogil:
    cdef worker_t* worker = listener.worker
    cdef int64_t total = 0
    cdef uint32_t slot
    for slot in range(worker.shared.workers):
        total += shared_listener(worker.shared, slot, listener.id).connections
    return total


cdef bint leaves_to_others(listener_t* listener, int64_t total) noexcept nogil:
    cdef worker_t* worker = listener.worker
    cdef int64_t mean = total // worker.shared.workers
    if worker.shared.workers == 1 or listener.open_count <= mean + 1 + mean // 8:
        listener.yields_since_ms = 0
        return False
    if listener.yields_since_ms == 0:
        listener.yields_since_ms = worker.now_ms
    if worker.now_ms - listener.yields_since_ms < YIELD_MS:
        return True
    listener.yields_since_ms = 0        # they had their chance
    return False


cdef void welcome(listener_t* listener, int fd, const sockaddr_storage* address, int64_t total) noexcept nogil:
    cdef worker_t* worker = listener.worker
    cdef connection_t* connection
    if listener.entry == NULL or total >= listener.entry.connections_max:
        listener.stats.refused += 1
        close(fd)
        return
    connection = connection_new(worker, fd, &worker.http1_server.events, CONNECTION_OPEN)
    if connection == NULL:
        listener.stats.refused += 1
        return
    connection.is_downstream = 1
    connection.server = worker.http1_server
    connection.protocol = worker.http1_server.protocol
    connection.listener = listener
    connection.io = IO_WRITABLE
    connection.peer_port = socket_address_text(address, connection.peer, sizeof(connection.peer))
    connection.peer_len = <unsigned char>strlen(connection.peer)
    listener.open_count += 1
    listener.stats.accepted += 1
    listener.stats.connections += 1
    worker.stats.live[LIVE_DOWNSTREAM] += 1
    if opening_is_needed(listener.entry):
        opening_begin(connection)
    else:
        connection_set_deadline(connection, worker.now_ms + listener.entry.idle_timeout_ms)


cdef void listener_accept(listener_t* listener) noexcept nogil:
    cdef sockaddr_storage address
    cdef socklen_t length
    cdef int64_t total
    cdef int fd
    cdef int _
    if listener.fd < 0 or listener.is_paused:
        return
    for _ in range(ACCEPTS_PER_TURN):
        total = open_in_all_workers(listener)
        if leaves_to_others(listener, total):
            return
        length = sizeof(address)
        fd = accept4(listener.fd, <sockaddr*>&address, &length, SOCK_NONBLOCK | SOCK_CLOEXEC)
        if fd >= 0:
            welcome(listener, fd, &address, total)
        elif errno == EAGAIN:
            return
        elif errno == EMFILE or errno == ENFILE or errno == ENOBUFS or errno == ENOMEM:
            pause(listener)
            return
        # else: that one connection was aborted; the next


cdef void pause(listener_t* listener) noexcept nogil:
    """A level-triggered socket that cannot be accepted from would spin."""
    listener.is_paused = 1
    unwatch(listener)
    wheel_set(&listener.worker.wheel, &listener.timer.node, listener.worker.now_ms + PAUSE_MS)


# ---- the end


cdef void listener_on_timer(listener_t* listener) noexcept nogil:
    if listener.is_removed:
        close_connections(listener)
    elif listener.is_paused:
        listener.is_paused = 0
        if listener.fd >= 0:
            watch(listener)


cdef void close_connections(listener_t* listener) noexcept nogil:
    cdef connection_t* connection = listener.worker.connections
    cdef connection_t* next
    while connection != NULL:
        next = connection.next
        if connection.listener == listener and connection.state != CONNECTION_CLOSED:
            connection.events.on_broken(connection, 0)
            # Its end may have taken others out of the list: begin anew.
            next = listener.worker.connections
        connection = next


cdef void listener_remove(listener_t* listener, uint64_t deadline_ms) noexcept nogil:
    cdef connection_t* connection = listener.worker.connections
    cdef connection_t* next
    if listener.fd >= 0:
        if not listener.is_paused:
            unwatch(listener)
        close(listener.fd)
        listener.fd = -1
    listener.is_removed = 1
    wheel_set(&listener.worker.wheel, &listener.timer.node, listener.worker.now_ms + deadline_ms)
    while connection != NULL:
        next = connection.next
        if connection.listener == listener and connection.state == CONNECTION_OPEN:
            connection.server.drain(connection)
        connection = next


cdef void listener_left(listener_t* listener) noexcept nogil:
    listener.open_count -= 1
    listener.stats.connections -= 1


cdef void listeners_sweep(worker_t* worker) noexcept nogil:
    cdef listener_t** link = &worker.listeners
    cdef listener_t* listener
    while link[0] != NULL:
        listener = link[0]
        if listener.is_removed and listener.open_count == 0:
            link[0] = listener.next
            wheel_cancel(&worker.wheel, &listener.timer.node)
            worker.stats.live[LIVE_LISTENER] -= 1
            free(listener)
        else:
            link = &listener.next
