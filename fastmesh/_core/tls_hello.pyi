"""The beginning of a TLS connection, for tests; the request path uses tls_hello.pxd."""

NOT_TLS: int
"""What `read` returns where the connection does not begin with a handshake record."""

MALFORMED: int
"""What `read` returns where it does, and no sound ClientHello follows."""

MAX_BYTES: int
"""Within so many bytes the ClientHello must be whole."""

MESSAGE_MAX_BYTES: int
"""The longest ClientHello that is read."""

def looks_like(first: int) -> bool:
    """Whether a connection whose first byte is this may be TLS."""

def read(data: bytes) -> tuple[int, str, set[str]]:
    """The result (1: whole, 0: more, or an error), the server name, and of ALPN "h2", "http/1.1" and "other"."""
