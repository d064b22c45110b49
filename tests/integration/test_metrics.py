"""What /metrics says of traffic that a test knows exactly, as Prometheus' own parsers read it."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterable
from contextlib import closing

import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from tests.engine import Client, ScriptedUpstream
from tests.mesh import Load, Mesh, wait_until
from tests.upstream import Upstream

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
Figures = dict[tuple[str, frozenset[tuple[str, str]]], float]


def figures(families: Iterable[Metric]) -> Figures:
    """Every sample, by name and labels."""
    found: Figures = {}
    for family in families:
        for sample in family.samples:
            key = sample.name, frozenset(sample.labels.items())
            assert key not in found, f"twice: {key}"
            found[key] = sample.value
    return found


def read(mesh: Mesh) -> Figures:
    reply = mesh.admin("/metrics")
    assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
    return figures(parse_text(reply.text))


def total(found: Figures, name: str, **labels: str) -> float:
    """The sum over all series that bear these labels."""
    return sum(value for (key, pairs), value in found.items() if key == name and labels.items() <= dict(pairs).items())


@pytest.fixture
def shop(mesh: Mesh, start_upstream: Callable[[str], Upstream]) -> Mesh:
    """Two routes, two services, two subsets of one of them."""
    v1, v2, other = (start_upstream(name) for name in ("v1", "v2", "other"))
    mesh.write(
        f"admin: {{address: {mesh.admin_address}}}\n"
        f"listeners: {{web: {mesh.address}}}\n"
        "services:\n"
        "  shop:\n"
        "    endpoints:\n"
        f"      - {{address: {v1.address}, labels: {{version: v1}}}}\n"
        f"      - {{address: {v2.address}, labels: {{version: v2}}}}\n"
        f"  other: {{endpoints: [{other.address}]}}\n"
        "routes:\n"
        "  shop:\n"
        "    match: {path: {prefix: /shop}}\n"
        "    to:\n"
        "      - {service: shop, subset: {version: v1}, weight: 3}\n"
        "      - {service: shop, subset: {version: v2}, weight: 1}\n"
        "  other: {match: {path: {prefix: /status}}, to: other}\n"
        "  limited: {match: {path: {prefix: /limited}}, to: other, rate_limit: {rate: 1/h, burst: 2}}\n"
    )
    return mesh.start(workers=1)


def test_counts_are_those_of_the_requests(shop: Mesh) -> None:
    for _ in range(40):
        assert shop.get("/shop", method="POST", body=b"12345").status == 200
    for status in (200, 202, 301, 404, 404, 500, 503):
        assert shop.get(f"/status/{status}").status == status
    for expected in (200, 200, 429, 429, 429):
        assert shop.get("/limited").status == expected
    for _ in range(6):
        assert shop.get("/nowhere").status == 404
    found = read(shop)
    name = "fastmesh_requests_total"
    assert total(found, name) == 40 + 7 + 5 + 6
    assert total(found, name, route="shop", service="shop", listener="web", status_class="2xx") == 40
    subsets = {
        dict(pairs)["subset"]: value
        for (key, pairs), value in found.items()
        if key == name and ("route", "shop") in pairs
    }
    assert sorted(subsets.values()) == [10, 30]
    assert sorted(subsets) == sorted(subset for subset in subsets if "v1" in subset or "v2" in subset)
    for status_class, count in {"2xx": 2, "3xx": 1, "4xx": 2, "5xx": 2}.items():
        assert total(found, name, route="other", status_class=status_class) == count
    assert total(found, name, route="limited", status_class="2xx") == 2
    assert total(found, name, route="limited", status_class="4xx") == 3
    assert total(found, "fastmesh_failures_total", route="limited", reason="rate_limited") == 3
    assert total(found, "fastmesh_failures_total", listener="web", reason="no_route") == 6
    assert total(found, "fastmesh_failures_total") == 9
    assert total(found, "fastmesh_request_body_bytes_total") == 40 * 5
    assert total(found, "fastmesh_response_body_bytes_total", route="shop") == 40 * 2
    assert total(found, "fastmesh_connections_accepted_total", listener="web") == 58
    assert total(found, "fastmesh_upstream_connects_total") + total(found, "fastmesh_upstream_reuses_total") == 49


def test_histograms_count_what_reached_a_service(shop: Mesh) -> None:
    for _ in range(25):
        shop.get("/shop")
    for _ in range(3):
        shop.get("/nowhere")
    for _ in range(3):
        shop.get("/limited")
    found = read(shop)
    for name, service, count in (
        ("fastmesh_request_duration_seconds", "shop", 25),
        ("fastmesh_upstream_duration_seconds", "shop", 25),
        ("fastmesh_request_duration_seconds", "other", 2),  # the third was refused by the limit
        ("fastmesh_upstream_duration_seconds", "other", 2),
    ):
        assert total(found, f"{name}_count", service=service) == count
        assert total(found, f"{name}_bucket", service=service, le="+Inf") == count
        assert 0 < total(found, f"{name}_sum", service=service) < 20 * count
        edges = sorted(
            (float(dict(pairs)["le"]), value)
            for (key, pairs), value in found.items()
            if key == f"{name}_bucket" and ("service", service) in pairs
        )
        assert [value for _, value in edges] == sorted(value for _, value in edges)


def test_both_formats_say_the_same(shop: Mesh) -> None:
    shop.get("/shop")
    shop.get("/nowhere")
    reply = shop.admin("/metrics", headers={"Accept": OPENMETRICS})
    assert reply.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert reply.text.endswith("# EOF\n")
    moves = ("fastmesh_worker_", "fastmesh_shared_memory_bytes")
    openmetrics, text = (
        {key: value for key, value in found.items() if not key[0].startswith(moves)}
        for found in (figures(parse_openmetrics(reply.text)), read(shop))
    )
    assert openmetrics == text


def test_gauges_go_back_to_zero(mesh: Mesh) -> None:
    release = threading.Event()

    def script(client: Client, number: int) -> None:
        client.until(b"\r\n\r\n")
        release.wait(20)
        client.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    upstream = ScriptedUpstream(script)
    mesh.serve(f"127.0.0.1:{upstream.port}")
    mesh.start()
    clients = [Client(socket.create_connection(("127.0.0.1", mesh.port), timeout=20)) for _ in range(30)]
    for client in clients:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    gauges = ("fastmesh_requests_active", "fastmesh_connections", "fastmesh_upstream_connections")
    wait_until(lambda: all(total(read(mesh), name) == 30 for name in gauges), "all to be under way")
    assert total(read(mesh), "fastmesh_worker_live_objects", kind="exchange") == 30
    for client in clients[:10]:
        client.reset()
    wait_until(lambda: all(total(read(mesh), name) == 20 for name in gauges), "those that were given up to be gone")
    release.set()
    for client in clients[10:]:
        assert client.response().status == 200
        client.close()
    wait_until(lambda: all(total(read(mesh), name) == 0 for name in gauges), "all to be gone")
    found = read(mesh)
    for kind in ("exchange", "downstream", "upstream"):
        assert total(found, "fastmesh_worker_live_objects", kind=kind) == 0
    assert total(found, "fastmesh_failures_total", reason="downstream_closed") == 10
    assert total(found, "fastmesh_requests_total", status_class="2xx") == 20
    assert total(found, "fastmesh_requests_total") == 30
    upstream.close()


def counters(mesh: Mesh) -> Figures:
    reply = mesh.admin("/metrics", headers={"Accept": OPENMETRICS})
    families = [family for family in parse_openmetrics(reply.text) if family.type in ("counter", "histogram")]
    return {key: value for key, value in figures(families).items() if not key[0].endswith("_created")}


def test_no_counter_goes_backwards_when_workers_die(hello: Mesh) -> None:
    for _ in range(100):
        assert hello.get().status == 200
    before = counters(hello)
    assert total(before, "fastmesh_requests_total") == 100
    with Load(hello.address, clients=2, new_connections=True) as load:
        for slot in (0, 1):
            load.more(50)
            victim = hello.status()["workers"][slot]["pid"]
            os.kill(victim, signal.SIGKILL)
            for _ in range(20):
                after = counters(hello)
                gone = {key for key, value in before.items() if after.get(key, -1) < value}
                assert not gone
                before = after
            wait_until(lambda slot=slot: hello.status()["workers"][slot]["phase"] == "serving", "the successor")
    found = read(hello)
    assert total(found, "fastmesh_requests_total") >= 100 + len(load.statuses)
    assert total(found, "fastmesh_worker_restarts_total") == 2
    assert total(found, "fastmesh_workers") == 2
    wait_until(lambda: total(read(hello), "fastmesh_connections") == 0, "the gauges of the dead to be gone")
    assert total(read(hello), "fastmesh_requests_active") == 0


def test_labels_come_from_configured_names_only(hello: Mesh) -> None:
    hello.get("/warm")
    before = {key for key in read(hello) if not key[0].startswith("fastmesh_worker")}
    for i in range(50):
        stranger = {"Host": f"stranger-{i}.example", "X-Request-Id": f"stranger-{i}", "User-Agent": f"stranger-{i}"}
        hello.get(f"/stranger-{i}?stranger={i}", headers=stranger)
        with closing(Client(socket.create_connection(("127.0.0.1", hello.port), timeout=20))) as client:
            client.send(b"STRANGER%d /stranger HTTP/1.1\r\nHost: stranger\r\n\r\n" % i)
            assert client.response().status == 200
    text = hello.admin("/metrics").text
    assert "stranger" not in text.lower()
    assert {key for key in read(hello) if not key[0].startswith("fastmesh_worker")} <= before | {
        key for key in read(hello) if key[0].startswith(("fastmesh_upstream_reuses", "fastmesh_request_body"))
    }
