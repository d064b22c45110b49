"""A directory that sources look into: watched once, however many services it serves."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path

from fastmesh.discovery.directory import Listing, list_files
from fastmesh.discovery.files import FoundInFiles
from fastmesh.discovery.registry import Registry
from fastmesh.discovery.source import Source

log = logging.getLogger(__name__)


class Folder:
    """Looks at a directory when it changes, and offers each of its sources what is in there."""

    def __init__(
        self, path: Path, changes: Callable[[Path], AsyncIterator[None]], on_offers: Callable[[], None]
    ) -> None:
        self._path = path
        self._on_offers = on_offers
        self._sources: list[Source] = []
        self._files: dict[str, FoundInFiles] = {}  # by pattern
        self._registry: Registry | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._task = asyncio.get_running_loop().create_task(self._follow(changes))

    def use(self, sources: Iterable[Source]) -> None:
        """Exactly these look into it from now on; each is offered at once what is there."""
        self._sources = list(sources)
        patterns = {_pattern(source) for source in self._sources if source.kind == "files"}
        self._files = {
            pattern: self._files.get(pattern) or FoundInFiles(self._path, pattern) for pattern in sorted(patterns)
        }
        if any(source.kind == "registry" for source in self._sources):
            self._registry = self._registry or Registry(self._path)
        else:
            self._registry = None
        self._look()

    def stop(self) -> None:
        """Look no more."""
        self._task.cancel()
        if self._timer is not None:
            self._timer.cancel()

    async def close(self) -> None:
        self.stop()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _follow(self, changes: Callable[[Path], AsyncIterator[None]]) -> None:
        async for _ in changes(self._path):
            try:
                self._look()
                self._on_offers()
            except Exception:  # a task that ends would leave what is in force standing for ever
                log.exception("the files of %s could not be put to use", self._path)

    def _look(self) -> None:
        listing: Listing = list_files(self._path)
        for files in self._files.values():
            files.look(listing)
        if self._registry is not None:
            self._registry.look(listing, time.monotonic(), time.time())
        self._offer()

    def _offer(self) -> None:
        now_s = time.monotonic()
        for source in self._sources:
            if source.kind == "files":
                files = self._files[_pattern(source)]
                source.offer(files.endpoints, files.errors)
            elif self._registry is not None:
                source.offer(self._registry.endpoints(source.service, now_s), self._registry.errors(source.service))
        self._wait_for_end(now_s)

    def _wait_for_end(self, now_s: float) -> None:
        """A lease that runs out makes no event: nobody has written anything."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._registry is not None and (end_s := self._registry.next_end_s(now_s)) is not None:
            self._timer = asyncio.get_running_loop().call_later(end_s - now_s + 0.01, self._on_end)

    def _on_end(self) -> None:
        self._offer()
        self._on_offers()


def _pattern(source: Source) -> str:
    return source.place.rpartition("/")[2]
