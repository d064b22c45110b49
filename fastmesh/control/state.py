"""What the supervisor knows, as plain data: admin API and `fastmesh status` read it, only the supervisor writes it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from fastmesh.control.history import History
from fastmesh.snapshot import Snapshot

if TYPE_CHECKING:
    from fastmesh.config import CertificateFile, Problem


class WorkerPhase(StrEnum):
    """The life of the process in a worker's slot."""

    STARTING = "starting"  # forked, has not acknowledged a snapshot
    SERVING = "serving"
    DRAINING = "draining"
    BACKOFF = "backoff"  # it crashed; the next start waits until `WorkerState.next_start_s`
    STOPPED = "stopped"


@dataclass(slots=True)
class WorkerState:
    """One worker's slot; the processes in it come and go."""

    slot: int  # index in shared memory
    pid: int = 0  # 0: no process now
    phase: WorkerPhase = WorkerPhase.STOPPED
    started_s: float = 0.0  # Unix time of the last start
    version: str = ""  # the snapshot that it serves
    restarts: int = 0  # starts after the first
    last_exit: str = ""  # "killed by SIGKILL", "exit status 1"; empty: it never ended
    next_start_s: float = 0.0  # Unix time; only in phase BACKOFF


class ListenerPhase(StrEnum):
    LISTENING = "listening"
    DRAINING = "draining"  # removed from the configuration or moved; exchanges on the old socket finish


@dataclass(slots=True)
class ListenerState:
    """One bound listener."""

    id: int
    name: str
    address: str  # "127.0.0.1:8080", "[::1]:8080"
    phase: ListenerPhase = ListenerPhase.LISTENING


@dataclass(slots=True)
class State:
    """The whole of it. Replaced field by field, between two turns of the supervisor's loop."""

    directory: str
    worker_count: int
    started_s: float = field(default_factory=time.time)  # Unix time
    snapshot: Snapshot | None = None  # what is served: the last good one
    sources: dict[str, str] = field(default_factory=dict)  # of that snapshot: file, relative to the directory, to text
    certificates: tuple[CertificateFile, ...] = ()  # files of that snapshot
    problems: tuple[Problem, ...] = ()  # errors of the last attempt, when it failed
    warnings: tuple[Problem, ...] = ()  # of the snapshot that is served
    error: str = ""  # why the last attempt failed, when not for a problem in the files; empty: it did not
    history: History = field(default_factory=History)
    workers: list[WorkerState] = field(default_factory=list)  # by slot
    listeners: list[ListenerState] = field(default_factory=list)
    draining: bool = False  # SIGTERM came, or the admin API asked

    @property
    def version(self) -> str:
        """The version that is served; empty: none yet."""
        return self.snapshot.version if self.snapshot is not None else ""

    @property
    def serving_workers(self) -> int:
        return sum(worker.phase is WorkerPhase.SERVING for worker in self.workers)

    @property
    def ready(self) -> bool:
        """Whether new requests should be sent here: at least one worker serves, and nothing drains."""
        return not self.draining and self.serving_workers > 0

    @property
    def stale(self) -> bool:
        """Whether the directory holds something other than what is served, because it could not be applied."""
        return bool(self.problems or self.error)
