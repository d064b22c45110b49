"""gRPC calls as metrics: labels, what is counted together, what is left out."""

from prometheus_client.openmetrics.parser import text_string_to_metric_families

from fastmesh._core.grpc_calls import count
from fastmesh._core.shared import SharedMemory
from fastmesh.telemetry.figures import ControlFigures
from fastmesh.telemetry.ids import IdRegistry, Kind
from fastmesh.telemetry.metrics import Format, render


def samples(shared: SharedMemory, registry: IdRegistry) -> dict[tuple[str, ...], float]:
    text = "".join(render(shared, registry, ControlFigures(version="1"), Format.OPENMETRICS))
    wanted = ("service", "grpc_service", "grpc_method", "grpc_status")
    return {
        tuple(sample.labels[name] for name in wanted): sample.value
        for family in text_string_to_metric_families(text)
        if family.name == "fastmesh_grpc_calls"
        for sample in family.samples
        if sample.name.endswith("_total")
    }


def test_calls_are_labelled_by_service_method_and_status() -> None:
    shared = SharedMemory.create(1)
    registry = IdRegistry(shared)
    orders = registry.id_of(Kind.SERVICE, "orders")
    for status in (0, 0, 14):
        count(shared, 0, orders, b"/shop.Orders/Get", True, status)
    count(shared, 0, orders, b"/made.Up/Name", False, 12)
    count(shared, 0, 99, b"/shop.Orders/Get", True, 0)
    count(shared, 0, 98, b"/shop.Orders/Get", True, 0)
    assert samples(shared, registry) == {
        ("orders", "shop.Orders", "Get", "OK"): 2,
        ("orders", "shop.Orders", "Get", "UNAVAILABLE"): 1,
        ("_overflow", "_overflow", "_overflow", "UNIMPLEMENTED"): 1,
        ("_overflow", "shop.Orders", "Get", "OK"): 2,
    }
