"""What the readers of shared memory hand to Python: the slots of shared.pxd, summed over the workers."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

cdef class SeriesStats:
    cdef readonly tuple requests
    cdef readonly tuple reasons
    cdef readonly uint64_t bytes_in
    cdef readonly uint64_t bytes_out

cdef class ServiceStats:
    cdef readonly tuple duration_us
    cdef readonly uint64_t duration_sum_us
    cdef readonly tuple upstream_us
    cdef readonly uint64_t upstream_sum_us
    cdef readonly uint64_t connects
    cdef readonly uint64_t connect_failures
    cdef readonly uint64_t reuses
    cdef readonly uint64_t retries
    cdef readonly uint64_t panics
    cdef readonly int64_t active

cdef class EndpointStats:
    cdef readonly uint64_t requests
    cdef readonly uint64_t failures
    cdef readonly uint64_t connect_failures
    cdef readonly int64_t active
    cdef readonly int64_t connections
    cdef readonly int64_t idle
    cdef readonly uint64_t ewma_us

cdef class ListenerStats:
    cdef readonly uint64_t accepted
    cdef readonly uint64_t refused
    cdef readonly int64_t connections
    cdef readonly uint64_t bytes_in
    cdef readonly uint64_t bytes_out
    cdef readonly uint64_t handshakes
    cdef readonly uint64_t handshakes_resumed
    cdef readonly tuple tls_failures

cdef class WorkerStats:
    cdef readonly uint32_t worker
    cdef readonly uint64_t pid
    cdef readonly uint64_t started_ns
    cdef readonly uint64_t heartbeat_ns
    cdef readonly uint64_t snapshot
    cdef readonly uint64_t wakes
    cdef readonly uint64_t events
    cdef readonly uint64_t log_lines
    cdef readonly uint64_t log_dropped
    cdef readonly uint64_t limiter_evictions
    cdef readonly tuple http2_attacks
    cdef readonly uint64_t buffer_bytes
    cdef readonly tuple live

# Each takes the words of a slot, as they stand in shared.pxd.
cdef SeriesStats series_stats(const uint64_t* words)
cdef ServiceStats service_stats(const uint64_t* words)
cdef EndpointStats endpoint_stats(const uint64_t* words)
cdef ListenerStats listener_stats(const uint64_t* words)
cdef WorkerStats worker_stats(uint32_t worker, const uint64_t* words)
