"""From configuration to checks."""

from __future__ import annotations

from fastmesh.config import Config, GrpcCheck, HealthCheck, HttpCheck
from fastmesh.config.schema import Endpoint as WrittenEndpoint
from fastmesh.config.schema import Service as WrittenService
from fastmesh.health.checks import check_of, checked_services
from fastmesh.health.model import Check, CheckKind
from fastmesh.snapshot import Balance, Endpoint, Key, Service, Snapshot


def test_http() -> None:
    written = HealthCheck(
        http=HttpCheck(path="/alive", status=(200, 204), host="shop"), interval=5000, timeout=700, rise=1, fall=4
    )
    assert check_of(written) == Check(
        CheckKind.HTTP, "/alive", "shop", 200, 204, interval_ms=5000, timeout_ms=700, fall_count=4, rise_count=1
    )


def test_tcp() -> None:
    assert check_of(HealthCheck(tcp=True)).kind is CheckKind.TCP


def test_grpc() -> None:
    check = check_of(HealthCheck(grpc=GrpcCheck(service="shop.Orders"), timeout=250))
    assert (check.kind, check.grpc_service, check.timeout_ms) == (CheckKind.GRPC, "shop.Orders", 250)


def test_defaults_are_those_of_the_language() -> None:
    assert check_of(HealthCheck(http=HttpCheck())) == Check()


def test_services_that_ask_for_checks() -> None:
    def compiled(id: int, name: str) -> Service:
        return Service(
            id, name, Balance.RANDOM, Key(), 1, 1, 1, 1, 1, 1, 50, -1, (Endpoint(id, "10.0.0.1", 80),), ((),)
        )

    def written(check: HealthCheck | None) -> WrittenService:
        return WrittenService(endpoints=[WrittenEndpoint(address="10.0.0.1:80")], health_check=check)

    config = Config(services={"shop": written(HealthCheck(tcp=True)), "assets": written(None)})
    snapshot = Snapshot("1", (), (compiled(1, "assets"), compiled(2, "shop")), (), ())
    (found,) = checked_services(config, snapshot)
    assert (found.name, found.check.kind) == ("shop", CheckKind.TCP)
    assert found.endpoints == (Endpoint(2, "10.0.0.1", 80),)
