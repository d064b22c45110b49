"""Request ids: random UUIDs (RFC 9562 version 4) in text."""

from libc.stdint cimport uint64_t

from fastmesh._core.hashing cimport splitmix64


cdef inline void hex_digits(uint64_t value, int count, char* out) noexcept nogil:
    cdef int i
    cdef int digit
    for i in range(count - 1, -1, -1):
        digit = <int>(value & 15)
        out[i] = <char>(digit + (48 if digit < 10 else 87))     # 0-9, a-f
        value >>= 4


# Unique, not secret: nobody may take one for a proof of anything.
cdef inline void request_id_write(uint64_t* random, char* out) noexcept nogil:
    cdef uint64_t high = splitmix64(random)
    cdef uint64_t low = splitmix64(random)
    hex_digits(high >> 32, 8, out)
    out[8] = 45                        # "-"
    hex_digits(high >> 16 & 0xFFFF, 4, out + 9)
    out[13] = 45                        # "-"
    hex_digits(high & 0x0FFF | 0x4000, 4, out + 14)
    out[18] = 45                        # "-"
    hex_digits(low >> 48 & 0x3FFF | 0x8000, 4, out + 19)
    out[23] = 45                        # "-"
    hex_digits(low & <uint64_t>0xFFFFFFFFFFFF, 12, out + 24)
