"""Notices that the configuration directory may have changed."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import watchfiles

STEP_MS = 25
"""Writes that follow each other within this time are looked at together."""

DEBOUNCE_MAX_MS = 100
POLL_INTERVAL_S = 3.0
"""For file systems that tell nothing, and for files behind symlinks that lie elsewhere."""


async def changes(directory: Path) -> AsyncIterator[None]:
    """One item for each time that something may have changed, those that come close together as one."""
    changed = asyncio.Event()
    tasks = [asyncio.ensure_future(_notice(directory, changed)), asyncio.ensure_future(_poll(directory, changed))]
    try:
        while True:
            await changed.wait()
            changed.clear()
            yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _notice(directory: Path, changed: asyncio.Event) -> None:
    """Events of the directory, whatever directory that is at the moment."""
    while True:
        gone = asyncio.Event()
        watching = asyncio.ensure_future(_notice_one(directory, changed, gone))
        try:
            identity = _identity(directory)
            while _identity(directory) == identity and not watching.done():
                await asyncio.sleep(POLL_INTERVAL_S)
        finally:
            gone.set()
            await asyncio.gather(watching, return_exceptions=True)


async def _notice_one(directory: Path, changed: asyncio.Event, gone: asyncio.Event) -> None:
    """Not the files but the directory: a ConfigMap is swapped by a rename within it, and an editor's file too."""
    with contextlib.suppress(OSError, RuntimeError):  # it is not there at the moment
        async for _ in watchfiles.awatch(
            directory, watch_filter=None, step=STEP_MS, debounce=DEBOUNCE_MAX_MS, recursive=False, stop_event=gone
        ):
            changed.set()


def _identity(directory: Path) -> tuple[int, int]:
    """What a new directory of the same name, or a symlink that was swapped, differs in."""
    try:
        status = directory.stat()
    except OSError:
        return (0, 0)
    return (status.st_dev, status.st_ino)


async def _poll(directory: Path, changed: asyncio.Event) -> None:
    before = fingerprint(directory)
    while True:
        await asyncio.sleep(POLL_INTERVAL_S)
        now = fingerprint(directory)
        if now != before:
            before = now
            changed.set()


def fingerprint(directory: Path) -> str:
    """A hash of the names and contents of the YAML files; of what can be read."""
    digest = hashlib.blake2b(digest_size=16)
    try:
        paths = sorted(path for path in directory.iterdir() if path.suffix in (".yaml", ".yml"))
    except OSError:
        return ""
    for path in paths:
        try:
            content = path.read_bytes()
        except OSError:
            content = b""
        digest.update(f"{path.name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()
