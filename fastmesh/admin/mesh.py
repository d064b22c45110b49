"""What the admin API asks of whoever runs the mesh. The supervisor's state has this shape; a test's may have it too."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from fastmesh._core.shared import SharedMemory
    from fastmesh.config import CertificateFile, Problem
    from fastmesh.config.difference import Change
    from fastmesh.snapshot import Snapshot


class AttemptLike(Protocol):
    """One attempt to load the directory (fastmesh.control.history.Attempt)."""

    @property
    def time_s(self) -> float: ...
    @property
    def version(self) -> str: ...
    @property
    def outcome(self) -> str: ...
    @property
    def duration_ms(self) -> float: ...
    @property
    def problems(self) -> Sequence[Problem]: ...
    @property
    def error(self) -> str: ...
    @property
    def changes(self) -> Sequence[Change]: ...
    @property
    def change_count(self) -> int: ...


class HistoryLike(Protocol):
    """Attempts, newest first (fastmesh.control.history.History)."""

    def __iter__(self) -> Iterator[AttemptLike]: ...
    @property
    def last(self) -> AttemptLike | None: ...
    @property
    def last_applied_s(self) -> float: ...


class WorkerLike(Protocol):
    """A worker's slot (fastmesh.control.state.WorkerState)."""

    @property
    def slot(self) -> int: ...
    @property
    def pid(self) -> int: ...
    @property
    def phase(self) -> str: ...
    @property
    def started_s(self) -> float: ...
    @property
    def version(self) -> str: ...
    @property
    def restarts(self) -> int: ...
    @property
    def last_exit(self) -> str: ...


class ListenerLike(Protocol):
    """A bound listener (fastmesh.control.state.ListenerState)."""

    @property
    def id(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def address(self) -> str: ...
    @property
    def phase(self) -> str: ...


class StateLike(Protocol):
    """What the supervisor knows (fastmesh.control.state.State)."""

    @property
    def directory(self) -> str: ...
    @property
    def started_s(self) -> float: ...
    @property
    def snapshot(self) -> Snapshot | None: ...
    @property
    def sources(self) -> Mapping[str, str]: ...
    @property
    def certificates(self) -> Sequence[CertificateFile]: ...
    @property
    def problems(self) -> Sequence[Problem]: ...
    @property
    def warnings(self) -> Sequence[Problem]: ...
    @property
    def error(self) -> str: ...
    @property
    def history(self) -> HistoryLike: ...
    @property
    def workers(self) -> Sequence[WorkerLike]: ...
    @property
    def listeners(self) -> Sequence[ListenerLike]: ...
    @property
    def draining(self) -> bool: ...
    @property
    def ready(self) -> bool: ...
    @property
    def stale(self) -> bool: ...


class HealthLike(Protocol):
    """What active checks know of an endpoint (fastmesh.health.EndpointHealth)."""

    @property
    def healthy(self) -> bool: ...
    @property
    def checks(self) -> int: ...
    @property
    def failures(self) -> int: ...
    @property
    def last_error(self) -> str: ...
    @property
    def since(self) -> float: ...


class NameLike(Protocol):
    """What is known of a DNS name (fastmesh.discovery.NameState)."""

    @property
    def name(self) -> str: ...
    @property
    def addresses(self) -> Sequence[str]: ...
    @property
    def answered_at(self) -> float: ...
    @property
    def ttl_s(self) -> float: ...
    @property
    def lookups(self) -> int: ...
    @property
    def failures(self) -> int: ...
    @property
    def error(self) -> str: ...


class SourceLike(Protocol):
    """A source of endpoints (fastmesh.discovery.Source)."""

    @property
    def service(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def place(self) -> str: ...
    @property
    def endpoints(self) -> Sequence[object]: ...
    @property
    def errors(self) -> Sequence[str]: ...
    def age_s(self, unix_s: float, /) -> float: ...


class Mesh(Protocol):
    """The mesh that the admin API shows and steers."""

    @property
    def state(self) -> StateLike: ...

    @property
    def shared(self) -> SharedMemory: ...

    def health(self, endpoint_id: int) -> HealthLike | None:
        """None: the endpoint is not checked."""

    def names(self) -> Iterable[NameLike]:
        """The DNS names that are followed."""

    def sources(self) -> Iterable[SourceLike]:
        """The sources of endpoints, by service."""

    def place(self, kind: str, name: str) -> str:
        """Where a thing of the active configuration is written, as file:line; empty: in no file.

        `kind`: "listeners", "services", "routes".
        """

    def metrics(self, accept: str) -> tuple[str, Iterator[str]]:
        """The content type that fits an Accept header, and the exposition in chunks."""

    def log_level(self) -> str:
        """The level of the supervisor's log."""

    def set_log_level(self, level: str) -> None:
        """One of "debug", "info", "warning", "error"."""

    async def reload(self) -> AttemptLike:
        """Read the directory now; how that ended."""

    def drain(self) -> None:
        """Be unready from now on, for good: clients are expected to go elsewhere. Requests are still served."""
