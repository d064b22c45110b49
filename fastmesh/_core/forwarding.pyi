"""What a proxy changes in a head (RFC 9110 7.6), for tests, benchmarks and fuzzing; the request path uses the .pxd."""

from fastmesh._core.headers import Head

def request(
    head: Head,
    *,
    client: bytes = b"192.0.2.1",
    scheme: bytes = b"http",
    trusted_hops: int = 0,
    via: bytes | None = None,
    request_id: bytes = b"00000000-0000-4000-8000-000000000000",
) -> Head:
    """The request as it is sent on. Raises ValueError for arguments of a wrong length, BufferError for want of room."""

def response(
    head: Head, method: str = "GET", *, version_minor: int = 1, keep_alive: bool = True, via: bytes | None = None
) -> Head:
    """The response as it is sent on to a client of HTTP/1.`version_minor`. Raises BufferError for want of room."""

def rehearse_request(head: Head, times: int) -> Head:
    """Copy the head and make the copy ready to be sent on, `times` times without Python in between: for benchmarks."""
