"""The Python face of the histograms: bounds, quantiles, sums. Recording is inline in histogram.pxd."""

BUCKETS = HISTOGRAM_BUCKETS


def index(uint64_t duration_us):
    return histogram_index(duration_us)


cdef double lower_bound(uint32_t bucket) noexcept nogil:
    """The first duration, in microseconds, that falls into a bucket."""
    cdef uint32_t step
    if bucket == 0:
        return 0.0
    step = bucket - 1
    return <double>(<uint64_t>(4 + (step & 3)) << ((step >> 2) + HISTOGRAM_FIRST_BITS - 2))


def bounds():
    return (*[lower_bound(bucket + 1) for bucket in range(HISTOGRAM_BUCKETS - 1)], float("inf"))


def merge(histograms):
    cdef uint64_t total[HISTOGRAM_BUCKETS]
    cdef int bucket
    for bucket in range(HISTOGRAM_BUCKETS):
        total[bucket] = 0
    for counts in histograms:
        check_length(counts)
        for bucket in range(HISTOGRAM_BUCKETS):
            total[bucket] += <uint64_t>counts[bucket]
    return [total[bucket] for bucket in range(HISTOGRAM_BUCKETS)]


def quantile(counts, double q):
    cdef int bucket
    cdef double wanted, below = 0.0, count, lower
    check_length(counts)
    if not 0.0 <= q <= 1.0:
        raise ValueError(f"a quantile lies between 0 and 1, not at {q}")
    wanted = q * sum(counts)
    if not any(counts):
        return float("nan")
    for bucket in range(HISTOGRAM_BUCKETS - 1):
        count = counts[bucket]
        if count > 0 and below + count >= wanted:
            lower = lower_bound(bucket)
            return lower + (lower_bound(bucket + 1) - lower) * (wanted - below) / count
        below += count
    return lower_bound(HISTOGRAM_BUCKETS - 1)


cdef int check_length(counts) except -1:
    if len(counts) != HISTOGRAM_BUCKETS:
        raise ValueError(f"a histogram has {HISTOGRAM_BUCKETS} counters, not {len(counts)}")
    return 0
