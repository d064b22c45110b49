"""Reads files whole: what is no file, or too large, does no harm."""

from __future__ import annotations

import errno
import os
import stat


def read_file(file: str, most_bytes: int) -> bytes:
    """One byte more than `most_bytes` at most: it was too large then. Non-blocking, since a pipe would hold us up."""
    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb", buffering=0) as stream:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        size = os.fstat(descriptor).st_size
        content = bytearray()
        while len(content) <= most_bytes and (chunk := stream.read(min(size, most_bytes) + 1)):
            content += chunk
    return bytes(content)
