"""Consistent hashing: ring_hash (ketama-like) and maglev. Both keep keys where they are when endpoints come and go."""

from libc.stdint cimport uint32_t, uint64_t
from fastmesh._core.balancer cimport load_t, subset_t

cdef enum:
    RING_POINTS_PER_WEIGHT = 160        # as ketama
    RING_POINTS_MIN = 1024
    RING_POINTS_MAX = 65536             # unless there are more endpoints: each has one point at least
    MAGLEV_SLOTS = 65537                # prime, as in the paper

# NULL or -1: memory is short, or (maglev) there are more endpoints than slots.
cdef int ring_new(subset_t* subset) noexcept nogil
cdef void ring_free(subset_t* subset) noexcept nogil
cdef int maglev_new(subset_t* subset) noexcept nogil
# At least one endpoint is available. The owner of the key's point, or the next one that is available: the keys of all
# others stay where they are.
cdef uint32_t ring_pick(const subset_t* subset, uint64_t key_hash, const load_t* avoid) noexcept nogil
cdef uint32_t maglev_pick(const subset_t* subset, uint64_t key_hash, const load_t* avoid) noexcept nogil
