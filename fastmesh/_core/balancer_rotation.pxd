"""round_robin: smooth and weighted, so that every endpoint comes up at even distances."""

from libc.stdint cimport uint32_t, uint64_t
from fastmesh._core.balancer cimport load_t, subset_t

cdef enum:
    ROTATION_SCAN_MAX = 16      # up to here a scan over all beats a heap (measured)

cdef int rotation_new(subset_t* subset) noexcept nogil
cdef void rotation_free(subset_t* subset) noexcept nogil
# An endpoint became available. Random, so that workers and reloads do not all begin with the same endpoint.
cdef void rotation_admit(subset_t* subset, uint32_t position, uint64_t* random) noexcept nogil
# After all were admitted.
cdef void rotation_ready(subset_t* subset, uint64_t* random) noexcept nogil
cdef uint32_t rotation_pick(subset_t* subset, const load_t* avoid) noexcept nogil
