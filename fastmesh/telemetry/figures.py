"""The control plane's own figures, as metrics and the admin API show them: plain data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class EndpointHealth:
    """An endpoint and what its active check says."""

    service: str
    address: str  # "host:port", the name under which the registry knows it
    healthy: bool


@dataclass(frozen=True, slots=True)
class ServiceHealth:
    """How many of a service's endpoints are well. `panicking`: too few, so all are used."""

    service: str
    healthy: int
    total: int
    panicking: bool


@dataclass(frozen=True, slots=True)
class DiscoveryFigures:
    """How it stands with the sources of a service, and with the names of its endpoints."""

    service: str
    age_s: float  # for how long the worst of them has said nothing good; 0: all do
    errors: int  # files, leases and look-ups that are of no use now


@dataclass(frozen=True, slots=True)
class CertificateExpiry:
    """A file of certificates, and when it is of no more use."""

    name: str  # its path, as it is written
    not_after_unix_s: int


@dataclass(frozen=True, slots=True)
class ControlFigures:
    """What the supervisor counts and knows itself. Times are Unix seconds."""

    version: str  # of the package
    snapshot_version: str = ""  # empty: none yet
    started_unix_s: float = 0.0
    reloads: Mapping[str, int] = field(default_factory=dict)  # by outcome: "applied", "rejected", "unchanged"
    last_reload_unix_s: float = 0.0  # the last attempt; 0: none
    last_applied_unix_s: float = 0.0  # the last that took effect
    config_errors: int = 0  # in the configuration as it stands on disk
    worker_restarts: int = 0
    live_kinds: Sequence[str] = ()  # fastmesh._core.engine.LIVE_KINDS; empty: live objects are not shown
    services: Sequence[ServiceHealth] = ()
    endpoints: Sequence[EndpointHealth] = ()
    discovery: Sequence[DiscoveryFigures] = ()
    certificates: Sequence[CertificateExpiry] = ()
    log_lines_written: int = 0  # by the sink, of all workers
    log_lines_dropped: int = 0  # by the sink: the disk is full
