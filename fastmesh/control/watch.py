"""Notices that the configuration directory may have changed.

The kernel tells of the directory, not of single files: editors rename a file over another, and Kubernetes swaps a
symlink. A file that is being written in place is waited for until its writer closes it. Four times a second we look
whether the path still leads to the same directory (a symlink to the current release, say); every few seconds contents
are compared too: for file systems that tell nothing, and for files behind symlinks that lie elsewhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import struct
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from fastmesh._core.process import watch_directory

STEP_S = 0.025
"""Writes that follow each other within this time are looked at together ..."""

SETTLE_MAX_S = 0.1
"""... but no later than this after the first."""

WRITING_MAX_S = 10.0
"""A file that is written to and not closed for so long is read as it stands."""

IDENTITY_INTERVAL_S = 0.25
POLL_INTERVAL_S = 3.0
_READ_BYTES = 65536

# Of inotify(7): struct inotify_event without its name, and the events that begin and end the writing of a file.
_EVENT = struct.Struct("iIII")
_MODIFY = 0x2
_WRITTEN = 0x8 | 0x40 | 0x80 | 0x200  # closed after writing, moved away, moved here, deleted

YAML = (".yaml", ".yml")


async def changes(
    directory: Path, suffixes: tuple[str, ...] = YAML, look: Callable[[Path], object] | None = None
) -> AsyncIterator[None]:
    """One item at once, for what happened before, then one after each event and after each difference.

    `suffixes`: of files that are waited for while they are written; `look`: what is compared, without
    it the contents of all YAML files.
    """
    watch = _Watch(directory, suffixes)
    look = look or fingerprint
    try:
        seen = look(directory)
        compared_s = time.monotonic()
        yield
        while True:
            happened = await watch.event(IDENTITY_INTERVAL_S)
            replaced = watch.follow()
            if not happened and not replaced and time.monotonic() - compared_s < POLL_INTERVAL_S:
                continue
            compared_s = time.monotonic()
            now = look(directory)
            # An event counts even if contents are as before: whoever loaded them may have seen others in between.
            if happened or replaced or now != seen:
                seen = now
                yield
    finally:
        watch.close()


class _Watch:
    """The kernel's view of whatever directory stands at a path."""

    def __init__(self, directory: Path, suffixes: tuple[str, ...]) -> None:
        self._directory = directory
        self._suffixes = tuple(map(os.fsencode, suffixes))
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self._identity = (0, 0)
        self._writing: dict[bytes, float] = {}  # name of a file: when its writing began, on the monotonic clock
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
        """Wait for an event, until it is quiet again and no file is being written; False: none came in this time."""
        if not await self._wait(timeout_s):
            return False
        latest_s = time.monotonic() + SETTLE_MAX_S
        while await self._wait(STEP_S) and time.monotonic() < latest_s or self._is_being_written():
            pass
        return True

    def _is_being_written(self) -> bool:
        now_s = time.monotonic()
        self._writing = {name: at_s for name, at_s in self._writing.items() if now_s - at_s < WRITING_MAX_S}
        return bool(self._writing)

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
            while events := os.read(self._fd, _READ_BYTES):
                self._note(events)
                self._changed.set()

    def _note(self, events: bytes) -> None:
        at = 0
        while at < len(events):
            _, mask, _, length = _EVENT.unpack_from(events, at)
            at += _EVENT.size
            name = events[at : at + length].rstrip(b"\0")
            at += length
            if mask & _WRITTEN:
                self._writing.pop(name, None)
            elif mask & _MODIFY and name.endswith(self._suffixes) and not name.startswith(b"."):
                self._writing.setdefault(name, time.monotonic())

    def close(self) -> None:
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1
            self._writing.clear()


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
        paths = sorted(path for path in directory.iterdir() if path.suffix in YAML)
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
