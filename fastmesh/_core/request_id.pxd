"""Request ids: random UUIDs (RFC 9562 version 4) in text."""

from libc.stdint cimport uint64_t
from libc.string cimport memcpy

from fastmesh._core.hashing cimport splitmix64

cdef extern from *:
    """
    /* Two words as 32 hexadecimal digits, the highest first. */
    #include <stdint.h>
    #ifdef __SSE2__
    #include <emmintrin.h>
    static inline void request_id_digits(uint64_t high, uint64_t low, char* out) {
        const __m128i mask = _mm_set1_epi8(15);
        const __m128i bytes = _mm_set_epi64x((int64_t)__builtin_bswap64(low), (int64_t)__builtin_bswap64(high));
        const __m128i upper = _mm_and_si128(_mm_srli_epi16(bytes, 4), mask), lower = _mm_and_si128(bytes, mask);
        __m128i nibbles[2] = {_mm_unpacklo_epi8(upper, lower), _mm_unpackhi_epi8(upper, lower)};
        for (int i = 0; i < 2; i++) {
            /* 39: from the character behind "9" to "a" */
            __m128i letters = _mm_and_si128(_mm_cmpgt_epi8(nibbles[i], _mm_set1_epi8(9)), _mm_set1_epi8(39));
            __m128i digits = _mm_add_epi8(_mm_add_epi8(nibbles[i], _mm_set1_epi8('0')), letters);
            _mm_storeu_si128((__m128i*)(out + 16 * i), digits);
        }
    }
    #else
    static inline void request_id_digits(uint64_t high, uint64_t low, char* out) {
        for (int i = 0; i < 16; i++) {
            out[i] = "0123456789abcdef"[high >> (60 - 4 * i) & 15];
            out[16 + i] = "0123456789abcdef"[low >> (60 - 4 * i) & 15];
        }
    }
    #endif
    """
    void request_id_digits(uint64_t high, uint64_t low, char* out) noexcept nogil


# Unique, not secret: nobody may take one for a proof of anything.
cdef inline void request_id_write(uint64_t* random, char* out) noexcept nogil:
    cdef uint64_t high = splitmix64(random) & <uint64_t>0xFFFFFFFFFFFF0FFF | <uint64_t>0x4000
    cdef uint64_t low = splitmix64(random) & <uint64_t>0x3FFFFFFFFFFFFFFF | <uint64_t>0x8000000000000000
    cdef char[32] digits
    request_id_digits(high, low, digits)
    memcpy(out, digits, 8)
    out[8] = 45                         # "-"
    memcpy(out + 9, digits + 8, 4)
    out[13] = 45
    memcpy(out + 14, digits + 12, 4)
    out[18] = 45
    memcpy(out + 19, digits + 16, 4)
    out[23] = 45
    memcpy(out + 24, digits + 20, 12)
