"""High-resolution histogram of durations in nanoseconds: 128 sub-buckets a power of two, so at most 0.8% wide.

Finer and larger than `histogram`, which lies in shared memory: this one is for measuring, not for metrics. Sans-IO.
"""

from libc.stdint cimport uint32_t, uint64_t

cdef enum:
    LATENCY_SUB_BITS = 7
    LATENCY_VALUE_BITS = 42             # durations up to 2^42 ns (73 min); longer ones count as that
    LATENCY_BUCKETS = 4608              # (42 - 7 + 1) * 128

cdef struct latency_t:
    uint64_t counts[LATENCY_BUCKETS]
    uint64_t total
    uint64_t sum_ns
    uint64_t min_ns                     # meaningless while total is 0
    uint64_t max_ns

cdef void latency_record(latency_t* histogram, uint64_t duration_ns, uint64_t count) noexcept nogil
# The upper end of the bucket in which the given share (0 to 1) of the durations is reached; 0 when there are none.
cdef uint64_t latency_quantile(const latency_t* histogram, double share) noexcept nogil

cdef class LatencyHistogram:
    cdef latency_t data
