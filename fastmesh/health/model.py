"""What is to be checked, and what is known of it."""

from __future__ import annotations

from enum import IntEnum
from typing import Protocol

import msgspec

from fastmesh.snapshot import Certificate, Endpoint, ServiceTls


class CheckKind(IntEnum):
    """How an endpoint is asked."""

    HTTP = 0  # GET, and the status tells
    TCP = 1  # a connection that is accepted is enough
    GRPC = 2  # grpc.health.v1.Health/Check says SERVING


class Check(msgspec.Struct, frozen=True, gc=False):
    """The active check of a service."""

    kind: CheckKind = CheckKind.HTTP
    path: str = "/"  # of the request, with its query
    host: str = ""  # Host header; empty: the endpoint's own address and port
    status_first: int = 200  # statuses from here ...
    status_last: int = 399  # ... to here are healthy
    grpc_service: str = ""  # whose health is asked for; empty: the whole server's
    tls: ServiceTls | None = None  # of the service, with the certificate that it shows; a TCP check has none
    certificate: Certificate | None = None
    interval_ms: int = 2000  # from the end of one check to the next, jittered by a tenth
    timeout_ms: int = 1000  # for a whole check: connect, request, answer
    fall_count: int = 3  # failures in a row that make a healthy endpoint unhealthy
    rise_count: int = 2  # successes in a row that make an unhealthy endpoint healthy


class CheckedService(msgspec.Struct, frozen=True, gc=False):
    """A service whose endpoints are to be checked."""

    name: str
    check: Check
    endpoints: tuple[Endpoint, ...]


class EndpointHealth(msgspec.Struct, gc=False):
    """What the checks know of one endpoint."""

    service: str
    healthy: bool = True  # what the data plane acts on; true until the first result
    checks: int = 0  # results so far
    failures: int = 0  # of these, how many failed
    consecutive: int = 0  # results in a row that agree with the last one
    last_passed: bool = True
    last_error: str = ""  # of the last failure; kept after it has passed again
    last_error_at: float = 0.0  # seconds since the epoch; 0: never
    since: float = 0.0  # seconds since the epoch: when `healthy` last changed; 0: no result yet


class HealthFlags(Protocol):
    """Where results go: the shared memory of the workers."""

    def set_health(self, endpoint_id: int, healthy: bool) -> None: ...

    def bump_health(self) -> None: ...
