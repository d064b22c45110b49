"""From a change in the directory to a new version in force, or to the last good one and the reasons why not."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import time
from typing import TYPE_CHECKING

from fastmesh._core.process import release_memory
from fastmesh.config import LoadCache, load
from fastmesh.config.difference import all_changes
from fastmesh.control.history import CHANGES_KEPT, PROBLEMS_KEPT, Attempt, Outcome
from fastmesh.control.sockets import BindError
from fastmesh.control.watch import changes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from fastmesh.config import LoadResult
    from fastmesh.config.difference import Change
    from fastmesh.control.state import State

log = logging.getLogger(__name__)


class Reloader:
    """Loads the directory, at the start and whenever it changes."""

    def __init__(self, directory: Path, state: State, apply: Callable[[LoadResult], Awaitable[None]]) -> None:
        """`apply` puts a configuration without errors into force, or raises BindError and changes nothing."""
        self._directory = directory
        self._state = state
        self._apply = apply
        self._cache = LoadCache()
        self._loaded: LoadResult | None = None  # the version in force
        self._named: dict[str, None] = {}  # files that the directory names, now or in the version in force
        self._one_at_a_time = asyncio.Lock()

    async def follow(self) -> None:
        """Reload at every change. Runs until cancelled."""
        async for _ in changes(self._directory, self.named_files):
            try:
                await self.reload(forced=False)
            except Exception:  # a reload that fails in an unforeseen way must not be the last
                log.exception("reload failed; the last good version stays in force")

    def named_files(self) -> list[Path]:
        """The files that the configuration names: certificates and keys."""
        return [self._directory / name for name in self._named]

    async def reload(self, *, forced: bool = True) -> Attempt:
        """Read the directory now; `forced`: asked for by somebody, so that "nothing has changed" is an answer."""
        async with self._one_at_a_time:
            started_s = time.monotonic()
            gc.disable()  # collections in the midst of so many new objects would take longer than all the rest
            try:
                result = await self._load()
                outcome, error = await self._try(result)
                self._note_named(result, outcome)
                duration_ms = (time.monotonic() - started_s) * 1000
                found = await self._changes(result) if outcome is Outcome.APPLIED else []
            finally:
                gc.collect()
                release_memory()
                gc.freeze()  # what stays has no part in later collections
                gc.enable()
            attempt = Attempt(
                time_s=time.time(),
                version=result.digest,
                outcome=outcome,
                duration_ms=duration_ms,
                problems=result.errors[:PROBLEMS_KEPT],
                changes=tuple(found[:CHANGES_KEPT]),
                change_count=len(found),
                error=error,
            )
            self._record(attempt, forced)
            return attempt

    async def _load(self) -> LoadResult:
        if self._state.snapshot is None:  # nobody waits for the loop yet, and a thread costs memory
            return load(self._directory, self._cache)
        return await asyncio.to_thread(load, self._directory, self._cache)

    def _note_named(self, result: LoadResult, outcome: Outcome) -> None:
        """A file that a broken version no longer names still matters: the version in force came from it."""
        is_in_force = outcome in (Outcome.APPLIED, Outcome.UNCHANGED)
        self._named = dict.fromkeys([*(() if is_in_force else self._named), *result.pem_files])

    async def _try(self, result: LoadResult) -> tuple[Outcome, str]:
        if result.config is None:
            return Outcome.INVALID, ""
        if result.digest == self._state.version:
            self._state.warnings = result.warnings  # certificates grow old
            return Outcome.UNCHANGED, ""
        try:
            await self._apply(result)
        except BindError as failure:
            return Outcome.UNBOUND, str(failure)
        self._state.warnings = result.warnings
        self._state.certificates = result.certificates.files
        self._state.sources = {
            os.path.basename(file): parsed.content.decode("utf-8", "replace")
            for file, parsed in self._cache.files.items()
        }
        return Outcome.APPLIED, ""

    async def _changes(self, result: LoadResult) -> list[Change]:
        """What the version now in force changes, against the one before."""
        old, self._loaded = self._loaded, result
        return [] if old is None else await asyncio.to_thread(all_changes, old, result)

    def _record(self, attempt: Attempt, forced: bool) -> None:
        state = self._state
        was_stale, before = state.stale, (state.problems, state.error)
        state.problems, state.error = attempt.problems, attempt.error
        if attempt.outcome is Outcome.UNCHANGED and not forced and not was_stale:
            return  # the watcher saw something that makes no difference
        if state.stale and (state.problems, state.error) == before and not forced:
            return  # the same failure, seen twice
        state.history.add(attempt)
        self._say(attempt)

    def _say(self, attempt: Attempt) -> None:
        if self._state.snapshot is None:
            return  # whoever starts us says why that failed
        if attempt.outcome in (Outcome.INVALID, Outcome.UNBOUND):
            for line in (*map(str, attempt.problems), *attempt.error.splitlines()):
                log.error("%s", line)
            log.error("configuration not applied; version %s stays in force", short(self._state.version))
        elif attempt.outcome is Outcome.APPLIED:
            for warning in self._state.warnings:
                log.warning("%s", warning)
            self._say_changes(attempt)
            log.info("version %s in force after %.0f ms", short(attempt.version), attempt.duration_ms)
        else:
            log.info("version %s is in force already", short(attempt.version))

    def _say_changes(self, attempt: Attempt) -> None:
        if self._state.history.counts[Outcome.APPLIED] == 1:
            return  # the first version
        for change in attempt.changes:
            log.info("changed: %s", change)
        if attempt.change_count > len(attempt.changes):
            log.info("changed: and %d more", attempt.change_count - len(attempt.changes))
        if not attempt.changes:
            log.info("changed: nothing that has an effect")


def short(version: str) -> str:
    """A version as people compare it."""
    return version[:12]
