"""Log-linear histograms of durations: powers of two with four sub-buckets, at most 25% wide.

A histogram is an array of HISTOGRAM_BUCKETS counters in microseconds: it can lie in shared memory, and adding two is
adding their counters. Maps to Prometheus classic and native, and to OTLP exponential histograms of scale 2.
"""

from libc.stdint cimport uint32_t, uint64_t

cdef extern from *:
    # The bit length of a word that is not 0.
    """
    #define fastmesh_bit_length(word) (64 - __builtin_clzll(word))
    """
    uint32_t bit_length "fastmesh_bit_length" (uint64_t word) noexcept nogil

cdef enum:
    HISTOGRAM_BUCKETS = 96              # [0, 16) us, then 4 a power of two up to 1.5 * 2^27 us (201 s), then all above
    HISTOGRAM_FIRST_BITS = 4            # the first bucket ends at 2^4 us


# The bucket of a duration.
cdef inline uint32_t histogram_index(uint64_t duration_us) noexcept nogil:
    cdef uint32_t octave, found
    if duration_us < (1 << HISTOGRAM_FIRST_BITS):
        return 0
    octave = bit_length(duration_us) - 1
    # The two bits behind the leading one are the sub-bucket.
    found = 1 + ((octave - HISTOGRAM_FIRST_BITS) << 2) + (<uint32_t>(duration_us >> (octave - 2)) & 3)
    return found if found < HISTOGRAM_BUCKETS else HISTOGRAM_BUCKETS - 1


# Count a duration. The counters have one writer.
cdef inline void histogram_record(uint64_t* counts, uint64_t duration_us) noexcept nogil:
    counts[histogram_index(duration_us)] += 1
