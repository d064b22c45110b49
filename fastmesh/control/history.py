"""The last versions of the configuration that were tried, and how each ended."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastmesh.config import Problem
    from fastmesh.config.difference import Change

KEPT = 20
"""How many attempts are remembered."""

PROBLEMS_KEPT = 50
"""How many problems of one attempt are remembered."""


CHANGES_KEPT = 20
"""How many changes of one attempt are remembered, and said in the log."""


class Outcome(StrEnum):
    """How an attempt to load the directory ended; the label of the metric that counts reloads."""

    APPLIED = "applied"
    INVALID = "invalid"  # the directory holds errors: the last good version stays
    UNBOUND = "unbound"  # a listener's address could not be bound: the last good version stays
    UNCHANGED = "unchanged"  # asked for by SIGHUP, and nothing had changed


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt to load the directory."""

    time_s: float  # Unix time
    version: str  # hash of the sources; empty when they could not be read
    outcome: Outcome
    duration_ms: float  # first look at the directory to the snapshot being sent to the workers
    problems: tuple[Problem, ...] = ()
    changes: tuple[Change, ...] = ()  # the first of them, against the version before; none of the first version
    change_count: int = 0
    error: str = ""  # what a problem in the files does not cover: an address in use


class History:
    """A bounded list of attempts, newest first, and counts of all of them by outcome."""

    def __init__(self) -> None:
        self._attempts: deque[Attempt] = deque(maxlen=KEPT)
        self.counts: Counter[Outcome] = Counter(dict.fromkeys(Outcome, 0))

    def add(self, attempt: Attempt) -> None:
        self.counts[attempt.outcome] += 1
        self._attempts.appendleft(attempt)

    def __iter__(self) -> Iterator[Attempt]:
        return iter(self._attempts)

    def __len__(self) -> int:
        return len(self._attempts)

    @property
    def last(self) -> Attempt | None:
        return self._attempts[0] if self._attempts else None

    @property
    def last_applied_s(self) -> float:
        """Unix time at which the version that is served was applied; 0.0: none among those remembered."""
        return next((attempt.time_s for attempt in self if attempt.outcome is Outcome.APPLIED), 0.0)
