"""What a directory holds, by the stamps of its files: a file that has not changed is not read again."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import NamedTuple

from fastmesh.config import files as config_files

SUFFIXES = (".json", ".yaml", ".yml")
FILES_MAX = 20_000
FILE_MAX_BYTES = 16 << 20

Stamp = tuple[int, int, int]
"""Modification time in ns, inode and size: another file of the same name has another one."""


class Listing(NamedTuple):
    """Files by name, in the order of names; `error`: why they are unknown, empty: they are not."""

    files: dict[str, Stamp]
    error: str = ""


def list_files(directory: Path) -> Listing:
    """All files of the formats that are read here, links followed. Never raises."""
    files: dict[str, Stamp] = {}
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.name.endswith(SUFFIXES) and not entry.name.startswith("."):
                    files[entry.name] = _stamp(entry)
    except FileNotFoundError:
        return Listing({}, f"{directory}: no such directory")
    except OSError as error:
        return Listing({}, f"{directory}: {(error.strerror or str(error)).lower()}")
    if len(files) > FILES_MAX:
        return Listing({}, f"{directory}: {len(files)} files; at most {FILES_MAX} are read")
    return Listing(dict(sorted(files.items())))


def _stamp(entry: os.DirEntry[str]) -> Stamp:
    try:
        status = entry.stat()
    except OSError:
        return (0, 0, 0)  # gone meanwhile, or a link that leads nowhere: reading it says so
    return (status.st_mtime_ns, status.st_ino, status.st_size)


def read_file(path: Path) -> bytes:
    """The content of a regular file. Raises OSError."""
    content = config_files.read_file(str(path), FILE_MAX_BYTES)
    if len(content) > FILE_MAX_BYTES:
        raise OSError(errno.EFBIG, f"larger than {FILE_MAX_BYTES >> 20} MiB")
    return content
