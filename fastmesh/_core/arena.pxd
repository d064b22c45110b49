"""An arena: small allocations that all end together. Inline; no .pyx. Memory comes zeroed and aligned to 16 bytes."""

from libc.stdlib cimport calloc, free

cdef enum:
    ARENA_BLOCK_BYTES = 65536

cdef struct arena_block_t:
    arena_block_t* next
    size_t used
    size_t capacity

cdef struct arena_t:
    arena_block_t* blocks               # owned; the first one is being filled
    size_t total_bytes


# NULL when memory is short.
cdef inline void* arena_take(arena_t* arena, size_t size) noexcept nogil:
    cdef arena_block_t* block = arena.blocks
    cdef size_t head = (sizeof(arena_block_t) + 15) & ~<size_t>15
    cdef size_t capacity
    size = (size + 15) & ~<size_t>15
    if block == NULL or block.capacity - block.used < size:
        capacity = head + size if size + head > ARENA_BLOCK_BYTES else ARENA_BLOCK_BYTES
        block = <arena_block_t*>calloc(1, capacity)
        if block == NULL:
            return NULL
        block.next = arena.blocks
        block.used = head
        block.capacity = capacity
        arena.blocks = block
        arena.total_bytes += capacity
    block.used += size
    return <char*>block + block.used - size


cdef inline void arena_release(arena_t* arena) noexcept nogil:
    cdef arena_block_t* block = arena.blocks
    cdef arena_block_t* following
    while block != NULL:
        following = block.next
        free(block)
        block = following
    arena.blocks = NULL
    arena.total_bytes = 0
