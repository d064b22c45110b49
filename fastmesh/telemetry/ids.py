"""Stable numeric ids for names: the slots of shared memory, handed out and recycled.

A name keeps its id for as long as it is in the configuration. When it goes, its id rests until requests that began with
it have surely ended, then its counters are zeroed and the id is given to another name. Whatever exceeds the capacity of
shared memory gets id 0, which counts what has no id of its own. Time is an argument: seconds of a monotonic clock.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Literal, Protocol, TypeAlias

from fastmesh._core.shared import ENDPOINTS_MAX, LISTENERS_MAX, SERIES_MAX, SERVICES_MAX

Name = str | tuple[str, ...]
"""A string; for an endpoint (service, address), for a series (listener, route, service, subset)."""

OVERFLOW_ID = 0

SlotKind: TypeAlias = Literal["series", "service", "endpoint", "listener"]
"""What shared memory has slots for."""


class Kind(StrEnum):
    """What ids are handed out for; each kind numbers from 1."""

    LISTENER = "listener"
    SERVICE = "service"
    ROUTE = "route"
    ENDPOINT = "endpoint"
    LIMIT = "limit"
    SERIES = "series"


SLOT_KINDS: dict[Kind, SlotKind] = {
    Kind.LISTENER: "listener",
    Kind.SERVICE: "service",
    Kind.ENDPOINT: "endpoint",
    Kind.SERIES: "series",
}
"""The kinds that have slots in shared memory."""

CAPACITIES: dict[Kind, int] = {
    Kind.LISTENER: LISTENERS_MAX,
    Kind.SERVICE: SERVICES_MAX,
    Kind.ROUTE: SERIES_MAX,
    Kind.ENDPOINT: ENDPOINTS_MAX,
    Kind.LIMIT: SERIES_MAX,
    Kind.SERIES: SERIES_MAX,
}
"""Ids of a kind are below this."""


class Slots(Protocol):
    """What the registry needs of shared memory."""

    def reset_id(self, kind: SlotKind, id: int) -> None:
        """Zero the slot of an id in all workers."""


class IdRegistry:
    """The ids of one supervisor. Not thread-safe: call it from the event loop's thread."""

    def __init__(self, slots: Slots, quarantine_s: float = 60.0, capacities: dict[Kind, int] | None = None) -> None:
        """`quarantine_s`: how long the id of a name that has gone rests; longer than a drain takes."""
        self._slots = slots
        self._quarantine_s = quarantine_s
        limits = CAPACITIES | (capacities or {})
        self._kinds = {kind: _Ids(limits[kind]) for kind in Kind}

    def id_of(self, kind: Kind, name: Name) -> int:
        """The id of a name, a new one if it has none; OVERFLOW_ID when there are no more."""
        return self._kinds[kind].id_of(name)

    def find(self, kind: Kind, name: Name) -> int | None:
        """The id of a name that has one."""
        return self._kinds[kind].ids.get(name)

    def retain(self, kind: Kind, names: Iterable[Name], now_s: float) -> None:
        """Say which names are in use, once a new configuration is in force: the ids of all others begin their rest."""
        self._kinds[kind].retain(set(names), now_s)

    def release(self, kind: Kind, name: Name, now_s: float) -> None:
        """One name has gone."""
        self._kinds[kind].release(name, now_s)

    def recycle(self, now_s: float) -> int:
        """Zero and free the ids that have rested long enough; how many. Call it every few seconds."""
        freed = 0
        for kind, ids in self._kinds.items():
            for recycled in ids.take_rested(now_s - self._quarantine_s):
                if kind in SLOT_KINDS:
                    self._slots.reset_id(SLOT_KINDS[kind], recycled)
                ids.free.append(recycled)
                freed += 1
        return freed

    def items(self, kind: Kind) -> Sequence[tuple[Name, int]]:
        """Every name that has an id, those whose id rests too: what they counted is still to be seen."""
        return list(self._kinds[kind].ids.items())

    def overflows(self, kind: Kind) -> int:
        """How often a name got no id of its own."""
        return self._kinds[kind].overflows


class _Ids:
    """The ids of one kind."""

    def __init__(self, capacity: int) -> None:
        self.ids: dict[Name, int] = {}
        self.free: list[int] = []
        self.overflows = 0
        self._next = 1
        self._capacity = capacity
        self._resting: OrderedDict[Name, float] = OrderedDict()  # name: since when, oldest first

    def id_of(self, name: Name) -> int:
        known = self.ids.get(name)
        if known is not None:
            self._resting.pop(name, None)
            return known
        if self.free:
            new = self.free.pop()
        elif self._next < self._capacity:
            new = self._next
            self._next += 1
        else:
            self.overflows += 1
            return OVERFLOW_ID
        self.ids[name] = new
        return new

    def retain(self, names: set[Name], now_s: float) -> None:
        for name in self.ids:
            if name in names:
                self._resting.pop(name, None)
            else:
                self._resting.setdefault(name, now_s)

    def release(self, name: Name, now_s: float) -> None:
        if name in self.ids:
            self._resting.setdefault(name, now_s)

    def take_rested(self, since_s: float) -> list[int]:
        rested = []
        while self._resting:
            name, gone_s = next(iter(self._resting.items()))
            if gone_s > since_s:
                break
            del self._resting[name]
            rested.append(self.ids.pop(name))
        return rested
