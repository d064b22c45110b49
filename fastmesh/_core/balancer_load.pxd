"""Weighted draws, and the choice of the better of two: random, least_request, peak_ewma."""

from libc.stdint cimport uint32_t, uint64_t
from fastmesh._core.balancer cimport load_t, subset_t

cdef enum:
    EWMA_START_NS = 30_000_000              # the round trip of an endpoint that nothing is known of
    EWMA_DECAY_NS = 10_000_000_000          # an old figure has lost all but 1/e by then
    EWMA_FAILURE_NS = 1_000_000_000         # a failure counts as a round trip of at least this
    REDRAWS_MAX = 8

cdef int alias_new(subset_t* subset) noexcept nogil
cdef void alias_free(subset_t* subset) noexcept nogil
cdef void alias_rebuild(subset_t* subset) noexcept nogil
# All of them: an index into subset.loads; at least one endpoint is available.
cdef uint32_t random_pick(subset_t* subset, const load_t* avoid, uint64_t* random) noexcept nogil
cdef uint32_t least_request_pick(subset_t* subset, const load_t* avoid, uint64_t* random) noexcept nogil
cdef uint32_t peak_ewma_pick(subset_t* subset, const load_t* avoid, uint64_t* random, uint64_t now_ns) noexcept nogil
# The round trip to expect, decayed to now.
cdef double ewma_at(const load_t* load, uint64_t now_ns) noexcept nogil
cdef void ewma_observe(load_t* load, uint64_t round_trip_ns, bint failed, uint64_t now_ns) noexcept nogil
