"""The face of the inline hashes in hashing.pxd, for tests and for Python that must agree with the request path."""

from libc.stdint cimport uint64_t

MASK_64 = (1 << 64) - 1


def hash_xxh64(data: bytes, seed: int = 0) -> int:
    return xxh64(<const char*>data, <size_t>len(data), <uint64_t>(seed & MASK_64))


def hash_siphash(data: bytes, key: bytes, compress: int = 1, finish: int = 3) -> int:
    cdef sip_key_t sip_key
    if len(key) != 16:
        raise ValueError(f"a SipHash key has 16 bytes, not {len(key)}")
    sip_key.low = load_u64(<const char*>key)
    sip_key.high = load_u64(<const char*>key + 8)
    return siphash(<const char*>data, <size_t>len(data), &sip_key, compress, finish)


def random_numbers(state: int, count: int) -> list[int]:
    cdef uint64_t current = <uint64_t>(state & MASK_64)
    return [splitmix64(&current) for _ in range(count)]
