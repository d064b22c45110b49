"""The data plane of one worker: an epoll set of its own that carries the traffic, driven from the event loop."""

import os

from libc.errno cimport errno
from libc.stdint cimport UINT64_MAX, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memset

from fastmesh._core.accounting cimport LOG_ROOM_BYTES, log_flush
from fastmesh._core.buffers cimport buffer_give, buffer_take, buffers_free_all
from fastmesh._core.exchange cimport exchanges_free_all
from fastmesh._core.headers cimport header_t
from fastmesh._core.http1_client cimport HTTP1_CLIENT
from fastmesh._core.http1_server cimport HTTP1_SERVER
from fastmesh._core.http2_client cimport HTTP2_CLIENT
from fastmesh._core.http2_server cimport HTTP2_SERVER
from fastmesh._core.http2_streams cimport http2_streams_free_all
from fastmesh._core.listener cimport listener_add, listener_find, listener_remove, listeners_bind
from fastmesh._core.live cimport (
    LIVE_KIND_COUNT,
    SOURCE_TIMER,
    TIMER_HEARTBEAT,
    connection_t,
    endpoint_t,
    listener_t,
    service_entry_t,
    worker_t,
)
from fastmesh._core.pool cimport endpoint_hold, endpoint_release, endpoint_retire
from fastmesh._core.rounds cimport rounds_arm, rounds_read_time, rounds_run, rounds_settle
from fastmesh._core.shared cimport SHARED_ENDPOINTS_MAX, SharedMemory, shared_worker
from fastmesh._core.sockets cimport (
    CLOCK_MONOTONIC,
    CLOCK_REALTIME,
    EPOLL_CLOEXEC,
    EPOLL_CTL_ADD,
    EPOLLIN,
    TFD_CLOEXEC,
    TFD_NONBLOCK,
    clock_ns,
    close,
    epoll_create1,
    epoll_ctl,
    epoll_event,
    timerfd_create,
)
from fastmesh._core.tables cimport Tables, tables_begin
from fastmesh._core.tcp_client cimport TCP_CLIENT
from fastmesh._core.tcp_server cimport TCP_SERVER
from fastmesh._core.timer_wheel cimport wheel_init, wheel_set

cimport cython

LIVE_KINDS = ("downstream", "upstream", "exchange", "buffer", "listener", "endpoint", "tables", "stream")

cdef enum:
    SCRATCH_BYTES = 262144
    SCRATCH_HEADERS = 1024


@cython.final
@cython.no_gc_clear                     # __dealloc__ needs the shared memory
cdef class Engine:
    """See engine.pyi."""

    cdef worker_t worker
    cdef SharedMemory shared
    cdef list generations               # of Tables; the last is the present one
    cdef bint is_open

    def __cinit__(self, SharedMemory shared, uint32_t worker):
        cdef worker_t* w = &self.worker
        memset(w, 0, sizeof(worker_t))
        w.epoll_fd = w.timer_fd = w.log_fd = -1
        self.shared = shared
        self.generations = []
        w.shared = &shared.view
        w.slot = worker
        if worker >= shared.view.workers:
            raise ValueError(f"no slot for worker {worker} in this shared memory")
        w.stats = shared_worker(w.shared, worker)
        w.shared.limiter.evictions = &w.stats.limiter_evictions
        w.secret.low = shared.view.secret[0]
        w.secret.high = shared.view.secret[1]
        w.random = int.from_bytes(os.urandom(8), "little")
        w.http1_server = &HTTP1_SERVER
        w.http1_client = &HTTP1_CLIENT
        w.http2_server = &HTTP2_SERVER
        w.http2_client = &HTTP2_CLIENT
        w.tcp_server = &TCP_SERVER
        w.tcp_client = &TCP_CLIENT
        w.endpoints = <endpoint_t**>calloc(SHARED_ENDPOINTS_MAX, sizeof(endpoint_t*))
        w.scratch_headers = <header_t*>malloc(SCRATCH_HEADERS * sizeof(header_t))
        w.scratch_text = <char*>malloc(SCRATCH_BYTES)
        w.log = <char*>malloc(LOG_ROOM_BYTES)
        w.scratch = buffer_take(w, SCRATCH_BYTES)
        if w.endpoints == NULL or w.scratch == NULL or w.log == NULL:
            raise MemoryError()
        if w.scratch_headers == NULL or w.scratch_text == NULL:
            raise MemoryError()
        self.open_descriptors()
        rounds_read_time(w)
        wheel_init(&w.wheel, w.now_ms)
        w.armed_ms = UINT64_MAX
        w.unix_offset_ns = clock_ns(CLOCK_REALTIME) - w.now_ns
        w.heartbeat.kind = TIMER_HEARTBEAT
        wheel_set(&w.wheel, &w.heartbeat.node, w.now_ms)
        w.stats.pid = os.getpid()
        w.stats.started_ns = w.stats.heartbeat_ns = w.now_ns
        rounds_arm(w)
        self.is_open = True

    cdef int open_descriptors(self) except -1:
        cdef epoll_event event
        cdef worker_t* w = &self.worker
        w.epoll_fd = epoll_create1(EPOLL_CLOEXEC)
        w.timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)
        if w.epoll_fd < 0 or w.timer_fd < 0:
            raise OSError(errno, "the engine's descriptors could not be opened")
        w.timer_source = SOURCE_TIMER
        event.events = EPOLLIN
        event.data.ptr = &w.timer_source
        if epoll_ctl(w.epoll_fd, EPOLL_CTL_ADD, w.timer_fd, &event) < 0:
            raise OSError(errno, os.strerror(errno))
        return 0

    def __dealloc__(self):
        self.release()
        free(self.worker.scratch)       # not NULL only if the engine was never opened
        free(self.worker.scratch_headers)
        free(self.worker.scratch_text)
        free(self.worker.log)
        free(self.worker.records)
        free(self.worker.endpoints)     # tables that were begun and never installed used them until now

    def fileno(self):
        return self.worker.epoll_fd

    cdef int check_open(self) except -1:
        if not self.is_open:
            raise RuntimeError("the engine is closed")
        return 0

    def run(self):
        if not self.is_open:
            return
        with nogil:
            rounds_run(&self.worker)
        if len(self.generations) > 1:
            self.drop_old_tables()

    # ---- tables

    def begin(self, snapshot, credentials=None):
        self.check_open()
        return tables_begin(self, &self.worker, snapshot, credentials)

    def install(self, Tables tables):
        self.check_open()
        if not tables.is_complete or tables.worker != &self.worker:
            raise ValueError("these tables are not complete")
        self.generations.append(tables)
        self.worker.tables = tables.ptr
        listeners_bind(&self.worker)
        self.worker.stats.snapshot = int(tables.snapshot.version[:16] or "0", 16)
        self.retire_endpoints()
        self.drop_old_tables()

    cdef int retire_endpoints(self) except -1:
        """Endpoints that the present tables do not name keep no connection."""
        cdef uint32_t i, j
        cdef uint32_t count = self.worker.tables.service_count
        cdef service_entry_t* service
        self.worker.generation += 1
        for i in range(count):
            service = &self.worker.tables.services[i]
            for j in range(service.endpoint_count):
                service.endpoints[j].generation = self.worker.generation
                service.endpoints[j].is_gone = 0
        for i in range(SHARED_ENDPOINTS_MAX):
            if self.worker.endpoints[i] != NULL and self.worker.endpoints[i].generation != self.worker.generation:
                retire(&self.worker, self.worker.endpoints[i])
        rounds_settle(&self.worker)
        return 0

    cdef int drop_old_tables(self) except -1:
        cdef Tables tables
        kept = []
        for one in self.generations:
            tables = one
            if tables.ptr == self.worker.tables or tables.ptr.references > 0:
                kept.append(tables)
        self.generations = kept
        return 0

    def update_endpoints(self, uint32_t service_id, tuple endpoints):
        cdef Tables tables
        cdef uint32_t i
        self.check_open()
        if not self.generations:
            return
        tables = self.generations[len(self.generations) - 1]
        for i in range(tables.ptr.service_count):
            if tables.ptr.services[i].id == service_id:
                tables.replace_endpoints(i, endpoints)
                self.retire_endpoints()

    # ---- listeners

    def add_listener(self, uint32_t listener_id, int fd):
        cdef int result
        self.check_open()
        cdef bint is_known = False
        if self.generations:
            listeners = self.generations[len(self.generations) - 1].snapshot.listeners
            is_known = any(one.id == listener_id for one in listeners)
        if not is_known:
            raise ValueError(f"listener {listener_id} is not in the tables")
        rounds_read_time(&self.worker)
        result = listener_add(&self.worker, listener_id, fd)
        if result < 0:
            raise OSError(-result, os.strerror(-result))

    def remove_listener(self, uint32_t listener_id, uint64_t deadline_ms):
        cdef listener_t* listener = listener_find(&self.worker, listener_id)
        self.check_open()
        rounds_read_time(&self.worker)
        if listener != NULL:
            listener_remove(listener, deadline_ms)
        rounds_settle(&self.worker)

    def drain(self, uint64_t deadline_ms):
        cdef listener_t* listener = self.worker.listeners
        self.check_open()
        rounds_read_time(&self.worker)
        self.worker.is_draining = 1
        while listener != NULL:
            if not listener.is_removed:
                listener_remove(listener, deadline_ms)
            listener = listener.next
        rounds_settle(&self.worker)

    # ---- the rest

    def set_access_log(self, int fd):
        self.check_open()
        if self.worker.log_fd >= 0:
            log_flush(&self.worker)
            close(self.worker.log_fd)
        self.worker.log_fd = fd

    def live(self):
        cdef int i
        return {LIVE_KINDS[i]: self.worker.stats.live[i] for i in range(LIVE_KIND_COUNT)}

    def close(self):
        self.release()

    cdef void release(self) noexcept:
        cdef worker_t* w = &self.worker
        cdef connection_t* connection
        cdef listener_t* listener
        if not self.is_open:
            return
        self.is_open = False
        w.is_draining = 1
        while w.connections != NULL:
            connection = w.connections
            connection.events.on_broken(connection, 0)
        listener = w.listeners
        while listener != NULL:
            if not listener.is_removed:
                listener_remove(listener, 0)
            listener = listener.next
        while w.ready != NULL:
            w.ready.in_ready = 0
            w.ready = w.ready.next_ready
        rounds_settle(w)
        self.generations.clear()
        w.tables = NULL
        log_flush(w)
        if w.log_fd >= 0:
            close(w.log_fd)
            w.log_fd = -1
        buffer_give(w, w.scratch)
        w.scratch = NULL
        http2_streams_free_all(w)
        buffers_free_all(w)
        exchanges_free_all(w)
        close(w.epoll_fd)
        close(w.timer_fd)
        w.epoll_fd = w.timer_fd = -1


cdef void retire(worker_t* worker, endpoint_t* endpoint) noexcept nogil:
    endpoint_hold(endpoint)             # closing its last connection may free it
    endpoint_retire(worker, endpoint)
    endpoint_release(worker, endpoint)
