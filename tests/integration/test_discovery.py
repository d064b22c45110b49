"""Endpoints that sources find: SRV records and watched files. What fails or goes empty takes nothing away."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dns.rcode
import pytest

from tests.engine import ScriptedUpstream, reply
from tests.engine import serve as serve_script
from tests.mesh import ROOT, Load, Mesh, wait_until
from tests.secure import MUTUAL, Authority
from tests.unit.discovery.dns_server import DnsServer, serving
from tests.upstream import Upstream

SRV = "_http._tcp.shop.example"


@pytest.fixture
def dns_server() -> Iterator[DnsServer]:
    with serving() as server:
        server.records["a.example", "A"] = (3600, ["127.0.0.1"])
        server.records["b.example", "A"] = (3600, ["127.0.0.1"])
        yield server


@pytest.fixture
def pair() -> Iterator[tuple[Upstream, Upstream]]:
    servers = Upstream("first").start(), Upstream("second").start()
    yield servers
    for server in servers:
        server.stop()


@pytest.fixture
def places(mesh: Mesh) -> Path:
    """A directory for files beside those of the configuration."""
    path = mesh.directory / "places"
    path.mkdir()
    return path


def serve(mesh: Mesh, discover: str, more: str = "") -> None:
    mesh.write(
        "admin: {address: 127.0.0.1:{admin_port}}\n"
        "listeners: {web: 127.0.0.1:{port}}\n"
        f"services:\n  hello:\n    discover: {discover}\n"
        f"routes: {{hello: {{to: hello}}}}\n{more}\n"
    )


def serve_srv(mesh: Mesh, dns_server: DnsServer, more: str = "") -> None:
    serve(mesh, f"{{srv: {SRV}{more}}}", f"dns: {{servers: [127.0.0.1], port: {dns_server.port}}}")


def answers(mesh: Mesh, requests: int = 20) -> set[str]:
    replies = [mesh.get() for _ in range(requests)]
    return {reply.text if reply.status == 200 else str(reply.status) for reply in replies}


def endpoints(mesh: Mesh) -> list[tuple[str, int]]:
    return [(each["address"], each["weight"]) for each in mesh.admin("/services/hello").json["endpoints"]]


def metric(mesh: Mesh, name: str) -> float:
    lines = [line for line in mesh.admin("/metrics").text.splitlines() if line.startswith(name + "{")]
    assert lines, name
    return float(lines[0].rpartition(" ")[2])


def drop(path: Path, content: object) -> None:
    """As tools do: written beside, renamed over."""
    beside = path.with_name(f".{path.name}")
    beside.write_text(content if isinstance(content, str) else json.dumps(content))
    beside.rename(path)


def test_srv_records_are_used_and_followed(mesh: Mesh, dns_server: DnsServer, pair: tuple[Upstream, Upstream]) -> None:
    first, second = pair
    dns_server.records[SRV, "SRV"] = (0, [f"10 30 {first.port} a.example.", "20 1 1 b.example."])
    serve_srv(mesh, dns_server)
    mesh.start()
    assert answers(mesh) == {"first"}
    assert endpoints(mesh) == [(first.address, 1)]
    version = mesh.version()
    dns_server.records[SRV, "SRV"] = (0, [f"10 30 {first.port} a.example.", f"10 10 {second.port} b.example."])
    wait_until(lambda: answers(mesh) == {"first", "second"}, "the second record to be used")
    assert sorted(endpoints(mesh)) == sorted([(first.address, 3), (second.address, 1)])
    dns_server.records[SRV, "SRV"] = (0, [f"5 0 {second.port} b.example."])
    wait_until(lambda: answers(mesh) == {"second"}, "the better priority to be used alone")
    assert mesh.version() == version


def test_srv_records_that_fail_stay(mesh: Mesh, dns_server: DnsServer, upstream: Upstream) -> None:
    dns_server.records[SRV, "SRV"] = (0, [f"1 1 {upstream.port} a.example."])
    serve_srv(mesh, dns_server)
    mesh.start()
    assert answers(mesh) == {"upstream"}
    assert metric(mesh, "fastmesh_discovery_age_seconds") == 0
    dns_server.rcodes[SRV] = dns.rcode.SERVFAIL
    wait_until(lambda: metric(mesh, "fastmesh_discovery_age_seconds") > 0, "the age to be seen")
    assert metric(mesh, "fastmesh_discovery_errors") >= 1
    (source,) = mesh.admin("/sources").json
    assert (source["kind"], source["place"], source["endpoints"]) == ("srv", SRV, 1)
    assert source["errors"] and source["age_s"] > 0
    assert answers(mesh) == {"upstream"}
    del dns_server.rcodes[SRV]
    wait_until(lambda: metric(mesh, "fastmesh_discovery_age_seconds") == 0, "the source to be good again")


@pytest.mark.parametrize(("more", "answer"), [("", "upstream"), (", allow_empty: true", "503")])
def test_srv_records_that_go(mesh: Mesh, dns_server: DnsServer, upstream: Upstream, more: str, answer: str) -> None:
    dns_server.records[SRV, "SRV"] = (0, [f"1 1 {upstream.port} a.example."])
    serve_srv(mesh, dns_server, more)
    mesh.start()
    assert answers(mesh) == {"upstream"}
    dns_server.records[SRV, "SRV"] = (0, ["0 0 0 ."])
    asked = dns_server.questions[SRV, "SRV"]
    wait_until(lambda: dns_server.questions[SRV, "SRV"] >= asked + 2, "two more look-ups")
    wait_until(lambda: answers(mesh) == {answer}, answer)


def test_a_change_of_names_loses_no_request(mesh: Mesh, dns_server: DnsServer, pair: tuple[Upstream, Upstream]) -> None:
    """The old endpoints serve until the new names have addresses."""
    first, second = pair
    dns_server.records[SRV, "SRV"] = (0, [f"1 1 {first.port} a.example."])
    serve_srv(mesh, dns_server)
    mesh.start()
    with Load(mesh.address) as load:
        dns_server.records[SRV, "SRV"] = (0, [f"1 1 {second.port} late.example."])
        wait_until(lambda: dns_server.questions["late.example", "A"] >= 2, "the new name to be asked for")
        assert answers(mesh) == {"first"}
        dns_server.records["late.example", "A"] = (3600, ["127.0.0.1"])
        wait_until(lambda: answers(mesh, 3) == {"second"}, "the new name")
    assert set(load.statuses) == {200} and not load.failures


def test_files_of_both_forms(mesh: Mesh, places: Path, pair: tuple[Upstream, Upstream]) -> None:
    first, second = pair
    drop(places / "a.json", [{"targets": [first.address], "labels": {"zone": "a", "__meta_x": "y"}}])
    serve(mesh, '{files: "places/*.json", labels: {found: yes-they-are}}')
    mesh.start()
    assert answers(mesh) == {"first"}
    drop(places / "b.json", [{"address": second.address, "weight": 2}])
    drop(places / "b.yaml", "- 127.0.0.1:1\n")
    wait_until(lambda: answers(mesh) == {"first", "second"}, "the second file")
    assert endpoints(mesh) == [(first.address, 1), (second.address, 2)]
    shown = mesh.admin("/services/hello").json["endpoints"]
    assert [each["labels"] for each in shown] == [{"zone": "a", "found": "yes-they-are"}, {"found": "yes-they-are"}]
    (places / "a.json").unlink()
    wait_until(lambda: answers(mesh) == {"second"}, "the first file to be gone")


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("[", "not valid YAML"),
        ('[{"address": "127.0.0.1"}]', "places/a.json:1:14: [0].address"),
        ('[{"targets": ["127.0.0.1:1", 7]}]', "places/a.json:1:30: [0].targets[1]: found the number '7'"),
        ("[]", "there is no endpoint in it"),
        (None, "there is no endpoint in it"),
    ],
)
def test_a_bad_file_changes_nothing(
    mesh: Mesh, places: Path, upstream: Upstream, content: str | None, error: str
) -> None:
    drop(places / "a.json", [upstream.address])
    serve(mesh, '{files: "places/*.json"}')
    mesh.start()
    assert answers(mesh) == {"upstream"}
    if content is None:
        (places / "a.json").unlink()
    else:
        drop(places / "a.json", content)
    wait_until(lambda: mesh.status()["sources"][0]["errors"], "the error to be seen")
    assert error in mesh.status()["sources"][0]["errors"][0]
    assert error in mesh.log
    assert metric(mesh, "fastmesh_discovery_errors") == 1
    wait_until(lambda: metric(mesh, "fastmesh_discovery_age_seconds") > 0, "the age to grow")
    assert answers(mesh) == {"upstream"}
    drop(places / "a.json", [{"address": upstream.address, "weight": 5}])
    wait_until(lambda: endpoints(mesh) == [(upstream.address, 5)], "the mended file")
    assert metric(mesh, "fastmesh_discovery_errors") == 0
    assert metric(mesh, "fastmesh_discovery_age_seconds") == 0


def test_an_empty_file_is_believed_where_it_may_be(mesh: Mesh, places: Path, upstream: Upstream) -> None:
    drop(places / "a.json", [upstream.address])
    serve(mesh, '{files: "places/*.json", allow_empty: true}')
    mesh.start()
    assert answers(mesh) == {"upstream"}
    drop(places / "a.json", "[")
    wait_until(lambda: mesh.status()["sources"][0]["errors"], "the error to be seen")
    assert answers(mesh) == {"upstream"}  # broken is not empty
    drop(places / "a.json", "[]")
    wait_until(lambda: answers(mesh, 1) == {"503"}, "nobody to be there")


def test_a_directory_that_comes_later_and_goes(mesh: Mesh, upstream: Upstream, tmp_path: Path) -> None:
    directory = tmp_path / "elsewhere"
    serve(mesh, f"[{{files: {directory}/hello.yaml}}, {{registry: {directory}/none}}]")
    mesh.start()
    assert mesh.get().status == 503
    directory.mkdir()
    drop(directory / "hello.yaml", f"- {upstream.address}\n")
    wait_until(lambda: answers(mesh, 1) == {"upstream"}, "the directory")
    (directory / "hello.yaml").unlink()
    directory.rmdir()
    wait_until(lambda: "no such directory" in str(mesh.status()["sources"][0]["errors"]), "the loss to be seen")
    assert answers(mesh) == {"upstream"}


def test_names_in_files(mesh: Mesh, places: Path, dns_server: DnsServer, upstream: Upstream) -> None:
    drop(places / "a.json", [f"a.example:{upstream.port}"])
    serve(mesh, '{files: "places/*.json"}', f"dns: {{servers: [127.0.0.1], port: {dns_server.port}}}")
    mesh.start()
    assert answers(mesh) == {"upstream"}
    assert [each["name"] for each in mesh.admin("/names").json] == ["a.example"]


def test_a_reload_keeps_what_was_found(mesh: Mesh, places: Path, pair: tuple[Upstream, Upstream]) -> None:
    drop(places / "a.json", [pair[0].address])
    serve(mesh, '{files: "places/*.json"}')
    mesh.start()
    drop(places / "a.json", "{")
    wait_until(lambda: mesh.status()["sources"][0]["errors"], "the error to be seen")
    version = mesh.version()
    serve(mesh, f'{{files: "places/*.json"}}\n    endpoints: ["{pair[1].address}"]')
    wait_until(lambda: mesh.version() != version, "the reload")
    assert answers(mesh) == {"first", "second"}


def test_endpoints_that_are_found_prove_who_they_are(mesh: Mesh, places: Path, tmp_path: Path) -> None:
    """Their TLS is that of the configuration, whatever is found when; a stranger gets no request."""
    authority, stranger = Authority(tmp_path / "certs"), Authority(tmp_path / "foreign")
    drop(places / "a.json", [])
    serve(mesh, f'{{files: "places/*.json", allow_empty: true}}\n    {authority.service_lines(MUTUAL)}')
    mesh.start()
    assert mesh.get().status == 503
    ours = ScriptedUpstream(serve_script(reply(b"ours")), authority.server_settings(asks_clients=True))
    foreign = ScriptedUpstream(serve_script(reply(b"foreign")), stranger.server_settings())
    with contextlib.closing(ours), contextlib.closing(foreign):
        drop(places / "a.json", [f"127.0.0.1:{ours.port}"])
        wait_until(lambda: answers(mesh, 1) == {"ours"}, "the endpoint")
        drop(places / "a.json", [f"127.0.0.1:{foreign.port}"])
        wait_until(lambda: endpoints(mesh) == [(f"127.0.0.1:{foreign.port}", 1)], "the stranger to be found")
        wait_until(lambda: answers(mesh, 3) == {"503"}, "the stranger to be refused")


def test_explain_shows_what_was_found(mesh: Mesh, places: Path, upstream: Upstream) -> None:
    drop(places / "a.json", [upstream.address])
    serve(mesh, '{files: "places/*.json", labels: {zone: a}}')
    mesh.start()
    command = [sys.executable, "-m", "fastmesh", "explain", str(mesh.directory), "GET", f"http://{mesh.address}/"]
    shown = subprocess.run([*command, "--json"], capture_output=True, text=True, cwd=ROOT, check=True).stdout
    (found,) = json.loads(shown)["listeners"][0]["destinations"][0]["endpoints"]
    assert (found["address"], found["labels"]) == (upstream.address, {"zone": "a"})
    assert found["discovered"] and found["available"]


def test_status_shows_sources(mesh: Mesh, places: Path, upstream: Upstream) -> None:
    drop(places / "a.json", [upstream.address])
    drop(places / "b.json", "{}")
    serve(mesh, '{files: "places/*.json"}')
    mesh.start()
    command = [sys.executable, "-m", "fastmesh", "status", "--admin", mesh.admin_address]
    shown = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True).stdout
    assert "Discovery" in shown
    assert "files places/*.json" in shown
    assert "b.json:1:1: found a mapping" in shown
