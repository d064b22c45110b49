"""The load generator: a schedule, a loop over its connections, and the counting."""

import os

cimport cython
from libc.errno cimport errno
from libc.stdlib cimport calloc, free
from fastmesh._core.headers cimport (METHOD_CONNECT, METHOD_DELETE, METHOD_GET, METHOD_HEAD, METHOD_OPTIONS,
                                     METHOD_OTHER, METHOD_PATCH, METHOD_POST, METHOD_PUT, METHOD_TRACE, header_t)
from fastmesh._core.latency_histogram cimport LatencyHistogram, latency_record
from fastmesh._core.load_connection cimport (LOAD_BODY_READ_BYTES, LOAD_COMPLETE, LOAD_CONNECT_FAILED,
                                             LOAD_HEAD_MAX_BYTES, LOAD_HEADER_MAX_COUNT, LOAD_IDLE, LOAD_MALFORMED,
                                             LOAD_PENDING, LOAD_RESET, LOAD_TIMEOUT, load_begin, load_close,
                                             load_connection_t, load_handle, load_release)
from fastmesh._core.sockets cimport (AF_INET, AF_INET6, CLOCK_MONOTONIC, EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLLET,
                                     EPOLLIN, TFD_CLOEXEC, TFD_NONBLOCK, TFD_TIMER_ABSTIME, clock_ns,
                                     close as close_fd, epoll_create1, epoll_ctl, epoll_event, epoll_wait, itimerspec,
                                     timerfd_create, timerfd_settime)

cdef extern from "<netinet/in.h>" nogil:
    struct in_addr:
        pass
    struct in6_addr:
        pass
    struct sockaddr_in:
        unsigned short sin_family
        unsigned short sin_port
        in_addr sin_addr
    struct sockaddr_in6:
        unsigned short sin6_family
        unsigned short sin6_port
        in6_addr sin6_addr
    unsigned short htons(unsigned short value)

cdef extern from "<arpa/inet.h>" nogil:
    int inet_pton(int family, const char* text, void* address)

cdef enum:
    CONNECTIONS_MAX = 50000
    EVENTS_AT_ONCE = 256
    SWEEP_NS = 20_000_000
    LATE_NS = 100_000_000           # a request due before the end may still be sent this long after it
    UNSENT_SAMPLES = 100_000
    TIMER_KEY = 0x7FFFFFFF          # in place of a connection's index

_METHODS = {
    "GET": METHOD_GET, "HEAD": METHOD_HEAD, "POST": METHOD_POST, "PUT": METHOD_PUT, "DELETE": METHOD_DELETE,
    "PATCH": METHOD_PATCH, "OPTIONS": METHOD_OPTIONS, "CONNECT": METHOD_CONNECT, "TRACE": METHOD_TRACE,
}


cdef inline uint64_t now_ns() noexcept nogil:
    return clock_ns(CLOCK_MONOTONIC)


@cython.final
cdef class LoadGenerator:
    def __cinit__(self):
        self.work.epoll = -1
        self.timer = -1
        self.latency = LatencyHistogram()
        self.delay = LatencyHistogram()

    def __init__(self, str host, int port, bytes request, *, str method="GET", int connections=64,
                 double rate=0.0, double duration_s=10.0, double warmup_s=0.0, double timeout_s=10.0,
                 bint close=False):
        if self.connections != NULL:
            raise ValueError("a generator is made once")
        if not 1 <= connections <= CONNECTIONS_MAX:
            raise ValueError(f"connections must be between 1 and {CONNECTIONS_MAX}, not {connections}")
        if not 0.0 <= rate <= 1e7:
            raise ValueError(f"rate must be between 0 and 10,000,000 requests a second, not {rate}")
        if not (0.0 < duration_s <= 86400 and 0.0 <= warmup_s <= 86400 and 0.0 < timeout_s <= 3600):
            raise ValueError("durations must be positive, and at most a day; the timeout at most an hour")
        self._set_address(host, port)
        self.request = request
        self.work.request = request
        self.work.request_bytes = len(request)
        self.work.method_id = _METHODS.get(method, METHOD_OTHER)
        self.work.close_each = close
        self.work.limits.start_line_max_bytes = LOAD_HEAD_MAX_BYTES
        self.work.limits.head_max_bytes = LOAD_HEAD_MAX_BYTES
        self.work.limits.header_max_count = LOAD_HEADER_MAX_COUNT
        self.rate = rate
        self.duration_ns = <uint64_t>(duration_s * 1e9)
        self.warmup_ns = <uint64_t>(warmup_s * 1e9)
        self.timeout_ns = <uint64_t>(timeout_s * 1e9)
        self._allocate(<uint32_t>connections)

    def _set_address(self, str host, int port):
        cdef sockaddr_in* v4 = <sockaddr_in*>&self.work.address
        cdef sockaddr_in6* v6 = <sockaddr_in6*>&self.work.address
        cdef bytes text = host.encode()
        if not 1 <= port <= 65535:
            raise ValueError(f"port must be between 1 and 65535, not {port}")
        if inet_pton(AF_INET, text, &v4.sin_addr) == 1:
            v4.sin_family = AF_INET
            v4.sin_port = htons(<unsigned short>port)
            self.work.address_bytes = sizeof(sockaddr_in)
        elif inet_pton(AF_INET6, text, &v6.sin6_addr) == 1:
            v6.sin6_family = AF_INET6
            v6.sin6_port = htons(<unsigned short>port)
            self.work.address_bytes = sizeof(sockaddr_in6)
        else:
            raise ValueError(f"host must be an IP address, not {host!r}")

    def _allocate(self, uint32_t count):
        cdef uint32_t index
        cdef epoll_event event
        self.connections = <load_connection_t*>calloc(count, sizeof(load_connection_t))
        self.heads = <char*>calloc(count, LOAD_HEAD_MAX_BYTES)
        self.idle = <uint32_t*>calloc(count, sizeof(uint32_t))
        self.work.scratch = <char*>calloc(1, LOAD_BODY_READ_BYTES)
        self.work.head.headers = <header_t*>calloc(LOAD_HEADER_MAX_COUNT, sizeof(header_t))
        self.work.head.capacity = LOAD_HEADER_MAX_COUNT
        if not (self.connections and self.heads and self.idle and self.work.scratch and self.work.head.headers):
            raise MemoryError
        self.connection_count = count
        for index in range(count):
            self.connections[index].fd = -1
            self.connections[index].index = index
            self.connections[index].head = self.heads + <size_t>index * LOAD_HEAD_MAX_BYTES
            self.idle[index] = index
        self.idle_count = count
        self.work.epoll = epoll_create1(EPOLL_CLOEXEC)
        self.timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)
        # Edge-triggered: an expiry wakes the loop once, though nobody reads the timer.
        event.events = EPOLLIN | EPOLLET
        event.data.u64 = TIMER_KEY
        if self.work.epoll < 0 or self.timer < 0 or epoll_ctl(self.work.epoll, EPOLL_CTL_ADD, self.timer, &event) < 0:
            raise OSError(errno, os.strerror(errno))

    def __dealloc__(self):
        cdef uint32_t index
        for index in range(self.connection_count):
            load_close(&self.connections[index])
            load_release(&self.connections[index], &self.work, LOAD_RESET)
        if self.timer >= 0:
            close_fd(self.timer)
        if self.work.epoll >= 0:
            close_fd(self.work.epoll)
        free(self.work.head.headers)
        free(self.work.scratch)
        free(self.idle)
        free(self.heads)
        free(self.connections)

    def run(self, double slice_s=0.1):
        cdef uint64_t slice_end
        with nogil:
            slice_end = now_ns() + <uint64_t>(min(max(slice_s, 0.0), 60.0) * 1e9)
            while not self.finished and self._step(slice_end):
                pass
        return self.finished

    def stop(self):
        cdef uint64_t now = now_ns()
        if self.start_ns == 0 or self.finished:
            self.finished = True
            return
        self.end_ns = min(self.end_ns, now)
        self._finish(now)

    def close(self):
        cdef uint32_t index
        self.stop()
        for index in range(self.connection_count):
            load_close(&self.connections[index])

    @property
    def errors(self):
        return {"connect": self.failures[<int>LOAD_CONNECT_FAILED], "reset": self.failures[<int>LOAD_RESET],
                "timeout": self.failures[<int>LOAD_TIMEOUT], "malformed": self.failures[<int>LOAD_MALFORMED]}

    @property
    def statuses(self):
        return {f"{kind}xx": self.answers[kind] for kind in range(1, 6)}

    @property
    def responses(self):
        cdef uint64_t total = 0
        cdef int kind
        for kind in range(6):
            total += self.answers[kind]
        return total

    @property
    def unsent(self):
        return self.unsent_count

    @property
    def received_bytes(self):
        return self.work.received_bytes

    @property
    def connected(self):
        cdef uint32_t index
        cdef uint32_t count = 0
        for index in range(self.connection_count):
            count += self.connections[index].fd >= 0
        return count

    @property
    def connect_error(self):
        return os.strerror(self.work.connect_errno) if self.work.connect_errno else ""

    @property
    def elapsed_s(self):
        cdef uint64_t now = now_ns()
        return (now - self.start_ns) / 1e9 if self.start_ns else 0.0

    @property
    def measured_s(self):
        cdef uint64_t now = now_ns()
        if self.start_ns == 0 or now <= self.measure_ns:
            return 0.0
        return (max(min(now, self.end_ns), self.last_ns, self.measure_ns) - self.measure_ns) / 1e9

    cdef uint64_t _intended(self, uint64_t index) noexcept nogil:
        return self.start_ns + <uint64_t>(<double>index * 1e9 / self.rate)

    cdef uint64_t _due_before(self, uint64_t moment_ns) noexcept nogil:
        """How many requests are meant to start before a moment."""
        cdef double exact = <double>(moment_ns - self.start_ns) * self.rate / 1e9
        cdef uint64_t count = <uint64_t>exact
        return count + (<double>count < exact)

    cdef bint _step(self, uint64_t slice_end_ns) noexcept nogil:
        """One turn of the loop; False when the slice or the run is over."""
        cdef epoll_event events[EVENTS_AT_ONCE]
        cdef uint64_t now = now_ns()
        cdef uint64_t wake
        cdef load_connection_t* connection
        cdef int count, position
        if self.start_ns == 0:
            self.start_ns = now
            self.measure_ns = now + self.warmup_ns
            self.end_ns = self.measure_ns + self.duration_ns
        self._assign(now)
        if now >= self.sweep_ns:
            self._sweep(now)
        if now >= self.end_ns and self.idle_count == self.connection_count:
            self._finish(now)
            return False
        if now >= slice_end_ns:
            return False
        self._arm_timer(now)
        wake = min(slice_end_ns, self.sweep_ns)
        if now < self.end_ns:
            wake = min(wake, self.end_ns)
        wake = (max(wake, now) - now + 999_999) // 1_000_000
        count = epoll_wait(self.work.epoll, events, EVENTS_AT_ONCE, <int>wake)
        if count < 0:
            return False            # EINTR: Python looks at the signal
        for position in range(count):
            if events[position].data.u64 != TIMER_KEY:
                connection = &self.connections[events[position].data.u64]
                self._conclude(connection, load_handle(connection, &self.work, events[position].events))
        return True

    cdef void _assign(self, uint64_t now) noexcept nogil:
        """Give idle connections the requests that are due."""
        cdef uint32_t room = self.idle_count
        cdef load_connection_t* connection
        cdef uint64_t intended = now
        if self.rate > 0 and now >= self.measure_ns:
            # What the warm-up left unsent is forgotten: the measured window starts without a queue.
            self.next = max(self.next, self._due_before(self.measure_ns))
        while room > 0 and now < self.end_ns + (LATE_NS if self.rate > 0 else 0):
            if self.rate > 0:
                intended = self._intended(self.next)
                if intended > now or intended >= self.end_ns:
                    return
            connection = &self.connections[self.idle[self.idle_first]]
            self.idle_first = (self.idle_first + 1) % self.connection_count
            self.idle_count -= 1
            self.next += 1
            room -= 1
            connection.intended_ns = intended
            connection.deadline_ns = now + self.timeout_ns
            if intended >= self.measure_ns:
                latency_record(&self.delay.data, now - intended, 1)
            self._conclude(connection, load_begin(connection, &self.work))

    cdef void _arm_timer(self, uint64_t now) noexcept nogil:
        """Wake at the next intended start; with no idle connection the next response wakes us instead."""
        cdef itimerspec when
        cdef uint64_t intended
        if self.rate <= 0 or self.idle_count == 0:
            return
        intended = self._intended(self.next)
        if intended >= self.end_ns:
            return
        intended = max(intended, now + 1)
        when.it_interval.tv_sec = 0
        when.it_interval.tv_nsec = 0
        when.it_value.tv_sec = intended // 1_000_000_000
        when.it_value.tv_nsec = intended % 1_000_000_000
        timerfd_settime(self.timer, TFD_TIMER_ABSTIME, &when, NULL)

    cdef void _conclude(self, load_connection_t* connection, int outcome) noexcept nogil:
        """Count a request that is over, and put its connection back to the idle ones."""
        cdef uint64_t now
        if outcome == LOAD_PENDING:
            return
        if connection.intended_ns >= self.measure_ns:
            now = now_ns()
            if outcome == LOAD_COMPLETE:
                self.answers[min(connection.status // 100, 5)] += 1
                self.last_ns = now
            else:
                self.failures[outcome] += 1
            if outcome == LOAD_COMPLETE or outcome == LOAD_TIMEOUT:
                latency_record(&self.latency.data, now - connection.intended_ns, 1)
        load_release(connection, &self.work, outcome)
        self.idle[(self.idle_first + self.idle_count) % self.connection_count] = connection.index
        self.idle_count += 1

    cdef void _sweep(self, uint64_t now) noexcept nogil:
        cdef uint32_t index
        self.sweep_ns = now + SWEEP_NS
        for index in range(self.connection_count):
            if self.connections[index].state != LOAD_IDLE and self.connections[index].deadline_ns <= now:
                self._conclude(&self.connections[index], LOAD_TIMEOUT)

    cdef void _finish(self, uint64_t now) noexcept nogil:
        """Requests that were due and found no connection count with the time that they have waited: a lower bound."""
        cdef uint64_t first, last, step, index, weight
        self.finished = True
        if self.rate <= 0:
            return
        first = max(self.next, self._due_before(self.measure_ns))
        last = self._due_before(self.end_ns)
        if last <= first:
            return
        self.unsent_count = last - first
        step = self.unsent_count // UNSENT_SAMPLES + 1
        index = first
        while index < last:
            weight = min(step, last - index)
            if now > self._intended(index):
                latency_record(&self.latency.data, now - self._intended(index), weight)
            index += step
