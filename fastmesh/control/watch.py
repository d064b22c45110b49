"""Notices that a directory, or a file elsewhere that is named with it, may have changed.

The kernel tells of folders, not of single files: editors rename a file over another, and Kubernetes swaps a symlink.
In the directory itself everything counts; in the folders of other files, only these files do. A file that is
being written in place is waited for until its writer closes it. Four times a second we look whether each path still
leads to the same folder (a symlink to the current release, say); every few seconds contents are compared too: for file
systems that tell nothing, for files behind symlinks that lie elsewhere, and for folders beyond the number that the
kernel is asked about.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import struct
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from pathlib import Path

from fastmesh._core.process import watch_directory
from fastmesh.config.files import read_file
from fastmesh.config.parse import FILE_MAX_BYTES

STEP_S = 0.025
"""Writes that follow each other within this time are looked at together ..."""

SETTLE_MAX_S = 0.1
"""... but no later than this after the first."""

WRITING_MAX_S = 10.0
"""A file that is written to and not closed for so long is read as it stands."""

IDENTITY_INTERVAL_S = 0.25
POLL_INTERVAL_S = 3.0
FOLDERS_MAX = 32
"""Folders of other files that the kernel is asked about, with a descriptor each."""

YAML = (".yaml", ".yml")

_READ_BYTES = 65536

# Of inotify(7): struct inotify_event without its name, and the events that begin and end the writing of a file.
_EVENT = struct.Struct("iIII")
_MODIFY = 0x2
_WRITTEN = 0x8 | 0x40 | 0x80 | 0x200  # closed after writing, moved away, moved here, deleted


def _nothing() -> tuple[Path, ...]:
    return ()


async def changes(
    directory: Path,
    others: Callable[[], Collection[Path]] = _nothing,
    suffixes: tuple[str, ...] = YAML,
    look: Callable[[Path, Collection[Path]], object] | None = None,
) -> AsyncIterator[None]:
    """One item at once, for what happened before, then one after each event and after each difference.

    `others`: the files that matter besides, as of now; asked again and again. `suffixes`: of files in the directory
    that are waited for while they are written. `look`: what is compared; without it, contents, by `fingerprint`.
    """
    look = look or fingerprint
    watch = _Watch(directory, suffixes, others())
    try:
        seen = look(directory, others())
        compared_s = time.monotonic()
        yield
        while True:
            happened = await watch.event(IDENTITY_INTERVAL_S)
            replaced = watch.follow(others())
            if not happened and not replaced and time.monotonic() - compared_s < POLL_INTERVAL_S:
                continue
            compared_s = time.monotonic()
            now = look(directory, others())
            # An event counts even if contents are as before: whoever loaded them may have seen others in between.
            if happened or replaced or now != seen:
                seen = now
                yield
    finally:
        watch.close()


class _Watch:
    """The kernel's view of the directory and of the folders of other files."""

    def __init__(self, directory: Path, suffixes: tuple[str, ...], others: Iterable[Path]) -> None:
        self._changed = asyncio.Event()
        self._directory = _Folder(directory, None, self._changed, suffixes)
        self._others: dict[Path, _Folder] = {}
        self.follow(others)

    def follow(self, others: Iterable[Path]) -> bool:
        """Watch the folders of these files; True: one is new here, or another stands in its place."""
        names: dict[Path, set[bytes]] = {}
        for file in others:
            if file.parent in names or len(names) < FOLDERS_MAX:
                names.setdefault(file.parent, set()).add(os.fsencode(file.name))
        self._directory.also = names.pop(self._directory.path, set())
        for path in self._others.keys() - names.keys():
            self._others.pop(path).close()
        for path in names:
            if path not in self._others:
                self._others[path] = _Folder(path, set(), self._changed)
            self._others[path].names = names[path]
        followed = [folder.follow() for folder in self._folders()]
        return any(followed)

    def _folders(self) -> list[_Folder]:
        return [self._directory, *self._others.values()]

    async def event(self, timeout_s: float) -> bool:
        """Wait for an event, until it is quiet again and no file is being written; False: none came in this time."""
        if not await self._wait(timeout_s):
            return False
        latest_s = time.monotonic() + SETTLE_MAX_S
        while await self._wait(STEP_S) and time.monotonic() < latest_s or self._is_being_written():
            pass
        return True

    def _is_being_written(self) -> bool:
        return any(folder.is_being_written() for folder in self._folders())

    async def _wait(self, timeout_s: float) -> bool:
        try:
            async with asyncio.timeout(timeout_s):
                await self._changed.wait()
        except TimeoutError:
            return False
        self._changed.clear()
        return True

    def close(self) -> None:
        for folder in self._folders():
            folder.close()


class _Folder:
    """The kernel's view of whatever folder stands at a path."""

    def __init__(
        self, path: Path, names: set[bytes] | None, changed: asyncio.Event, suffixes: tuple[str, ...] = ()
    ) -> None:
        self.path = path
        self.names = names  # the files that matter; None: all
        self.also: set[bytes] = set()  # where all matter: files that are waited for whatever their suffix
        self._suffixes = tuple(map(os.fsencode, suffixes))
        self._changed = changed
        self._loop = asyncio.get_running_loop()
        self._identity = (0, 0)
        self._writing: dict[bytes, float] = {}  # name of a file: when its writing began, on the monotonic clock
        self._fd = -1

    def follow(self) -> bool:
        """Watch another folder if another stands there: a new one of the same name, or a symlink was swapped."""
        identity = _identity(self.path)
        if identity == self._identity:
            return False
        self.close()
        self._identity = identity
        # It may not be there, and the kernel may watch no more: contents are compared all the same.
        with contextlib.suppress(OSError):
            self._fd = watch_directory(os.fsencode(self.path))
            self._loop.add_reader(self._fd, self._take_events)
        return True

    def is_being_written(self) -> bool:
        now_s = time.monotonic()
        self._writing = {name: at_s for name, at_s in self._writing.items() if now_s - at_s < WRITING_MAX_S}
        return bool(self._writing)

    def _take_events(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while events := os.read(self._fd, _READ_BYTES):
                if self._note(events):
                    self._changed.set()

    def _note(self, events: bytes) -> bool:
        """Whether one of them matters."""
        matters = False
        at = 0
        while at < len(events):
            _, mask, _, length = _EVENT.unpack_from(events, at)
            at += _EVENT.size
            name = events[at : at + length].rstrip(b"\0")
            at += length
            if self.names is not None and name and name not in self.names and not name.startswith(b".."):
                continue  # a stranger; what begins with .. are the links of Kubernetes
            matters = True
            if mask & _WRITTEN:
                self._writing.pop(name, None)
            elif mask & _MODIFY and self._is_read(name):
                self._writing.setdefault(name, time.monotonic())
        return matters

    def _is_read(self, name: bytes) -> bool:
        if self.names is not None:
            return name in self.names
        return name in self.also or (name.endswith(self._suffixes) and not name.startswith(b"."))

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


def fingerprint(directory: Path, others: Iterable[Path] = ()) -> str:
    """A hash of the names and contents of the YAML files and of others, and of which cannot be read."""
    digest = hashlib.blake2b(digest_size=16)
    try:
        paths = sorted(path for path in directory.iterdir() if path.suffix in YAML)
    except OSError:
        return ""
    for path in [*paths, *others]:
        name = path.name if path.parent == directory else str(path)
        try:
            content = read_file(str(path), FILE_MAX_BYTES)
            size = str(len(content))
        except OSError as error:
            content, size = b"", f"error {error.errno}"
        digest.update(f"{name}\0{size}\0".encode(errors="surrogateescape"))
        digest.update(content)
    return digest.hexdigest()
