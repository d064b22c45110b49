"""The instances that registered themselves: leases in a directory, each for as long as it is renewed.

A lease ends when its file has not been written for its time to live. Clocks of machines differ, so the `expires_at`
that the instance wrote is not compared with our clock. What counts is how long ago we saw the file change, by a clock
that nobody sets. Only files that are there when we first look have to be judged by a date: by their modification time,
which a file system gives to all files by one clock. Should that clock differ from ours, a live instance is seen again
at its next renewal (a third of the time to live), and a dead one is believed for one time to live at most.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import msgspec

from fastmesh.config import Endpoint
from fastmesh.config.addresses import read_endpoint_address
from fastmesh.config.problem import InvalidText
from fastmesh.config.words import read_label
from fastmesh.discovery.directory import Listing, Stamp, read_file
from fastmesh.lease import Lease, service_of


class _Known(NamedTuple):
    stamp: Stamp
    service: str
    endpoint: Endpoint | None  # None: the file is no lease
    error: str
    ends_s: float  # on the monotonic clock


class Registry:
    """What the files of a directory say. Times are arguments: of the monotonic clock, and Unix time."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._leases: dict[str, _Known] = {}
        self._by_service: dict[str, list[_Known]] = {}
        self._has_looked = False
        self._error = ""

    def look(self, listing: Listing, now_s: float, unix_s: float) -> None:
        """Read what is new in the directory. While that cannot be read, leases go on to run out."""
        self._error = listing.error
        if listing.error:
            return
        before = self._leases
        self._leases = {
            name: known
            if (known := before.get(name)) and known.stamp == stamp
            else self._read(name, service, stamp, known, now_s, unix_s)
            for name, stamp in listing.files.items()
            if (service := service_of(name))
        }
        self._has_looked = True
        self._by_service = {}
        for lease in self._leases.values():
            self._by_service.setdefault(lease.service, []).append(lease)

    def _read(self, name: str, service: str, stamp: Stamp, known: _Known | None, now_s: float, unix_s: float) -> _Known:
        path = self._directory / name
        try:
            lease = msgspec.json.decode(read_file(path), type=Lease)
            endpoint = _endpoint_of(lease, service)
        except OSError as error:
            return _bad(stamp, service, known, f"{path}: it cannot be read: {(error.strerror or str(error)).lower()}")
        except (msgspec.MsgspecError, InvalidText) as error:
            return _bad(stamp, service, known, f"{path}: not a lease: {error}")
        age_s = 0.0 if self._has_looked else max(unix_s - stamp[0] / 1e9, 0.0)
        return _Known(stamp, service, endpoint, "", now_s + lease.ttl_s - age_s)

    def endpoints(self, service: str, now_s: float) -> tuple[Endpoint, ...]:
        """Those of a service whose leases hold, in the order of the files' names."""
        return tuple(
            known.endpoint
            for known in self._by_service.get(service, ())
            if known.endpoint is not None and known.ends_s > now_s
        )

    def errors(self, service: str) -> tuple[str, ...]:
        """What is wrong with the directory, or with leases of a service."""
        if self._error:
            return (self._error,)
        return tuple(known.error for known in self._by_service.get(service, ()) if known.error)

    def next_end_s(self, now_s: float) -> float | None:
        """When the next lease runs out; None: none does."""
        return min((known.ends_s for known in self._leases.values() if known.ends_s > now_s), default=None)


def _bad(stamp: Stamp, service: str, known: _Known | None, error: str) -> _Known:
    """What was known before holds as long as it would have held."""
    return _Known(stamp, service, known.endpoint if known else None, error, known.ends_s if known else 0.0)


def _endpoint_of(lease: Lease, service: str) -> Endpoint:
    """Raises InvalidText."""
    if lease.service != service:
        raise InvalidText(f"it is of {lease.service!r}, and its name says {service!r}")
    try:
        labels = {read_label(name): read_label(value) for name, value in lease.labels.items()}
        return Endpoint(read_endpoint_address(lease.address), labels, lease.weight)
    except InvalidText as error:
        raise InvalidText(error.message or f"bad address or label: {error.hint}") from None
