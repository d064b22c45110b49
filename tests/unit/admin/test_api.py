"""Every endpoint over a real socket, against a mesh made by hand."""

from __future__ import annotations

import base64
import json
import subprocess
import urllib.request
from collections.abc import Iterator
from typing import Any
from urllib.error import HTTPError

import msgspec
import pytest

from fastmesh.admin.api import OPERATIONS
from fastmesh.control.state import WorkerPhase
from tests.unit.admin.example import SECRET, SNAPSHOT, ExampleMesh, route
from tests.unit.admin.serving import serving_mesh


@pytest.fixture
def mesh() -> ExampleMesh:
    return ExampleMesh()


@pytest.fixture
def url(mesh: ExampleMesh) -> Iterator[str]:
    with serving_mesh(mesh) as url:
        yield url


def call(url: str, method: str = "GET", body: Any = None, **headers: str) -> tuple[int, Any, Any]:
    """Status, headers and body: JSON, or text."""
    data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(url, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            status, received, text = answer.status, answer.headers, answer.read().decode()
    except HTTPError as error:
        with error:
            status, received, text = error.code, error.headers, error.read().decode()
    return status, received, json.loads(text) if received["content-type"] == "application/json" else text


def test_alive(url: str) -> None:
    assert call(f"{url}/healthz")[::2] == (200, {"status": "alive"})


def test_ready(url: str, mesh: ExampleMesh) -> None:
    def answer() -> tuple[int, str]:
        status, _, body = call(f"{url}/readyz")
        assert body["ready"] is (status == 200)
        return status, body["reason"]

    assert answer() == (200, "")
    mesh.state.workers[0].phase = WorkerPhase.BACKOFF
    assert answer() == (200, "")
    mesh.state.workers[1].phase = WorkerPhase.STARTING
    assert answer() == (503, "no worker serves")
    mesh.state.snapshot = None
    assert answer() == (503, "no configuration has been applied yet")
    mesh.state.draining = True
    assert answer() == (503, "draining")


def test_metrics(url: str) -> None:
    status, headers, text = call(f"{url}/metrics")
    assert (status, headers["content-type"]) == (200, "text/plain; version=0.0.4")
    assert text.count("\n") == 1000
    headers = call(f"{url}/metrics", Accept="application/openmetrics-text")[1]
    assert headers["content-type"] == "application/openmetrics-text"


def test_certificates(url: str, mesh: ExampleMesh) -> None:
    ca, web = call(f"{url}/certificates")[2]
    assert (ca["name"], ca["kind"], ca["phase"], ca["names"]) == ("certs/ca.crt", "ca", "valid", [])
    assert (web["name"], web["kind"], web["phase"]) == ("certs/web.crt", "certificate", "expires soon")
    assert (web["names"], web["used_by"]) == (["shop.example", "10.0.0.1"], ["listeners.web"])
    assert call(f"{url}/status")[2]["certificates"] == [ca, web]
    mesh.state.certificates = ()
    assert call(f"{url}/certificates")[2] == []


def test_no_answer_shows_a_pem_text(url: str, mesh: ExampleMesh) -> None:
    mesh.fail_to_load()
    for operation in OPERATIONS:
        if operation.method == "GET":
            answer = urllib.request.urlopen(url + operation.path.replace("{name}", "assets"), timeout=10)
            with answer:
                text = answer.read()
            for encoded in (b"c2VjcmV0", base64.b64encode(SECRET)[:24]):
                assert encoded not in text, operation.path
    listener = call(f"{url}/config")[2]["listeners"][1]
    assert listener["tls"]["client_ca_pem"] == f"{len(SECRET)} bytes"
    assert call(f"{url}/config")[2]["certificates"] == [{"name": "certs/web.crt", "names": ["shop.example"]}]


def test_config(url: str) -> None:
    _, _, body = call(f"{url}/config")
    assert body["version"] == SNAPSHOT.version
    assert body["files"] == ["shop.yaml", "web.yaml"]
    assert [(each["name"], each["source"]) for each in body["services"]] == [
        ("shop", "shop.yaml:2"),
        ("assets", "shop.yaml:2"),
    ]
    assert body["listeners"][0]["source"] == "web.yaml:1"
    assert body["limits"] == []
    shop = body["services"][0]
    assert (shop["name"], shop["balance"], shop["connect_timeout_ms"]) == ("shop", "least_request", 1000)
    assert shop["endpoints"][1]["labels"] == [["version", "v2"]]


def test_much_comes_in_pieces(url: str, mesh: ExampleMesh) -> None:
    many = tuple(route(number, f"route-{number}", (1, 2)) for number in range(1, 1001))
    mesh.state.snapshot = msgspec.structs.replace(SNAPSHOT, routes=many)
    for path, routes in (("/routes", lambda body: body), ("/config", lambda body: body["routes"])):
        _, headers, body = call(url + path)
        assert headers["transfer-encoding"] == "chunked"
        assert [each["name"] for each in routes(body)] == [each.name for each in many]


def test_config_errors_and_history(url: str, mesh: ExampleMesh) -> None:
    body = call(f"{url}/config/errors")[2]
    assert (body["stale"], body["errors"]) == (False, [])
    assert body["warnings"][0]["severity"] == "warning"
    mesh.fail_to_load()
    body = call(f"{url}/config/errors")[2]
    assert body["stale"] is True
    found = body["errors"][0]
    assert (found["file"], found["line"], found["column"], found["text"]) == ("shop.yaml", 4, 7, "endpoint")
    assert found["hint"] == "did you mean 'endpoints'?"
    history = call(f"{url}/config/history")[2]
    assert [each["outcome"] for each in history] == ["invalid", "applied", "applied"]
    assert history[0]["problems"] == [found]


def test_services(url: str) -> None:
    shop, assets = call(f"{url}/services")[2]
    assert (shop["endpoints_healthy"], shop["endpoints_total"], shop["panicking"]) == (2, 3, False)
    assert (shop["requests"], shop["active"], shop["retries"]) == (101, 2, 5)
    assert 1.6 < shop["latency"]["p50_ms"] < 2.4
    assert 0.8 < shop["upstream_latency"]["p50_ms"] < 1.2
    assert assets["latency"] == {"p50_ms": None, "p90_ms": None, "p99_ms": None}


def test_panic(url: str, mesh: ExampleMesh) -> None:
    mesh.shared.set_health(1, False)
    assert call(f"{url}/services/shop")[2]["panicking"] is True


def test_one_service(url: str) -> None:
    body = call(f"{url}/services/shop")[2]
    assert body["subsets"] == [{"version": "v2"}]
    first, second, third = body["endpoints"]
    assert (first["address"], first["healthy"], first["checked"]) == ("127.0.0.1:9001", True, True)
    assert (second["healthy"], second["last_check_error"], second["check_failures"]) == (False, "status 503", 3)
    assert (second["requests"], second["failures"]) == (41, 7)
    assert (third["address"], third["weight"], third["checked"]) == ("[::1]:9003", 0, False)
    status, _, body = call(f"{url}/services/sh%2Fop")
    assert (status, body["error"]) == (404, "there is no service 'sh/op'")


def test_routes(url: str) -> None:
    shop, api = call(f"{url}/routes")[2]
    assert (shop["requests"], shop["statuses"]) == (101, {"2xx": 100, "4xx": 1})
    assert list(shop["reasons"].values()) == [1]
    assert shop["listeners"] == ["web", "internal"]
    assert shop["headers"] == ["x-user-group exact beta", "x-debug not present"]
    assert shop["destinations"] == [{"service": "shop", "subset": {"version": "v2"}, "weight": 9}]
    assert (api["path"], api["requests"], api["statuses"]) == ("prefix /api", 0, {})


def test_listeners_workers_and_names(url: str) -> None:
    web, internal = call(f"{url}/listeners")[2]
    assert (web["accepted"], web["connections"], web["connections_max"]) == (20, 8, 100_000)
    assert internal["accepted"] == 0
    first, second = call(f"{url}/workers")[2]
    assert (first["pid"], first["phase"], first["restarts"]) == (4711, "serving", 0)
    assert (second["restarts"], second["last_exit"]) == (1, "killed by SIGKILL")
    (name,) = call(f"{url}/names")[2]
    assert (name["name"], name["addresses"], name["error"]) == ("assets.example", ["10.0.0.7"], "")
    assert name["age_s"] >= 5


def test_status_holds_what_the_others_do(url: str) -> None:
    body = call(f"{url}/status")[2]
    assert body["readiness"] == {"ready": True, "reason": ""}
    for part in ("services", "listeners"):
        assert body[part] == call(f"{url}/{part}")[2]
    assert body["last_reload"]["outcome"] == "applied"
    assert body["routes_total"] == 2


def test_before_the_first_configuration(url: str, mesh: ExampleMesh) -> None:
    fresh = type(mesh.state)(directory="config", worker_count=2)
    mesh.state = fresh
    for operation in OPERATIONS:
        if operation.method == "GET":
            status = call(url + operation.path)[0]
            assert status == {"/readyz": 503, "/services/{name}": 404}.get(operation.path, 200), operation.path


def test_log_level(url: str, mesh: ExampleMesh) -> None:
    assert call(f"{url}/log/level")[2] == {"level": "info"}
    assert call(f"{url}/log/level", "PUT", {"level": "debug"})[::2] == (200, {"level": "debug"})
    assert mesh.level == "debug"
    for wrong in ({"level": "loud"}, {"levels": "debug"}, {}, b"debug", b""):
        status, _, body = call(f"{url}/log/level", "PUT", wrong)
        assert status == 400, wrong
        assert body["error"].startswith("the body is not as expected")
    assert mesh.level == "debug"


def test_reload(url: str, mesh: ExampleMesh) -> None:
    assert call(f"{url}/reload", "POST")[::2] == (200, call(f"{url}/config/history")[2][0])
    mesh.fail_to_load()
    status, _, body = call(f"{url}/reload", "POST")
    assert (status, body["outcome"], body["problems"][0]["line"]) == (409, "invalid", 4)


def test_drain(url: str, mesh: ExampleMesh) -> None:
    assert call(f"{url}/drain", "POST")[::2] == (202, {"draining": True})
    assert mesh.state.draining
    assert call(f"{url}/readyz")[0] == 503


def test_what_there_is_not(url: str) -> None:
    for path in ("/nope", "/services/", "/services/a/b", "//", "/status/"):
        status, _, body = call(url + path)
        assert status == 404, path
        assert "/services/{name}" in body["hint"]


def test_methods_that_are_not_taken(url: str) -> None:
    for method, path, allow in (
        ("DELETE", "/services", "GET, HEAD"),
        ("POST", "/log/level", "GET, HEAD, PUT"),
        ("GET", "/drain", "POST"),
    ):
        status, headers, body = call(url + path, method)
        assert (status, headers["allow"]) == (405, allow)
        assert allow in body["hint"]


def test_other_sites_are_refused(url: str, mesh: ExampleMesh) -> None:
    assert call(f"{url}/drain", "POST", Origin="http://evil.example")[0] == 403
    assert call(f"{url}/drain", "POST", Host="evil.example")[0] == 403
    assert call(f"{url}/config", Host="evil.example")[0] == 403
    assert not mesh.state.draining


def test_the_page(url: str) -> None:
    status, headers, text = call(url)
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    # Nothing is loaded from elsewhere; an XML namespace is a name, not an address.
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")
    assert "innerHTML" not in text


def test_curl(url: str) -> None:
    result = subprocess.run(
        ["curl", "-sS", "-X", "PUT", "-d", '{"level": "error"}', f"{url}/log/level"],
        capture_output=True,
        timeout=20,
        check=True,
    )
    assert json.loads(result.stdout) == {"level": "error"}
