"""From configuration to what is to be checked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from fastmesh.health.model import Check, CheckedService, CheckKind

if TYPE_CHECKING:
    from fastmesh.config import Config, HealthCheck
    from fastmesh.snapshot import Service, Snapshot


def checked_services(config: Config, snapshot: Snapshot) -> list[CheckedService]:
    """The services of a snapshot whose configuration asks for checks, with the endpoints that they have there."""
    found = []
    for service in snapshot.services:
        written = config.services.get(service.name)
        if written is not None and written.health_check is not None:
            check = _secured(check_of(written.health_check), service, snapshot)
            found.append(CheckedService(service.name, check, service.endpoints))
    return found


def _secured(check: Check, service: Service, snapshot: Snapshot) -> Check:
    """Asked over TLS where the service speaks it; a TCP check looks no further than the connection."""
    if service.tls is None or check.kind is CheckKind.TCP:
        return check
    index = service.tls.certificate_index
    certificate = snapshot.certificates[index] if index >= 0 else None
    return msgspec.structs.replace(check, tls=service.tls, certificate=certificate)


def check_of(written: HealthCheck) -> Check:
    """The check that the configuration describes."""
    check = Check(
        kind=CheckKind.TCP,
        interval_ms=written.interval,
        timeout_ms=written.timeout,
        rise_count=written.rise,
        fall_count=written.fall,
    )
    if written.grpc is not None:
        return msgspec.structs.replace(check, kind=CheckKind.GRPC, grpc_service=written.grpc.service)
    if written.http is None:
        return check
    first, last = written.http.status
    return msgspec.structs.replace(
        check,
        kind=CheckKind.HTTP,
        path=written.http.path,
        host=written.http.host,
        status_first=first,
        status_last=last,
    )
