"""Request ids: random UUIDs (RFC 9562 version 4) in text."""

from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy

from fastmesh._core.hashing cimport splitmix64

cdef extern from *:
    uint64_t swap_bytes "__builtin_bswap64" (uint64_t value) noexcept nogil


cdef inline void hex8(uint32_t value, char* out) noexcept nogil:
    """Eight hexadecimal digits at once: each nibble is spread into a byte of its own, then made a letter."""
    cdef uint64_t x = value
    x = (x & <uint64_t>0xFFFF) | (x & <uint64_t>0xFFFF0000) << 16
    x = (x & <uint64_t>0x000000FF000000FF) | (x & <uint64_t>0x0000FF000000FF00) << 8
    x = (x & <uint64_t>0x000F000F000F000F) | (x & <uint64_t>0x00F000F000F000F0) << 4
    x = swap_bytes(x)
    # 39: from the character behind "9" to "a"
    x += <uint64_t>0x3030303030303030 + ((x + <uint64_t>0x0606060606060606) >> 4 & <uint64_t>0x0101010101010101) * 39
    memcpy(out, &x, 8)


# Unique, not secret: nobody may take one for a proof of anything.
cdef inline void request_id_write(uint64_t* random, char* out) noexcept nogil:
    cdef uint64_t high = splitmix64(random)
    cdef uint64_t low = splitmix64(random)
    cdef char[32] digits
    hex8(<uint32_t>(high >> 32), digits)
    hex8(<uint32_t>high & <uint32_t>0xFFFF0FFF | <uint32_t>0x4000, digits + 8)
    hex8(<uint32_t>(low >> 32) & <uint32_t>0x3FFFFFFF | <uint32_t>0x80000000, digits + 16)
    hex8(<uint32_t>low, digits + 24)
    memcpy(out, digits, 8)
    out[8] = 45                         # "-"
    memcpy(out + 9, digits + 8, 4)
    out[13] = 45
    memcpy(out + 14, digits + 12, 4)
    out[18] = 45
    memcpy(out + 19, digits + 16, 4)
    out[23] = 45
    memcpy(out + 24, digits + 20, 12)
