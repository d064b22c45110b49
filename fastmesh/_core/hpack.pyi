"""Header blocks of HTTP/2 (RFC 7541), for tests, benchmarks and fuzzing; the request path uses hpack.pxd."""

from typing import final

class HpackError(ValueError):
    """The block is not what it should be."""

    name: str
    """"bad": the table is lost; "too_large": a field needs more than `room`; or "no_memory"."""

    def __init__(self, name: str) -> None: ...

@final
class Decoder:
    """The receiving side of a connection, with its dynamic table."""

    def decode(self, block: bytes, room: int = 65536) -> list[tuple[bytes, bytes]]:
        """The fields of a whole block, each of at most `room` bytes as a line. Raises HpackError."""

    @property
    def entries(self) -> list[tuple[bytes, bytes]]:
        """The dynamic table, the newest entry first."""

    @property
    def size_bytes(self) -> int:
        """The size of the dynamic table (RFC 7541 4.1)."""

    @property
    def size_max_bytes(self) -> int:
        """What the last size update allowed."""

def encode(fields: list[tuple[bytes, bytes]], sensitive: frozenset[bytes] = frozenset()) -> bytes:
    """A block of these fields, names in lower case; those in `sensitive` are never indexed. Raises MemoryError."""
