"""gRPC calls, by service of the mesh, gRPC service, method and status, as metrics."""

from collections.abc import Iterator
from operator import add

from fastmesh._core.grpc_calls import STATUSES, grpc_calls
from fastmesh._core.shared import SharedMemory
from fastmesh.telemetry.exposition import Families, Family, Sample, labels, used_only
from fastmesh.telemetry.ids import IdRegistry, Kind
from fastmesh.telemetry.traffic import OVERFLOW, US

LABELS = (*STATUSES, "none")


def grpc_families(shared: SharedMemory, registry: IdRegistry) -> Families:
    """Two families; the names of methods are those that endpoints have answered to."""
    names = {number: str(name) for name, number in registry.items(Kind.SERVICE)}
    rows: dict[str, tuple[tuple[int, ...], int]] = {}
    for service_id, path, calls, duration_us in grpc_calls(shared):
        service, method = path[1:].rsplit("/", 1) if "/" in path[1:] else (OVERFLOW, OVERFLOW)
        pairs = labels(service=names.get(service_id, OVERFLOW), grpc_service=service, grpc_method=method)
        before, before_us = rows.get(pairs, ((0,) * len(LABELS), 0))  # services that are gone share one name
        rows[pairs] = (tuple(map(add, before, calls)), before_us + duration_us)

    def counts() -> Iterator[Sample]:
        for pairs, (calls, _) in rows.items():
            for status, count in zip(LABELS, calls, strict=True):
                if count:
                    yield "", f'{pairs},grpc_status="{status}"', count

    yield Family("fastmesh_grpc_calls", "counter", "gRPC calls that ended, by status."), counts()
    yield (
        Family("fastmesh_grpc_call_duration_seconds", "counter", "Time that these calls took, in all.", "seconds"),
        used_only((pairs, duration_us / US) for pairs, (_, duration_us) in rows.items()),
    )
