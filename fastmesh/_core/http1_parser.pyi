"""HTTP/1 heads from bytes (RFC 9112), for tests, benchmarks and fuzzing; the request path uses http1_parser.pxd.

Limits are in bytes, `header_max` in fields (at most 256 here).
"""

from fastmesh._core.headers import Head

ERROR_NAMES: tuple[str, ...]
"""By the negated http1_error_t."""

class ParseError(ValueError):
    """The bytes are not what they should be."""

    name: str
    """One of ERROR_NAMES."""

    def __init__(self, name: str) -> None: ...

def find_head_end(
    data: bytes, scanned: int = 0, *, start_line_max: int = 8192, head_max: int = 65536
) -> tuple[int, int]:
    """Where the head ends (0: not yet), and the `scanned` to pass with more bytes. Raises ParseError."""

def skip_empty_lines(data: bytes) -> int:
    """Bytes of the at most two empty lines in front of a request (RFC 9112 2.2)."""

def parse_request(data: bytes, *, start_line_max: int = 8192, head_max: int = 65536, header_max: int = 100) -> Head:
    """Parse a whole request head, its empty line included. Raises ParseError."""

def parse_response(
    data: bytes, method: str = "GET", *, start_line_max: int = 8192, head_max: int = 65536, header_max: int = 100
) -> Head:
    """Parse a whole response head; `method` is that of the request (RFC 9112 6.3). Raises ParseError."""

def parse_trailers(data: bytes, *, header_max: int = 100) -> Head:
    """Parse trailer lines, the empty line included; forbidden fields are left out. Raises ParseError."""

def rehearse_request(data: bytes, times: int) -> Head:
    """Find the end of a request head and parse it, `times` times without Python in between: for benchmarks."""
