"""Counting and reading of high-resolution durations."""

cimport cython

cdef extern from *:
    """
    static inline unsigned fastmesh_top_bit(unsigned long long value) { return 63 - __builtin_clzll(value | 1); }
    """
    unsigned int fastmesh_top_bit(uint64_t value) noexcept nogil


cdef inline uint32_t latency_index(uint64_t duration_ns) noexcept nogil:
    cdef uint64_t value = min(duration_ns, (<uint64_t>1 << LATENCY_VALUE_BITS) - 1)
    cdef uint32_t top = fastmesh_top_bit(value)
    cdef uint32_t shift = top - LATENCY_SUB_BITS if top > LATENCY_SUB_BITS else 0
    return (shift << LATENCY_SUB_BITS) + <uint32_t>(value >> shift)


cdef inline uint64_t latency_upper(uint32_t index) noexcept nogil:
    cdef uint32_t shift
    cdef uint64_t step
    if index < 2 << LATENCY_SUB_BITS:
        return index
    shift = (index >> LATENCY_SUB_BITS) - 1
    step = (index & ((1 << LATENCY_SUB_BITS) - 1)) + (1 << LATENCY_SUB_BITS)
    return ((step + 1) << shift) - 1


cdef void latency_record(latency_t* histogram, uint64_t duration_ns, uint64_t count) noexcept nogil:
    histogram.counts[latency_index(duration_ns)] += count
    if histogram.total == 0 or duration_ns < histogram.min_ns:
        histogram.min_ns = duration_ns
    if duration_ns > histogram.max_ns:
        histogram.max_ns = duration_ns
    histogram.total += count
    histogram.sum_ns += duration_ns * count


cdef uint64_t latency_quantile(const latency_t* histogram, double share) noexcept nogil:
    cdef uint64_t wanted = <uint64_t>(share * <double>histogram.total)
    cdef uint64_t seen = 0
    cdef uint32_t index
    if histogram.total == 0:
        return 0
    if <double>wanted < share * <double>histogram.total:
        wanted += 1
    if wanted == 0:
        wanted = 1
    for index in range(LATENCY_BUCKETS):
        seen += histogram.counts[index]
        if seen >= wanted:
            return min(latency_upper(index), histogram.max_ns)
    return histogram.max_ns


@cython.final
cdef class LatencyHistogram:
    def record(self, uint64_t duration_ns, uint64_t count=1):
        if count > 0:
            latency_record(&self.data, duration_ns, count)

    def quantile_ns(self, double share):
        if not 0.0 <= share <= 1.0:
            raise ValueError(f"share must be between 0 and 1, not {share}")
        return latency_quantile(&self.data, share)

    @property
    def total(self):
        return self.data.total

    @property
    def min_ns(self):
        return self.data.min_ns

    @property
    def max_ns(self):
        return self.data.max_ns

    @property
    def mean_ns(self):
        return self.data.sum_ns / <double>self.data.total if self.data.total else 0.0
