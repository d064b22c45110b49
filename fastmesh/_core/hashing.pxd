"""Hashes and random numbers of the request path: XXH64, SipHash, splitmix64. All inline; hashing.pyx is their face.

XXH64 where peers must agree (ring, Maglev, as Envoy), SipHash-1-3 with a secret key for tables whose keys a client
picks, splitmix64 where statistical quality is enough. Little-endian machines only, as all are that wheels are for.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

cdef extern from *:
    """
    #include <stdint.h>
    static inline uint64_t hashing_multiply_high(uint64_t a, uint64_t b, uint64_t* low) {
        unsigned __int128 product = (unsigned __int128)a * b;
        *low = (uint64_t)product;
        return (uint64_t)(product >> 64);
    }
    """
    uint64_t multiply_high "hashing_multiply_high" (uint64_t a, uint64_t b, uint64_t* low) noexcept nogil

cdef enum:
    IDENTITY_SEED = 0       # XXH64 seed of an endpoint's "host:port" (load_t.identity)

cdef struct sip_key_t:
    uint64_t low
    uint64_t high


cdef inline uint64_t rotate_left(uint64_t value, int bits) noexcept nogil:
    return (value << bits) | (value >> (64 - bits))


cdef inline uint64_t load_u64(const char* data) noexcept nogil:
    cdef uint64_t value
    memcpy(&value, data, 8)
    return value


cdef inline uint32_t load_u32(const char* data) noexcept nogil:
    cdef uint32_t value
    memcpy(&value, data, 4)
    return value


cdef inline uint64_t xxh64_round(uint64_t state, uint64_t lane) noexcept nogil:
    state += lane * <uint64_t>0xC2B2AE3D27D4EB4F
    return rotate_left(state, 31) * <uint64_t>0x9E3779B185EBCA87


cdef inline uint64_t xxh64_merge(uint64_t state, uint64_t lane) noexcept nogil:
    state ^= xxh64_round(0, lane)
    return state * <uint64_t>0x9E3779B185EBCA87 + <uint64_t>0x85EBCA77C2B2AE63


cdef inline uint64_t xxh64_stripes(const char** data, size_t length, uint64_t seed) noexcept nogil:
    # Blocks of 32 bytes in four lanes; *data is left at the rest.
    cdef const char* at = data[0]
    cdef const char* last = at + length - 32
    cdef uint64_t a = seed + <uint64_t>0x9E3779B185EBCA87 + <uint64_t>0xC2B2AE3D27D4EB4F
    cdef uint64_t b = seed + <uint64_t>0xC2B2AE3D27D4EB4F
    cdef uint64_t c = seed
    cdef uint64_t d = seed - <uint64_t>0x9E3779B185EBCA87
    cdef uint64_t state
    while at <= last:
        a = xxh64_round(a, load_u64(at))
        b = xxh64_round(b, load_u64(at + 8))
        c = xxh64_round(c, load_u64(at + 16))
        d = xxh64_round(d, load_u64(at + 24))
        at += 32
    data[0] = at
    state = rotate_left(a, 1) + rotate_left(b, 7) + rotate_left(c, 12) + rotate_left(d, 18)
    return xxh64_merge(xxh64_merge(xxh64_merge(xxh64_merge(state, a), b), c), d)


cdef inline uint64_t xxh64(const char* data, size_t length, uint64_t seed) noexcept nogil:
    cdef const char* end = data + length
    cdef uint64_t state
    if length >= 32:
        state = xxh64_stripes(&data, length, seed)
    else:
        state = seed + <uint64_t>0x27D4EB2F165667C5
    state += length
    while end - data >= 8:
        state ^= xxh64_round(0, load_u64(data))
        state = rotate_left(state, 27) * <uint64_t>0x9E3779B185EBCA87 + <uint64_t>0x85EBCA77C2B2AE63
        data += 8
    if end - data >= 4:
        state ^= <uint64_t>load_u32(data) * <uint64_t>0x9E3779B185EBCA87
        state = rotate_left(state, 23) * <uint64_t>0xC2B2AE3D27D4EB4F + <uint64_t>0x165667B19E3779F9
        data += 4
    while data < end:
        state ^= <uint8_t>data[0] * <uint64_t>0x27D4EB2F165667C5
        state = rotate_left(state, 11) * <uint64_t>0x9E3779B185EBCA87
        data += 1
    state = (state ^ (state >> 33)) * <uint64_t>0xC2B2AE3D27D4EB4F
    state = (state ^ (state >> 29)) * <uint64_t>0x165667B19E3779F9
    return state ^ (state >> 32)


cdef inline uint64_t xxh64_number(uint64_t number, uint64_t seed) noexcept nogil:
    return xxh64(<const char*>&number, 8, seed)


cdef inline void sip_rounds(uint64_t* v, int count) noexcept nogil:
    cdef int _i
    for _i in range(count):
        v[0] += v[1]
        v[2] += v[3]
        v[1] = rotate_left(v[1], 13) ^ v[0]
        v[3] = rotate_left(v[3], 16) ^ v[2]
        v[0] = rotate_left(v[0], 32)
        v[2] += v[1]
        v[0] += v[3]
        v[1] = rotate_left(v[1], 17) ^ v[2]
        v[3] = rotate_left(v[3], 21) ^ v[0]
        v[2] = rotate_left(v[2], 32)


# SipHash-c-d: `compress` rounds a word, `finish` rounds at the end.
cdef inline uint64_t siphash(
    const char* data, size_t length, const sip_key_t* key, int compress, int finish
) noexcept nogil:
    cdef uint64_t[4] v
    cdef const char* end = data + (length & ~<size_t>7)
    cdef uint64_t word
    cdef uint64_t last = <uint64_t>length << 56
    v[0] = key.low ^ <uint64_t>0x736F6D6570736575
    v[1] = key.high ^ <uint64_t>0x646F72616E646F6D
    v[2] = key.low ^ <uint64_t>0x6C7967656E657261
    v[3] = key.high ^ <uint64_t>0x7465646279746573
    while data < end:
        word = load_u64(data)
        v[3] ^= word
        sip_rounds(v, compress)
        v[0] ^= word
        data += 8
    if length >= 8:
        if length & 7:
            last |= load_u64(data + (length & 7) - 8) >> (64 - 8 * (length & 7))
    else:
        word = 0
        memcpy(&word, data, length)
        last |= word
    v[3] ^= last
    sip_rounds(v, compress)
    v[0] ^= last
    v[2] ^= 0xFF
    sip_rounds(v, finish)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


cdef inline uint64_t keyed_hash(const char* data, size_t length, const sip_key_t* key) noexcept nogil:
    return siphash(data, length, key, 1, 3)


# The next random number; any state will do.
cdef inline uint64_t splitmix64(uint64_t* state) noexcept nogil:
    cdef uint64_t z
    state[0] += <uint64_t>0x9E3779B97F4A7C15
    z = state[0]
    z = (z ^ (z >> 30)) * <uint64_t>0xBF58476D1CE4E5B9
    z = (z ^ (z >> 27)) * <uint64_t>0x94D049BB133111EB
    return z ^ (z >> 31)


# A random number below `bound`, by multiplication (Lemire); the bias is below bound / 2^64.
cdef inline uint64_t random_below(uint64_t* state, uint64_t bound) noexcept nogil:
    cdef uint64_t low
    return multiply_high(splitmix64(state), bound, &low)
