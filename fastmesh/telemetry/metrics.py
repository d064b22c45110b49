"""Metrics: what the workers counted in shared memory, and what the control plane knows, as text.

Labels come from configured names only. What was never counted is left out. Names that found no room in shared memory
are counted together, under the name OVERFLOW.
"""

from collections.abc import Callable, Iterator

from fastmesh._core.http2_guard import ATTACKS
from fastmesh._core.shared import SharedMemory, WorkerStats
from fastmesh.telemetry.exposition import Families, Family, Format, labels, negotiate, single, used_only, write
from fastmesh.telemetry.figures import ControlFigures
from fastmesh.telemetry.grpc_traffic import grpc_families
from fastmesh.telemetry.ids import IdRegistry, Kind
from fastmesh.telemetry.traffic import OVERFLOW, endpoint_families, listener_families, series_families, service_families

__all__ = ["OVERFLOW", "Format", "negotiate", "render"]


def render(
    shared: SharedMemory, registry: IdRegistry, figures: ControlFigures, form: Format, *, by_endpoint: bool = False
) -> Iterator[str]:
    """The exposition in chunks, none empty, each the work of about a millisecond: give the event loop its turn between.

    `by_endpoint` adds a series for each endpoint.
    """
    return write(_families(shared, registry, figures, by_endpoint), form)


def _families(shared: SharedMemory, registry: IdRegistry, figures: ControlFigures, by_endpoint: bool) -> Families:
    yield from _control_families(figures)
    yield from series_families(shared, registry)
    yield from service_families(shared, registry)
    yield from endpoint_families(shared, registry, figures, by_endpoint)
    yield from listener_families(shared, registry)
    yield from grpc_families(shared, registry)
    yield from _worker_families(shared, figures)
    yield from _memory_families(shared, registry)


def _control_families(figures: ControlFigures) -> Families:
    yield Family("fastmesh_build", "info", "The version that runs."), single(1, labels(version=figures.version))
    if figures.snapshot_version:
        pairs = labels(version=figures.snapshot_version)
        yield Family("fastmesh_snapshot", "info", "The configuration in force: a hash of it."), single(1, pairs)
    yield (
        Family("fastmesh_start_time_seconds", "gauge", "When the supervisor started, Unix time.", "seconds"),
        single(figures.started_unix_s),
    )
    yield (
        Family("fastmesh_reloads", "counter", "Attempts to load the configuration, by outcome."),
        [("", labels(outcome=outcome), count) for outcome, count in figures.reloads.items()],
    )
    yield (
        Family("fastmesh_last_reload_timestamp_seconds", "gauge", "The last attempt to load, Unix time.", "seconds"),
        single(figures.last_reload_unix_s),
    )
    yield (
        Family("fastmesh_last_applied_timestamp_seconds", "gauge", "The last load that took effect.", "seconds"),
        single(figures.last_applied_unix_s),
    )
    yield (
        Family("fastmesh_config_errors", "gauge", "Errors in the configuration as it stands on disk."),
        single(figures.config_errors),
    )
    yield (
        Family("fastmesh_certificate_expiry_timestamp_seconds", "gauge", "When a certificate expires.", "seconds"),
        [("", labels(certificate=each.name), each.not_after_unix_s) for each in figures.certificates],
    )
    yield from _discovery_families(figures)


def _discovery_families(figures: ControlFigures) -> Families:
    yield (
        Family(
            "fastmesh_discovery_age_seconds",
            "gauge",
            "For how long a source of endpoints has said nothing good, the last ones being kept; 0: all do.",
            "seconds",
        ),
        [("", labels(service=each.service), round(each.age_s, 3)) for each in figures.discovery],
    )
    yield (
        Family("fastmesh_discovery_errors", "gauge", "Files, leases and look-ups that are of no use now."),
        [("", labels(service=each.service), each.errors) for each in figures.discovery],
    )


_WORKER_COUNTERS: tuple[tuple[str, str, Callable[[WorkerStats], int]], ...] = (
    ("fastmesh_worker_wakes", "Turns of the worker's loop.", lambda stats: stats.wakes),
    ("fastmesh_worker_events", "Socket events handled.", lambda stats: stats.events),
    ("fastmesh_access_log_lines", "Access log lines handed over.", lambda stats: stats.log_lines),
    ("fastmesh_access_log_dropped", "Access log lines that found no room.", lambda stats: stats.log_dropped),
)


def _worker_families(shared: SharedMemory, figures: ControlFigures) -> Families:
    workers = shared.workers()
    kept = [(labels(worker=str(stats.worker)), stats) for stats in workers]
    running = sum(stats.pid != 0 for stats in workers)
    yield Family("fastmesh_workers", "gauge", "Worker processes."), single(running)
    yield Family("fastmesh_worker_restarts", "counter", "Workers replaced."), single(figures.worker_restarts)
    for name, about, value in _WORKER_COUNTERS:
        yield Family(name, "counter", about), [("", pairs, value(stats)) for pairs, stats in kept]
    yield (
        Family("fastmesh_http2_cut_off", "counter", "HTTP/2 peers that were cut off, by what they did too often."),
        used_only(
            (labels(kind=kind), sum(stats.http2_attacks[index] for stats in workers))
            for index, kind in enumerate(ATTACKS)
        ),
    )
    yield (
        Family("fastmesh_access_log_written", "counter", "Access log lines written to the file."),
        single(figures.log_lines_written),
    )
    yield (
        Family("fastmesh_access_log_discarded", "counter", "Access log lines that the file did not take."),
        single(figures.log_lines_dropped),
    )
    yield (
        Family("fastmesh_worker_buffer_bytes", "gauge", "Buffers held by connections.", "bytes"),
        [("", pairs, stats.buffer_bytes) for pairs, stats in kept if stats.pid],
    )
    yield (
        Family("fastmesh_worker_live_objects", "gauge", "Live objects of the request path, by kind."),
        [
            ("", f'{pairs},kind="{kind}"', count)
            for pairs, stats in kept
            for kind, count in zip(figures.live_kinds, stats.live, strict=False)
            if stats.pid
        ],
    )


def _memory_families(shared: SharedMemory, registry: IdRegistry) -> Families:
    yield (
        Family("fastmesh_rate_limit_evictions", "counter", "Rate-limit buckets pushed out before they were full."),
        single(shared.limiter_evictions()),
    )
    yield (
        Family("fastmesh_shared_memory_bytes", "gauge", "Memory that supervisor and workers share.", "bytes"),
        single(shared.resident_bytes),
    )
    yield (
        Family("fastmesh_ids_overflowed", "counter", "Names that found no room in shared memory, by kind."),
        used_only((labels(kind=kind), registry.overflows(kind)) for kind in Kind),
    )
