"""Byte buffers of a few sizes, recycled within a worker: last given is first taken, so it is still in the cache."""

from libc.stdlib cimport free, malloc

from fastmesh._core.live cimport BUFFER_CLASSES, LIVE_BUFFER

cdef uint32_t[4] CAPACITY = [2048, 16384, 65536, 262144]
# How many of each class are kept for reuse: 8 MiB + 4 MiB + 2 MiB + 4 MiB at the most.
cdef uint32_t[4] KEPT = [4096, 256, 32, 16]


cdef buffer_t* buffer_take(worker_t* worker, size_t size) noexcept nogil:
    cdef int size_class
    cdef buffer_t* buffer
    for size_class in range(BUFFER_CLASSES):
        if size <= CAPACITY[size_class]:
            break
    else:
        return NULL
    buffer = worker.free_buffers[size_class]
    if buffer != NULL:
        worker.free_buffers[size_class] = buffer.next
        worker.free_counts[size_class] -= 1
    else:
        buffer = <buffer_t*>malloc(sizeof(buffer_t) + CAPACITY[size_class])
        if buffer == NULL:
            return NULL
        buffer.capacity = CAPACITY[size_class]
        buffer.size_class = <unsigned char>size_class
    buffer.next = NULL
    buffer.begin = 0
    buffer.end = 0
    worker.stats.live[LIVE_BUFFER] += 1
    worker.stats.buffer_bytes += buffer.capacity
    return buffer


cdef void buffer_give(worker_t* worker, buffer_t* buffer) noexcept nogil:
    cdef int size_class = buffer.size_class
    worker.stats.live[LIVE_BUFFER] -= 1
    worker.stats.buffer_bytes -= buffer.capacity
    if not KEEPS_MEMORY or worker.free_counts[size_class] >= KEPT[size_class]:
        free(buffer)
        return
    buffer.next = worker.free_buffers[size_class]
    worker.free_buffers[size_class] = buffer
    worker.free_counts[size_class] += 1


cdef void buffers_free_all(worker_t* worker) noexcept nogil:
    """Free those kept for reuse; those taken belong to their takers."""
    cdef int size_class
    cdef buffer_t* buffer
    for size_class in range(BUFFER_CLASSES):
        while worker.free_buffers[size_class] != NULL:
            buffer = worker.free_buffers[size_class]
            worker.free_buffers[size_class] = buffer.next
            free(buffer)
        worker.free_counts[size_class] = 0
