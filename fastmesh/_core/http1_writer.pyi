"""HTTP/1 heads and chunk framing to bytes (RFC 9112), for tests, benchmarks and fuzzing."""

from fastmesh._core.headers import Head

def write_request(head: Head) -> bytes:
    """Request line in origin-form, Host from the authority, the fields that are not dropped. Raises MemoryError."""

def write_response(head: Head) -> bytes:
    """Status line and the fields that are not dropped. Raises MemoryError."""

def write_chunk_head(size: int) -> bytes:
    """The size line in front of `size` bytes of data. Raises OverflowError beyond 64 bits."""

def write_last_chunk(trailers: Head | None) -> bytes:
    """The chunk of size 0 with its trailers, the empty line included. Raises MemoryError."""

def rehearse_request(head: Head, times: int) -> int:
    """Write a request head `times` times without Python in between, for benchmarks; its length in bytes."""
