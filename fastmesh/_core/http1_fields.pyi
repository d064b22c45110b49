"""The field lines of an HTTP/1 head (RFC 9112 5), for tests; the request path uses http1_fields.pxd."""

def has_bad_line_end(data: bytes) -> bool:
    """Whether there is a bare CR, a bare LF or a NUL. A CR that is the last byte is not called bare."""
