"""Heads to HTTP/2 header blocks (RFC 9113 8), for tests, benchmarks and fuzzing.

The request path uses http2_writer.pxd.
"""

from fastmesh._core.headers import Head

def write_request(head: Head, secure: bool = False) -> bytes:
    """The block of a request; `secure`: its scheme is https. Raises MemoryError."""

def write_response(head: Head) -> bytes:
    """The block of a response. Raises MemoryError."""

def write_trailers(head: Head) -> bytes:
    """The block of trailers. Raises MemoryError."""

def rehearse_request(head: Head, times: int) -> int:
    """Write a request `times` times without Python in between, for benchmarks; its length in bytes."""
