"""The detection of protocols, for tests; the request path uses first_bytes.pxd."""

MORE: int
HTTP1: int
HTTP2: int
OTHER: int
MAX_BYTES: int

def read(data: bytes, is_last: bool = False) -> int:
    """One of the four."""
