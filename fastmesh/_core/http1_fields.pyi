"""The field lines of an HTTP/1 head (RFC 9112 5), for tests; the request path uses http1_fields.pxd."""

def find_flaws(data: bytes) -> tuple[bool, bool]:
    """Whether there is a bare CR, a bare LF or a NUL, and whether a control character other than CR, LF and HTAB."""
