"""Byte buffers of a few sizes, recycled within a worker."""

from libc.stdint cimport uint32_t, uint64_t
from fastmesh._core.live cimport buffer_t, worker_t

cdef extern from *:
    """
    /* Under AddressSanitizer nothing is kept for reuse, so that it sees every use after the end. */
    #ifdef __SANITIZE_ADDRESS__
    #define FASTMESH_KEEPS_MEMORY 0
    #else
    #define FASTMESH_KEEPS_MEMORY 1
    #endif
    """
    const bint KEEPS_MEMORY "FASTMESH_KEEPS_MEMORY"

cdef inline char* buffer_data(buffer_t* buffer) noexcept nogil:
    return <char*>(buffer + 1)

cdef inline uint32_t buffer_room(const buffer_t* buffer) noexcept nogil:
    return buffer.capacity - buffer.end

# A buffer of at least `size` bytes, or NULL: no memory, or larger than the largest class.
cdef buffer_t* buffer_take(worker_t* worker, size_t size) noexcept nogil
cdef void buffer_give(worker_t* worker, buffer_t* buffer) noexcept nogil
cdef void buffers_free_all(worker_t* worker) noexcept nogil
