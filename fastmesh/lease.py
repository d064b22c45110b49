"""The lease of an instance: a file that says where it answers and for how long, renewed while it lives.

It stands as NAME@host-port.json in the registry, a directory that all meshes share which send requests to it. Whoever
reads it goes by the time of the file, not by the `expires_at` inside (which is for people): see
fastmesh.discovery.registry.
"""

from __future__ import annotations

import contextlib
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

TTL_S = 15.0
TTL_MIN_S, TTL_MAX_S = 1.0, 3600.0
RENEWALS = 3  # in one time to live: two may be lost
SWEPT_AFTER_S = 3600.0
_EPOCH = datetime.fromtimestamp(0, UTC)


class Lease(Struct, frozen=True):
    """What the file holds."""

    service: str
    address: str  # "10.0.0.5:8080", "[fd00::5]:8080"
    ttl_s: Annotated[float, Meta(ge=TTL_MIN_S, le=TTL_MAX_S)] = TTL_S
    labels: dict[str, str] = {}
    weight: Annotated[int, Meta(ge=0, le=10_000)] = 1
    expires_at: datetime = _EPOCH  # by the clock of the one that wrote it

    @property
    def file_name(self) -> str:
        host, _, port = self.address.rpartition(":")
        return f"{self.service}@{host.strip('[]')}-{port}.json"


def service_of(file_name: str) -> str:
    """The service whose lease a file is; empty: it is none."""
    name, at, rest = file_name.partition("@")
    return name if at and rest.endswith(".json") and not name.startswith(".") else ""


class HeldLease:
    """A lease of ours in a registry."""

    def __init__(self, directory: Path, lease: Lease) -> None:
        self._lease = lease
        self._path = directory / lease.file_name
        self._identity = (0, 0)

    @property
    def renewal_interval_s(self) -> float:
        return self._lease.ttl_s / RENEWALS

    def renew(self) -> None:
        """Write it, anew or for the first time: at once as a whole. Raises OSError."""
        expires_at = datetime.now(UTC) + timedelta(seconds=self._lease.ttl_s)
        content = msgspec.json.encode(msgspec.structs.replace(self._lease, expires_at=expires_at))
        self._path.parent.mkdir(parents=True, exist_ok=True)
        beside = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        try:
            beside.write_bytes(msgspec.json.format(content, indent=2) + b"\n")
            identity = _identity(beside)
            beside.replace(self._path)
        except OSError:
            beside.unlink(missing_ok=True)
            raise
        self._identity = identity

    def give_up(self) -> None:
        """Remove it, unless somebody else has written one of the same name since. Raises OSError."""
        with contextlib.suppress(FileNotFoundError):
            if _identity(self._path) == self._identity:
                self._path.unlink()

    def sweep(self) -> None:
        """Remove leases of the same service that ran out long ago: those of nodes that died. Call it after `renew`."""
        with contextlib.suppress(OSError):
            # Two times of one file system: whatever the clocks of machines say, these can be compared.
            now_s = self._path.stat().st_mtime
            for path in self._path.parent.glob(f"{self._lease.service}@*.json"):
                with contextlib.suppress(OSError):
                    if now_s - path.stat().st_mtime > TTL_MAX_S + SWEPT_AFTER_S:
                        path.unlink()


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return (status.st_ino, status.st_mtime_ns)
