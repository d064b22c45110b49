"""Hashes and random numbers of the request path, for tests and for Python that must agree with it."""

MASK_64: int
"""2**64 - 1."""

def hash_xxh64(data: bytes, seed: int = 0) -> int:
    """XXH64 (xxhash specification, 64 bits) of `data`; `seed` is taken modulo 2**64."""

def hash_siphash(data: bytes, key: bytes, compress: int = 1, finish: int = 3) -> int:
    """SipHash (Aumasson and Bernstein 2012), by default SipHash-1-3. Raises ValueError unless `key` has 16 bytes."""

def random_numbers(state: int, count: int) -> list[int]:
    """The next `count` numbers of splitmix64 from `state`, each in [0, 2**64)."""
