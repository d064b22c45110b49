"""The engine's loop: epoll rounds over listeners, connections and timers.

A round reads the flags of all events before it handles any, so that a pooled connection that ended in this round is
known to have, before a request of the same round could take it. What is closed within a round is freed at its end.

While traffic flows the engine waits for more in its own epoll set rather than in the event loop's: returning there and
being called again costs more than the wait. The loop's other work then gets its turn every BUDGET_NS.
"""

from libc.stdint cimport UINT64_MAX, uint32_t, uint64_t

from fastmesh._core.accounting cimport LOG_FLUSH_BYTES, LOG_FLUSH_MS, log_flush
from fastmesh._core.connection cimport (
    connection_flush,
    connection_free,
    connection_handle,
    connection_on_deadline,
)
from fastmesh._core.exchange cimport exchange_on_timer
from fastmesh._core.http2_session cimport http2_session_free
from fastmesh._core.http2_streams cimport http2_streams_reap
from fastmesh._core.listener cimport listener_accept, listener_left, listener_on_timer, listeners_sweep
from fastmesh._core.live cimport (
    CONNECTION_CLOSED,
    CONNECTION_FLUSHING,
    CONNECTION_LINGERING,
    CONNECTION_SECURING,
    IO_BROKEN,
    IO_PEER_SHUT,
    IO_READABLE,
    IO_SHUT,
    IO_WRITABLE,
    SOURCE_CONNECTION,
    SOURCE_LISTENER,
    TIMER_CONNECTION,
    TIMER_EXCHANGE,
    TIMER_LISTENER,
    connection_t,
    exchange_t,
    listener_t,
    timer_t,
)
from fastmesh._core.sockets cimport (
    CLOCK_MONOTONIC,
    CLOCK_REALTIME,
    EPOLLERR,
    EPOLLHUP,
    EPOLLIN,
    EPOLLOUT,
    EPOLLRDHUP,
    TFD_TIMER_ABSTIME,
    clock_ns,
    epoll_event,
    epoll_wait,
    itimerspec,
    read,
    timerfd_settime,
)
from fastmesh._core.timer_wheel cimport wheel_next_ms, wheel_pop, wheel_set, wheel_timer_t

cdef enum:
    EVENTS_PER_ROUND = 256
    ROUNDS_MAX = 256
    BUDGET_NS = 5000000                 # then the event loop's other work gets its turn
    PATIENCE_MS = 1                     # for more traffic, where there was some just now
    HEARTBEAT_MS = 1000


cdef void rounds_read_time(worker_t* worker) noexcept nogil:
    worker.now_ns = clock_ns(CLOCK_MONOTONIC)
    worker.now_ms = worker.now_ns // 1000000


# ---- events


cdef inline void note(connection_t* connection, uint32_t events) noexcept nogil:
    if events & EPOLLIN:
        connection.io |= IO_READABLE
    if events & EPOLLOUT:
        connection.io |= IO_WRITABLE
    if events & EPOLLRDHUP:
        connection.io |= IO_PEER_SHUT | IO_READABLE
    if events & EPOLLERR or (events & EPOLLHUP and not connection.io & IO_SHUT):
        connection.io |= IO_BROKEN | IO_READABLE
    # else: both sides have said FIN, and there may still be something to receive


cdef inline void flush_dirty_late(worker_t* worker) noexcept nogil:
    """What many exchanges have written to one connection goes out at once."""
    worker.dirty = worker.dirty_late
    worker.dirty_late = NULL
    flush_dirty(worker)


cdef inline void flush_dirty(worker_t* worker) noexcept nogil:
    cdef connection_t* connection
    while worker.dirty != NULL:
        connection = worker.dirty
        worker.dirty = connection.next_dirty
        connection.in_dirty = 0
        if connection.state != CONNECTION_CLOSED:
            connection_flush(connection)


cdef void handle_events(worker_t* worker, epoll_event* events, int count) noexcept nogil:
    cdef int i
    cdef unsigned char source
    for i in range(count):
        if (<unsigned char*>events[i].data.ptr)[0] == SOURCE_CONNECTION:
            note(<connection_t*>events[i].data.ptr, events[i].events)
    for i in range(count):
        source = (<unsigned char*>events[i].data.ptr)[0]
        if source == SOURCE_CONNECTION:
            connection_handle(<connection_t*>events[i].data.ptr)
            flush_dirty(worker)
        elif source == SOURCE_LISTENER:
            listener_accept(<listener_t*>events[i].data.ptr)
            flush_dirty(worker)
        else:
            read_timer(worker)


cdef void handle_ready(worker_t* worker) noexcept nogil:
    """Connections that asked for another turn; those that ask again meanwhile wait for the next round."""
    cdef connection_t* connection = worker.ready
    cdef connection_t* next
    worker.ready = NULL
    while connection != NULL:
        next = connection.next_ready
        connection.in_ready = 0
        connection_handle(connection)
        flush_dirty(worker)
        connection = next


cdef void free_closed(worker_t* worker) noexcept nogil:
    cdef connection_t* connection = worker.closed
    cdef connection_t* next
    cdef bint swept = connection != NULL
    worker.closed = NULL
    while connection != NULL:
        next = connection.next
        if connection.in_ready or connection.in_dirty:
            connection.next = worker.closed     # still listed: next round
            worker.closed = connection
        else:
            if connection.is_downstream:
                listener_left(connection.listener)
            if connection.http2 != NULL:
                http2_session_free(connection.http2)
            connection_free(connection)
        connection = next
    if swept:
        listeners_sweep(worker)


# ---- timers


cdef void read_timer(worker_t* worker) noexcept nogil:
    cdef uint64_t expirations
    read(worker.timer_fd, &expirations, sizeof(expirations))
    worker.armed_ms = UINT64_MAX


cdef void on_connection_timer(worker_t* worker, connection_t* connection) noexcept nogil:
    if connection.deadline_ms == 0:
        return
    if connection.deadline_ms > worker.now_ms:
        wheel_set(&worker.wheel, &connection.timer.node, connection.deadline_ms)
        return
    connection.deadline_ms = 0
    if (
        connection.state == CONNECTION_FLUSHING or connection.state == CONNECTION_LINGERING
        or (connection.state == CONNECTION_SECURING and connection.is_downstream)
    ):
        connection_on_deadline(connection)
    else:
        connection.events.on_deadline(connection)


cdef void beat(worker_t* worker) noexcept nogil:
    worker.stats.heartbeat_ns = worker.now_ns
    worker.unix_offset_ns = clock_ns(CLOCK_REALTIME) - worker.now_ns
    wheel_set(&worker.wheel, &worker.heartbeat.node, worker.now_ms + HEARTBEAT_MS)


cdef void handle_timers(worker_t* worker) noexcept nogil:
    cdef wheel_timer_t* node = wheel_pop(&worker.wheel, worker.now_ms)
    cdef timer_t* timer
    while node != NULL:
        timer = <timer_t*>node
        if timer.kind == TIMER_CONNECTION:
            on_connection_timer(worker, <connection_t*>timer.owner)
        elif timer.kind == TIMER_EXCHANGE:
            exchange_on_timer(<exchange_t*>timer.owner)
        elif timer.kind == TIMER_LISTENER:
            listener_on_timer(<listener_t*>timer.owner)
        else:
            beat(worker)
        flush_dirty(worker)
        node = wheel_pop(&worker.wheel, worker.now_ms)


cdef void rounds_arm(worker_t* worker) noexcept nogil:
    """Only ever moved earlier: a timer that fires for nothing is cheaper than one that is set for each request."""
    cdef itimerspec when
    cdef uint64_t due_ms = wheel_next_ms(&worker.wheel)
    if worker.ready != NULL or worker.closed != NULL:
        due_ms = worker.now_ms
    if due_ms >= worker.armed_ms:
        return
    worker.armed_ms = due_ms
    due_ms = max(due_ms, <uint64_t>1)   # 0 would disarm
    when.it_interval.tv_sec = 0
    when.it_interval.tv_nsec = 0
    when.it_value.tv_sec = <long>(due_ms // 1000)
    when.it_value.tv_nsec = <long>(due_ms % 1000 * 1000000)
    timerfd_settime(worker.timer_fd, TFD_TIMER_ABSTIME, &when, NULL)


# ---- rounds


cdef void rounds_settle(worker_t* worker) noexcept nogil:
    flush_dirty(worker)
    flush_dirty_late(worker)
    free_closed(worker)
    http2_streams_reap(worker)
    listeners_sweep(worker)
    rounds_arm(worker)


cdef void rounds_run(worker_t* worker) noexcept nogil:
    cdef epoll_event[EVENTS_PER_ROUND] events
    cdef uint64_t until_ns = 0
    cdef int count = 0
    cdef int wait_ms
    cdef int turn
    worker.stats.wakes += 1
    for turn in range(ROUNDS_MAX):
        wait_ms = PATIENCE_MS if count > 0 and worker.ready == NULL and not worker.is_compiling else 0
        count = epoll_wait(worker.epoll_fd, events, EVENTS_PER_ROUND, wait_ms)
        rounds_read_time(worker)
        if turn == 0:
            until_ns = worker.now_ns + BUDGET_NS
        if count > 0:
            worker.stats.events += <uint64_t>count
            handle_events(worker, events, count)
        if worker.ready != NULL:
            handle_ready(worker)
        handle_timers(worker)
        if worker.dirty_late != NULL:
            flush_dirty_late(worker)
        if worker.closed != NULL:
            free_closed(worker)
        if worker.ended_streams != NULL:
            http2_streams_reap(worker)
        if (count <= 0 and worker.ready == NULL) or worker.now_ns > until_ns:
            break
    if worker.log_len >= LOG_FLUSH_BYTES or (worker.log_len and worker.now_ms - worker.log_since_ms >= LOG_FLUSH_MS):
        log_flush(worker)
    rounds_arm(worker)
