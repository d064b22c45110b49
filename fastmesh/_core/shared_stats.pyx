"""Words of shared memory as Python objects. Their order is that of the structs in shared.pxd; tests hold it so."""

cimport cython
from fastmesh._core.histogram cimport HISTOGRAM_BUCKETS

cdef enum:
    STATUS_CLASSES = 6
    REASONS = 32
    LIVE_KINDS = 16
    TLS_FAILURES = 7
    ATTACKS = 12
    UPSTREAM_AT = HISTOGRAM_BUCKETS + 1
    COUNTERS_AT = 2 * (HISTOGRAM_BUCKETS + 1)


cdef tuple counters(const uint64_t* words, int count):
    return tuple([words[place] for place in range(count)])


@cython.final
cdef class SeriesStats:
    pass


@cython.final
cdef class ServiceStats:
    pass


@cython.final
cdef class EndpointStats:
    pass


@cython.final
cdef class ListenerStats:
    pass


@cython.final
cdef class WorkerStats:
    pass


cdef SeriesStats series_stats(const uint64_t* words):
    cdef SeriesStats stats = SeriesStats.__new__(SeriesStats)
    stats.requests = counters(words, STATUS_CLASSES)
    stats.reasons = counters(words + STATUS_CLASSES, REASONS)
    stats.bytes_in = words[STATUS_CLASSES + REASONS]
    stats.bytes_out = words[STATUS_CLASSES + REASONS + 1]
    return stats


cdef ServiceStats service_stats(const uint64_t* words):
    cdef ServiceStats stats = ServiceStats.__new__(ServiceStats)
    stats.duration_us = counters(words, HISTOGRAM_BUCKETS)
    stats.duration_sum_us = words[HISTOGRAM_BUCKETS]
    stats.upstream_us = counters(words + UPSTREAM_AT, HISTOGRAM_BUCKETS)
    stats.upstream_sum_us = words[UPSTREAM_AT + HISTOGRAM_BUCKETS]
    stats.connects = words[COUNTERS_AT]
    stats.connect_failures = words[COUNTERS_AT + 1]
    stats.reuses = words[COUNTERS_AT + 2]
    stats.retries = words[COUNTERS_AT + 3]
    stats.panics = words[COUNTERS_AT + 4]
    stats.active = <int64_t>words[COUNTERS_AT + 5]
    return stats


cdef EndpointStats endpoint_stats(const uint64_t* words):
    cdef EndpointStats stats = EndpointStats.__new__(EndpointStats)
    stats.requests = words[0]
    stats.failures = words[1]
    stats.connect_failures = words[2]
    stats.active = <int64_t>words[3]
    stats.connections = <int64_t>words[4]
    stats.idle = <int64_t>words[5]
    stats.ewma_us = words[6]
    return stats


cdef ListenerStats listener_stats(const uint64_t* words):
    cdef ListenerStats stats = ListenerStats.__new__(ListenerStats)
    stats.accepted = words[0]
    stats.refused = words[1]
    stats.connections = <int64_t>words[2]
    stats.bytes_in = words[3]
    stats.bytes_out = words[4]
    stats.handshakes = words[5]
    stats.handshakes_resumed = words[6]
    stats.tls_failures = counters(words + 7, TLS_FAILURES)
    return stats


cdef WorkerStats worker_stats(uint32_t worker, const uint64_t* words):
    cdef WorkerStats stats = WorkerStats.__new__(WorkerStats)
    stats.worker = worker
    stats.pid = words[0]
    stats.started_ns = words[1]
    stats.heartbeat_ns = words[2]
    stats.snapshot = words[3]
    stats.wakes = words[4]
    stats.events = words[5]
    stats.log_lines = words[6]
    stats.log_dropped = words[7]
    stats.limiter_evictions = words[8]
    stats.http2_attacks = tuple([words[9 + kind] for kind in range(ATTACKS)])
    stats.buffer_bytes = words[21]
    stats.live = tuple([<int64_t>words[22 + kind] for kind in range(LIVE_KINDS)])
    return stats
