"""Authorities of request targets (RFC 9110 4.2), for tests; the request path uses http1_target.pxd."""

def is_authority(text: bytes) -> bool:
    """Whether this is uri-host [ ":" port ] (RFC 3986 3.2), without userinfo."""
