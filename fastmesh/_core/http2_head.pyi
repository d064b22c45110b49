"""Heads from HTTP/2 header blocks (RFC 9113 8), for tests, benchmarks and fuzzing.

The request path uses http2_head.pxd. Limits are in bytes (`head_max` as
SETTINGS_MAX_HEADER_LIST_SIZE counts), `header_max` in fields. Without `decoder`, the block is the first one of its
connection.
"""

from fastmesh._core.headers import Head
from fastmesh._core.hpack import Decoder

class HeadError(ValueError):
    """The block is not what it should be."""

    name: str
    """"bad_compression", "malformed", "too_large", "target_too_long" or "no_memory"."""

    detail: str
    """What is wrong, where it is malformed."""

    def __init__(self, name: str, detail: str) -> None: ...

def read_request(
    block: bytes,
    is_end: bool = True,
    decoder: Decoder | None = None,
    *,
    target_max: int = 8192,
    head_max: int = 65536,
    header_max: int = 100,
) -> Head:
    """The head of a request; `is_end`: its stream ends with it. Raises HeadError."""

def read_response(
    block: bytes, is_end: bool = True, decoder: Decoder | None = None, *, head_max: int = 65536, header_max: int = 100
) -> Head:
    """The head of a response. Raises HeadError."""

def read_trailers(
    block: bytes, decoder: Decoder | None = None, *, head_max: int = 65536, header_max: int = 100
) -> Head:
    """Trailers; forbidden fields are left out. Raises HeadError."""

def rehearse_request(block: bytes, times: int, decoder: Decoder | None = None) -> Head:
    """Read a request `times` times on one connection without Python in between: for benchmarks. Raises HeadError."""
