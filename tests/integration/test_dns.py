"""Names in endpoint addresses: resolved, followed, and kept when the servers fail."""

from __future__ import annotations

from collections.abc import Iterator

import dns.rcode
import pytest

from tests.mesh import Mesh, wait_until
from tests.unit.discovery.dns_server import DnsServer, serving
from tests.upstream import Upstream

NAME = "shop.example"


@pytest.fixture
def dns_server() -> Iterator[DnsServer]:
    with serving() as server:
        yield server


@pytest.fixture
def twins() -> Iterator[tuple[Upstream, Upstream]]:
    """Two servers on two addresses and the same port."""
    first = Upstream("first").start()
    second = Upstream("second", host="127.0.0.2", port=first.port).start()
    yield first, second
    first.stop()
    second.stop()


def serve(mesh: Mesh, dns_server: DnsServer, port: int) -> None:
    mesh.serve(f"{NAME}:{port}", more=f"dns: {{servers: [127.0.0.1], port: {dns_server.port}}}")


def answers(mesh: Mesh, requests: int = 20) -> set[str]:
    """Who answers, by name; what failed, by status."""
    replies = [mesh.get() for _ in range(requests)]
    return {reply.text if reply.status == 200 else str(reply.status) for reply in replies}


def test_all_addresses_are_used_and_followed(
    mesh: Mesh, dns_server: DnsServer, twins: tuple[Upstream, Upstream]
) -> None:
    dns_server.records[NAME, "A"] = (0, ["127.0.0.1"])
    serve(mesh, dns_server, twins[0].port)
    mesh.start()
    assert answers(mesh) == {"first"}
    version = mesh.version()
    dns_server.records[NAME, "A"] = (0, ["127.0.0.1", "127.0.0.2"])
    wait_until(lambda: answers(mesh) == {"first", "second"}, "the second address to be used")
    dns_server.records[NAME, "A"] = (0, ["127.0.0.2"])
    wait_until(lambda: answers(mesh) == {"second"}, "the first address to be left alone")
    assert mesh.version() == version
    assert [each["address"] for each in mesh.admin("/services/hello").json["endpoints"]] == [
        f"127.0.0.2:{twins[0].port}"
    ]


@pytest.mark.parametrize("failure", ["servfail", "nxdomain"])
def test_a_failed_look_up_keeps_the_last_answer(
    mesh: Mesh, dns_server: DnsServer, upstream: Upstream, failure: str
) -> None:
    dns_server.records[NAME, "A"] = (0, ["127.0.0.1"])
    serve(mesh, dns_server, upstream.port)
    mesh.start()
    if failure == "servfail":
        dns_server.rcodes[NAME] = dns.rcode.SERVFAIL
    else:
        dns_server.records.clear()
    wait_until(lambda: mesh.admin("/names").json[0]["error"], "the failure to be seen")
    assert answers(mesh) == {"upstream"}
    (name,) = mesh.admin("/names").json
    assert (name["name"], name["addresses"]) == (NAME, ["127.0.0.1"])
    assert name["age_s"] > 0


def test_a_name_that_does_not_resolve_yet(mesh: Mesh, dns_server: DnsServer, upstream: Upstream) -> None:
    serve(mesh, dns_server, upstream.port)
    mesh.start()
    reply = mesh.get()
    assert reply.status == 503
    assert "no_endpoint" in reply.headers.values()
    assert "no such name" in mesh.log
    dns_server.records[NAME, "A"] = (0, ["127.0.0.1"])
    wait_until(lambda: answers(mesh, 1) == {"upstream"}, "the name to resolve")


def test_a_reload_keeps_answers(mesh: Mesh, dns_server: DnsServer, upstream: Upstream) -> None:
    dns_server.records[NAME, "A"] = (3600, ["127.0.0.1"])
    serve(mesh, dns_server, upstream.port)
    mesh.start()
    version = mesh.version()
    mesh.serve(
        f"{NAME}:{upstream.port}",
        route="match: {path: {prefix: /other}}",
        more=f"dns: {{servers: [127.0.0.1], port: {dns_server.port}}}",
    )
    wait_until(lambda: mesh.version() != version, "the reload")
    assert mesh.get("/other").text == "upstream"
    assert dns_server.questions[NAME, "A"] == 1


def test_localhost(mesh: Mesh, upstream: Upstream) -> None:
    mesh.serve(f"localhost:{upstream.port}")
    mesh.start()
    assert answers(mesh, 5) == {"upstream"}
