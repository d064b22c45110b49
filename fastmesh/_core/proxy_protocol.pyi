"""The PROXY protocol, for tests; the request path uses proxy_protocol.pxd."""

NONE: int
"""What `read` returns where there is no PROXY header at all."""

MALFORMED: int
"""What `read` returns where a PROXY header begins and goes wrong."""

MAX_BYTES: int
"""The longest header that is read."""

def read(data: bytes) -> tuple[int, int, str, int, str, int]:
    """The result (length, 0 for more, or an error), then family (0, 4, 6), source, its port, destination, its port."""

def write_v1(source: bytes, source_port: int, destination: bytes, destination_port: int) -> bytes:
    """A header of version 1."""

def write_v2(source: bytes, source_port: int, destination: bytes, destination_port: int) -> bytes:
    """A header of version 2."""
