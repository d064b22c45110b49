"""Notices that the configuration directory may have changed.

The kernel tells of the directory, not of single files: editors rename a file over another, and Kubernetes swaps a
symlink. Every few seconds contents are compared too: for file systems that tell nothing, for files behind symlinks that
lie elsewhere, and for a directory that is itself replaced.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

from fastmesh._core.process import watch_directory

STEP_S = 0.025
"""Writes that follow each other within this time are looked at together ..."""

SETTLE_MAX_S = 0.1
"""... but no later than this after the first."""

POLL_INTERVAL_S = 3.0
_READ_BYTES = 65536


async def changes(directory: Path) -> AsyncIterator[None]:
    """One item at once, for what happened before, then one after each event and after each difference."""
    watch = _Watch(directory)
    try:
        seen = fingerprint(directory)
        yield
        while True:
            happened = await watch.event(POLL_INTERVAL_S)
            replaced = watch.follow()
            now = fingerprint(directory)
            # An event counts even if contents are as before: whoever loaded them may have seen others in between.
            if happened or replaced or now != seen:
                seen = now
                yield
    finally:
        watch.close()


class _Watch:
    """The kernel's view of whatever directory stands at a path."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self._identity = (0, 0)
        self._fd = -1
        self.follow()

    def follow(self) -> bool:
        """Watch another directory if another stands there: a new one of the same name, or a symlink was swapped."""
        identity = _identity(self._directory)
        if identity == self._identity:
            return False
        self.close()
        self._identity = identity
        # It may not be there, and the kernel may watch no more: contents are compared all the same.
        with contextlib.suppress(OSError):
            self._fd = watch_directory(os.fsencode(self._directory))
            self._loop.add_reader(self._fd, self._take_events)
        return True

    async def event(self, timeout_s: float) -> bool:
        """Wait for an event and until it is quiet again; False when none came in this time."""
        if not await self._wait(timeout_s):
            return False
        latest_s = time.monotonic() + SETTLE_MAX_S
        while await self._wait(STEP_S) and time.monotonic() < latest_s:
            pass
        return True

    async def _wait(self, timeout_s: float) -> bool:
        try:
            async with asyncio.timeout(timeout_s):
                await self._changed.wait()
        except TimeoutError:
            return False
        self._changed.clear()
        return True

    def _take_events(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while os.read(self._fd, _READ_BYTES):
                self._changed.set()

    def close(self) -> None:
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1


def _identity(directory: Path) -> tuple[int, int]:
    try:
        status = directory.stat()
    except OSError:
        return (0, 0)
    return (status.st_dev, status.st_ino)


def fingerprint(directory: Path) -> str:
    """A hash of the names and contents of the YAML files, and of which cannot be read."""
    digest = hashlib.blake2b(digest_size=16)
    try:
        paths = sorted(path for path in directory.iterdir() if path.suffix in (".yaml", ".yml"))
    except OSError:
        return ""
    for path in paths:
        try:
            content = path.read_bytes()
        except OSError as error:
            content = str(error.errno).encode()
        digest.update(f"{path.name}\0{len(content)}\0".encode(errors="surrogateescape"))
        digest.update(content)
    return digest.hexdigest()
