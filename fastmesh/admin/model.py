"""What the admin API answers with: the shape of its JSON, from which its OpenAPI description is made."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

Place = Annotated[str, Meta(description="file:line in the configuration; empty if it stands in no file")]
LevelName = Literal["debug", "info", "warning", "error"]


class Error(Struct, frozen=True):
    """Why a request was not served."""

    error: str
    hint: Annotated[str, Meta(description="what to do about it; may be empty")] = ""


class Health(Struct, frozen=True):
    """Whether the process is alive."""

    status: Literal["alive"]


class Readiness(Struct, frozen=True):
    """Whether new requests should be sent here."""

    ready: bool
    reason: Annotated[str, Meta(description="why not; empty when ready")]


class Problem(Struct, frozen=True):
    """An error or a warning in the configuration. Line and column begin at 1; 0: the file as a whole."""

    file: str
    line: int
    column: int
    severity: Literal["error", "warning"]
    message: str
    text: Annotated[str, Meta(description="the offending text, as written")]
    expected: str
    hint: str


class Problems(Struct, frozen=True):
    """What is wrong in the directory as it stands."""

    stale: Annotated[bool, Meta(description="the directory holds something that could not be applied")]
    error: Annotated[str, Meta(description="why it could not be, if not for an error in a file")]
    errors: list[Problem]
    warnings: Annotated[list[Problem], Meta(description="of the version that is served")]


class Change(Struct, frozen=True):
    """One thing that a version changed against the one before it."""

    kind: Annotated[str, Meta(description='"listeners", "services", "routes", "files", or a kind without names')]
    name: Annotated[str, Meta(description="empty: the kind has no names")]
    action: Literal["added", "removed", "changed"]
    field: Annotated[str, Meta(description='such as "timeouts.connect"; empty: the whole')]
    text: Annotated[str, Meta(description="in words")]


class Reload(Struct, frozen=True):
    """One attempt to load the directory."""

    at: datetime
    version: str
    outcome: Literal["applied", "invalid", "unbound", "unchanged"]
    duration_ms: float
    error: str
    problems: list[Problem]
    changes: Annotated[list[Change], Meta(description="the first of them; none of the first version")]
    changes_total: int


class Listener(Struct, frozen=True):
    """A bound address. Bytes are those of bodies."""

    name: str
    source: Place
    address: str
    phase: Literal["listening", "draining"]
    protocol: Annotated[Literal["http", "http1", "http2", "tcp", "detect", ""], Meta(description="empty: draining")]
    tls: Literal["none", "optional", "required"]
    connections: int
    connections_max: int
    accepted: int
    refused: int
    bytes_in: int
    bytes_out: int


class Certificate(Struct, frozen=True):
    """A file of certificates that is in use. What is secret is not in here."""

    name: Annotated[str, Meta(description="its path, as written in the configuration")]
    kind: Annotated[Literal["certificate", "ca"], Meta(description="whether we show it, or verify others by it")]
    names: Annotated[list[str], Meta(description="DNS names and IP addresses that it is for; of a CA none")]
    not_before: datetime
    not_after: Annotated[datetime, Meta(description="the first of its chain to expire; of a CA's file the last")]
    phase: Literal["valid", "expires soon", "expired", "not yet valid"]
    used_by: Annotated[list[str], Meta(description='"listeners.web", "services.hello"')]


class Latency(Struct, frozen=True):
    """Of all requests so far, in milliseconds; null: there were none."""

    p50_ms: float | None
    p90_ms: float | None
    p99_ms: float | None


class Endpoint(Struct, frozen=True):
    """One place where a service answers, and what is known of it."""

    address: str
    labels: dict[str, str]
    weight: Annotated[int, Meta(description="0: draining, chosen by nobody")]
    healthy: bool
    checked: Annotated[bool, Meta(description="whether an active check has given a result")]
    healthy_since: Annotated[datetime | None, Meta(description="when its health last changed")]
    check_failures: int
    last_check_error: str
    active: Annotated[int, Meta(description="requests in flight")]
    connections: int
    idle_connections: int
    requests: int
    failures: int
    connect_failures: int
    ewma_ms: Annotated[float, Meta(description="the estimate of peak_ewma; 0: none")]


class Name(Struct, frozen=True):
    """A DNS name that endpoints stand for."""

    name: str
    addresses: list[str]
    age_s: Annotated[float | None, Meta(description="of the addresses; null: there was never an answer")]
    ttl_s: float
    lookups: int
    failures: int
    error: Annotated[str, Meta(description="of the last look-up; empty: it succeeded")]


class Source(Struct, frozen=True):
    """Where a service finds endpoints while the mesh runs."""

    service: str
    kind: Literal["srv", "files", "registry"]
    place: Annotated[str, Meta(description="the name or the path, as it is written")]
    endpoints: Annotated[int, Meta(description="in force, those of a name counted once")]
    age_s: Annotated[float, Meta(description="for how long it has said nothing good, so that the last endpoints stay")]
    errors: Annotated[list[str], Meta(description="why not; empty: what it says now is in force")]


class ServiceSummary(Struct, frozen=True):
    """A service in short."""

    name: str
    source: Place
    balance: str
    endpoints_healthy: int
    endpoints_total: int
    panicking: Annotated[bool, Meta(description="too few are healthy: all are used")]
    active: int
    requests: int
    retries: int
    connects: int
    connect_failures: int
    latency: Annotated[Latency, Meta(description="from the request head to the end of the response")]
    upstream_latency: Annotated[Latency, Meta(description="from the request sent on to the response head")]


class Service(ServiceSummary, frozen=True):
    """A service with its endpoints."""

    subsets: list[dict[str, str]]
    endpoints: list[Endpoint]


class RouteDestination(Struct, frozen=True):
    """One arm of a route."""

    service: str
    subset: dict[str, str]
    weight: int


class Route(Struct, frozen=True):
    """A route and what went through it."""

    name: str
    source: Place
    listeners: list[str]
    hosts: Annotated[list[str], Meta(description="empty: any")]
    path: Annotated[str, Meta(description='"exact /a", "prefix /a", "regex /a.*"')]
    methods: Annotated[list[str], Meta(description="empty: any")]
    headers: Annotated[list[str], Meta(description="each test in words")]
    query: list[str]
    client: Annotated[list[str], Meta(description="tests of the client's verified identity")]
    destinations: list[RouteDestination]
    requests: int
    statuses: Annotated[dict[str, int], Meta(description='requests by status class: "2xx", or "none"')]
    reasons: Annotated[dict[str, int], Meta(description="requests that failed, by reason")]


class Worker(Struct, frozen=True):
    """One worker process."""

    slot: int
    pid: Annotated[int, Meta(description="0: no process now")]
    phase: Literal["starting", "serving", "draining", "backoff", "stopped"]
    started_at: datetime | None
    version: str
    restarts: int
    last_exit: str
    heartbeat_age_s: float | None
    events: int
    buffer_bytes: int
    log_lines: int
    log_dropped: int


Compiled = dict[str, Any]


class Config(Struct, frozen=True):
    """The active configuration, compiled: what the workers have. Ids and indexes are those of the snapshot."""

    version: str
    directory: str
    applied_at: datetime | None
    stale: bool
    files: list[str]
    access_log: Compiled
    listeners: Annotated[list[Compiled], Meta(description="each with `source`, its file:line")]
    services: Annotated[list[Compiled], Meta(description="each with `source`, its file:line")]
    routes: Annotated[list[Compiled], Meta(description="each with `source`, its file:line")]
    limits: list[Compiled]
    certificates: Annotated[list[Compiled], Meta(description="names alone; texts and keys are not shown")]


class Status(Struct, frozen=True):
    """Everything at a glance."""

    fastmesh: Annotated[str, Meta(description="the version of the program")]
    pid: int
    started_at: datetime
    readiness: Readiness
    version: Annotated[str, Meta(description="of the configuration that is served; empty: none yet")]
    directory: str
    applied_at: datetime | None
    listeners: list[Listener]
    services: list[ServiceSummary]
    routes_total: int
    names: list[Name]
    sources: list[Source]
    certificates: list[Certificate]
    workers: list[Worker]
    problems: Problems
    last_reload: Reload | None


class LogLevel(Struct, frozen=True, forbid_unknown_fields=True):
    """The level of the supervisor's own log."""

    level: LevelName


class Draining(Struct, frozen=True):
    """Draining has begun, now or before."""

    draining: Literal[True]
