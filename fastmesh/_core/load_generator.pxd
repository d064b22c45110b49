"""An HTTP/1.1 load generator: an epoll loop of its own that runs without the GIL, a slice of time at a time.

Open loop: request k is meant to start at `start + k / rate`, whether or not the ones before it were answered, and its
latency counts from that moment. While every connection is busy the requests wait; since their times are known they
need no queue: `next` is all of it.
"""

from libc.stdint cimport uint32_t, uint64_t
from fastmesh._core.latency_histogram cimport LatencyHistogram
from fastmesh._core.load_connection cimport load_connection_t, load_work_t

cdef class LoadGenerator:
    cdef load_work_t work
    cdef load_connection_t* connections  # owned
    cdef char* heads                    # owned; of all connections
    cdef uint32_t* idle                 # owned; ring of idle connections, first in first out
    cdef uint32_t connection_count
    cdef uint32_t idle_first
    cdef uint32_t idle_count
    cdef int timer                      # timerfd: the next intended start
    cdef bytes request                  # keeps work.request alive
    cdef bint finished
    cdef double rate                    # requests a second; 0: closed loop
    cdef uint64_t warmup_ns
    cdef uint64_t duration_ns
    cdef uint64_t timeout_ns
    cdef uint64_t start_ns              # 0: not begun
    cdef uint64_t measure_ns            # requests meant for an earlier moment are not counted
    cdef uint64_t end_ns
    cdef uint64_t last_ns               # the last response that counts
    cdef uint64_t next                  # index of the next request
    cdef uint64_t sweep_ns              # when deadlines are looked at next
    cdef uint64_t failures[4]           # by load_outcome_t
    cdef uint64_t answers[6]            # by status class
    cdef uint64_t unsent_count
    cdef readonly LatencyHistogram latency
    cdef readonly LatencyHistogram delay

    cdef uint64_t _intended(self, uint64_t index) noexcept nogil
    cdef uint64_t _due_before(self, uint64_t moment_ns) noexcept nogil
    cdef bint _step(self, uint64_t slice_end_ns) noexcept nogil
    cdef void _assign(self, uint64_t now) noexcept nogil
    cdef void _arm_timer(self, uint64_t now) noexcept nogil
    cdef void _conclude(self, load_connection_t* connection, int outcome) noexcept nogil
    cdef void _sweep(self, uint64_t now) noexcept nogil
    cdef void _finish(self, uint64_t now) noexcept nogil
