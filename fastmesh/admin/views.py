"""From the mesh's state and counters to what the admin API answers with."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from fastmesh import __version__, snapshot
from fastmesh._core.histogram import quantile
from fastmesh._core.reason import NAMES as REASONS
from fastmesh.admin import model
from fastmesh.admin.mesh import AttemptLike, Mesh, NameLike, SourceLike, StateLike, WorkerLike

if TYPE_CHECKING:
    from fastmesh.config import Problem

HISTORY_PROBLEMS_MAX = 20  # shown of each attempt


def readiness(state: StateLike) -> model.Readiness:
    """Whether the mesh takes requests, and if not, the first reason."""
    if state.draining:
        reason = "draining"
    elif state.snapshot is None:
        reason = "no configuration has been applied yet"
    elif not state.ready:
        reason = "no worker serves"
    else:
        reason = ""
    return model.Readiness(not reason, reason)


def problem(found: Problem) -> model.Problem:
    return model.Problem(
        found.file,
        found.line,
        found.column,
        "warning" if found.severity == "warning" else "error",
        found.message,
        found.text,
        found.expected,
        found.hint,
    )


def problems(state: StateLike) -> model.Problems:
    return model.Problems(
        state.stale,
        state.error,
        [problem(each) for each in state.problems if each.severity == "error"],
        [problem(each) for each in state.warnings],
    )


def reload(attempt: AttemptLike) -> model.Reload:
    shown = attempt.problems[:HISTORY_PROBLEMS_MAX]
    at = datetime.fromtimestamp(attempt.time_s, UTC)
    outcome: Any = str(attempt.outcome)
    return model.Reload(
        at,
        attempt.version,
        outcome,
        round(attempt.duration_ms, 3),
        attempt.error,
        [problem(each) for each in shown],
        [model.Change(*change) for change in attempt.changes],
        attempt.change_count,
    )


def listeners(mesh: Mesh) -> list[model.Listener]:
    known = {each.id: each for each in mesh.state.snapshot.listeners} if mesh.state.snapshot else {}
    return [
        model.Listener(
            name=bound.name,
            source=mesh.place("listeners", bound.name),
            address=bound.address,
            phase="listening" if bound.phase == "listening" else "draining",
            protocol=_protocol(known.get(bound.id)),
            tls=_tls(known.get(bound.id)),
            connections=stats.connections,
            connections_max=known[bound.id].connections_max if bound.id in known else 0,
            accepted=stats.accepted,
            refused=stats.refused,
            bytes_in=stats.bytes_in,
            bytes_out=stats.bytes_out,
        )
        for bound in mesh.state.listeners
        for stats in [mesh.shared.listener(bound.id)]
    ]


def _protocol(listener: snapshot.Listener | None) -> Any:
    return listener.protocol.name.lower() if listener is not None else ""


def _tls(listener: snapshot.Listener | None) -> Literal["none", "optional", "required"]:
    if listener is None or listener.tls is None:
        return "none"
    return "optional" if listener.tls.is_optional else "required"


def certificates(state: StateLike) -> list[model.Certificate]:
    now_s = time.time()
    return [
        model.Certificate(
            name=file.name,
            kind="ca" if file.is_ca else "certificate",
            names=list(file.names),
            not_before=datetime.fromtimestamp(file.validity.not_before_s, UTC),
            not_after=datetime.fromtimestamp(file.validity.not_after_s, UTC),
            phase=file.validity.phase(now_s).value,
            used_by=list(file.used_by),
        )
        for file in state.certificates
    ]


def service_summaries(mesh: Mesh) -> Iterator[model.ServiceSummary]:
    if mesh.state.snapshot is not None:
        for service in mesh.state.snapshot.services:
            yield model.ServiceSummary(**_service_fields(mesh, service))


def service(mesh: Mesh, name: str) -> model.Service | None:
    """None: there is no service of that name."""
    for found in mesh.state.snapshot.services if mesh.state.snapshot else ():
        if found.name == name:
            endpoints = [_endpoint(mesh, each) for each in found.endpoints]
            subsets = [dict(labels) for labels in found.subsets[1:]]
            return model.Service(**_service_fields(mesh, found), subsets=subsets, endpoints=endpoints)
    return None


def _service_fields(mesh: Mesh, service: snapshot.Service) -> dict[str, Any]:
    stats = mesh.shared.service(service.id)
    healthy = sum(mesh.shared.is_healthy(endpoint.id) for endpoint in service.endpoints)
    return {
        "name": service.name,
        "source": mesh.place("services", service.name),
        "balance": service.balance.name.lower(),
        "endpoints_healthy": healthy,
        "endpoints_total": len(service.endpoints),
        "panicking": healthy * 100 < service.panic_percent * len(service.endpoints),
        "active": stats.active,
        "requests": sum(stats.duration_us),
        "retries": stats.retries,
        "connects": stats.connects,
        "connect_failures": stats.connect_failures,
        "latency": _latency(stats.duration_us),
        "upstream_latency": _latency(stats.upstream_us),
    }


def _latency(counts: Sequence[int]) -> model.Latency:
    if not any(counts):
        return model.Latency(None, None, None)
    return model.Latency(*(round(quantile(counts, share) / 1000, 3) for share in (0.5, 0.9, 0.99)))


def _endpoint(mesh: Mesh, endpoint: snapshot.Endpoint) -> model.Endpoint:
    stats = mesh.shared.endpoint(endpoint.id)
    health = mesh.health(endpoint.id)
    return model.Endpoint(
        address=address(endpoint.host, endpoint.port),
        labels=dict(endpoint.labels),
        weight=endpoint.weight,
        healthy=mesh.shared.is_healthy(endpoint.id),
        checked=bool(health and health.checks),
        healthy_since=_moment(health.since) if health else None,
        check_failures=health.failures if health else 0,
        last_check_error=health.last_error if health else "",
        active=stats.active,
        connections=stats.connections,
        idle_connections=stats.idle,
        requests=stats.requests,
        failures=stats.failures,
        connect_failures=stats.connect_failures,
        ewma_ms=stats.ewma_us / 1000,
    )


def names(followed: Iterable[NameLike]) -> list[model.Name]:
    now = time.time()
    return [
        model.Name(
            name=each.name,
            addresses=list(each.addresses),
            age_s=round(now - each.answered_at, 3) if each.answered_at else None,
            ttl_s=each.ttl_s,
            lookups=each.lookups,
            failures=each.failures,
            error=each.error,
        )
        for each in followed
    ]


def sources(followed: Iterable[SourceLike]) -> list[model.Source]:
    now = time.time()
    return [
        model.Source(each.service, _kind(each.kind), each.place, len(each.endpoints), round(each.age_s(now), 3), errors)
        for each in followed
        for errors in [list(each.errors)]
    ]


def _kind(kind: str) -> Any:
    return kind


def routes(mesh: Mesh) -> Iterator[model.Route]:
    """All routes, in the order in which they were written."""
    active = mesh.state.snapshot
    for route in active.routes if active else ():
        series_ids = {series_id for destination in route.destinations for series_id in destination.series_ids}
        series = [mesh.shared.series(series_id) for series_id in series_ids]
        statuses = [sum(column) for column in zip(*(stats.requests for stats in series), strict=True)]
        reasons = [sum(column) for column in zip(*(stats.reasons for stats in series), strict=True)]
        yield model.Route(
            name=route.name,
            source=mesh.place("routes", route.name),
            listeners=[active.listeners[index].name for index in route.listener_indexes] if active else [],
            hosts=list(route.hosts),
            path=f"{route.path_match.name.lower()} {route.path}",
            methods=list(route.methods),
            headers=[_test(test) for test in route.headers],
            query=[_test(test) for test in route.query],
            client=[_test(test) for test in route.client],
            destinations=[_destination(active, each) for each in route.destinations] if active else [],
            requests=sum(statuses),
            statuses={f"{index}xx" if index else "none": count for index, count in enumerate(statuses) if count},
            reasons={name: count for name, count in zip(REASONS, reasons, strict=False) if name and count},
        )


def _destination(active: snapshot.Snapshot, destination: snapshot.Destination) -> model.RouteDestination:
    service = active.services[destination.service_index]
    return model.RouteDestination(service.name, dict(service.subsets[destination.subset_index]), destination.weight)


def _test(test: snapshot.ValueTest) -> str:
    words = [test.name, "not" if test.negated else "", test.match.name.lower(), test.value]
    return " ".join(word for word in words if word)


def workers(mesh: Mesh) -> list[model.Worker]:
    stats = {each.worker: each for each in mesh.shared.workers()}
    now_ns = time.monotonic_ns()
    return [_worker(each, stats.get(each.slot), now_ns) for each in mesh.state.workers]


def _worker(worker: WorkerLike, stats: Any, now_ns: int) -> model.Worker:
    phase: Any = str(worker.phase)
    beats = worker.pid and stats is not None and stats.heartbeat_ns
    return model.Worker(
        slot=worker.slot,
        pid=worker.pid,
        phase=phase,
        started_at=_moment(worker.started_s),
        version=worker.version,
        restarts=worker.restarts,
        last_exit=worker.last_exit,
        heartbeat_age_s=round(max(now_ns - stats.heartbeat_ns, 0) / 1e9, 3) if beats else None,
        events=stats.events if stats else 0,
        buffer_bytes=stats.buffer_bytes if stats else 0,
        log_lines=stats.log_lines if stats else 0,
        log_dropped=stats.log_dropped if stats else 0,
    )


def config(mesh: Mesh) -> dict[str, Any]:
    """model.Config, its long lists as iterators."""
    state = mesh.state
    active = state.snapshot or snapshot.Snapshot("", (), (), (), ())

    def compiled(kind: str, parts: Iterable[Any]) -> Iterator[dict[str, Any]]:
        for part in parts:
            yield {"source": mesh.place(kind, part.name), **_named(part)}

    return {
        "version": active.version,
        "directory": state.directory,
        "applied_at": _moment(state.history.last_applied_s),
        "stale": state.stale,
        "files": sorted(state.sources),
        "access_log": _named(active.access_log),
        "listeners": compiled("listeners", active.listeners),
        "services": compiled("services", active.services),
        "routes": compiled("routes", active.routes),
        "limits": map(_named, active.limits),
        "certificates": [{"name": each.name, "names": each.names} for each in active.certificates],
    }


def _named(part: Any) -> Any:
    """A part of a snapshot with its fields by name: on the wire they go by position."""
    if isinstance(part, msgspec.Struct):
        return {field: _named(getattr(part, field)) for field in part.__struct_fields__}
    if isinstance(part, tuple):
        return [_named(each) for each in part]
    if isinstance(part, bytes):
        return f"{len(part)} bytes"  # PEM: too long to be read, and nobody's business
    return part.name.lower() if isinstance(part, IntEnum) else part


def status(mesh: Mesh) -> model.Status:
    state = mesh.state
    last = state.history.last
    return model.Status(
        fastmesh=__version__,
        pid=os.getpid(),
        started_at=datetime.fromtimestamp(state.started_s, UTC),
        readiness=readiness(state),
        version=state.snapshot.version if state.snapshot else "",
        directory=state.directory,
        applied_at=_moment(state.history.last_applied_s),
        listeners=listeners(mesh),
        services=list(service_summaries(mesh)),
        routes_total=len(state.snapshot.routes) if state.snapshot else 0,
        names=names(mesh.names()),
        sources=sources(mesh.sources()),
        certificates=certificates(state),
        workers=workers(mesh),
        problems=problems(state),
        last_reload=reload(last) if last is not None else None,
    )


def address(host: str, port: int) -> str:
    """Host and port as one writes them."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _moment(unix_s: float) -> datetime | None:
    return datetime.fromtimestamp(unix_s, UTC) if unix_s and math.isfinite(unix_s) else None
