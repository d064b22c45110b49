"""The admin API of a mesh that runs, and `fastmesh status`."""

from __future__ import annotations

import json
import subprocess
import sys

import jsonschema
from prometheus_client.parser import text_string_to_metric_families

from tests.mesh import ROOT, Mesh, wait_until
from tests.upstream import Upstream


def status_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fastmesh", "status", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30)


def test_figures_of_real_requests(hello: Mesh, upstream: Upstream) -> None:
    for number in range(30):
        assert hello.get("/status/404" if number % 3 == 0 else "/").status == (404 if number % 3 == 0 else 200)
    wait_until(lambda: hello.admin("/services").json[0]["requests"] == 30, "the last request to be counted")
    (service,) = hello.admin("/services").json
    assert (service["name"], service["endpoints_healthy"], service["endpoints_total"]) == ("hello", 1, 1)
    assert service["latency"]["p99_ms"] >= service["latency"]["p50_ms"] > 0
    (endpoint,) = hello.admin("/services/hello").json["endpoints"]
    assert (endpoint["address"], endpoint["requests"], endpoint["active"]) == (upstream.address, 30, 0)
    (route,) = hello.admin("/routes").json
    assert (route["name"], route["requests"]) == ("hello", 30)
    assert route["statuses"] == {"2xx": 20, "4xx": 10}
    (listener,) = hello.admin("/listeners").json
    assert (listener["address"], listener["accepted"], listener["phase"]) == (hello.address, 30, "listening")
    workers = hello.admin("/workers").json
    assert [worker["phase"] for worker in workers] == ["serving", "serving"]
    assert {worker["version"] for worker in workers} == {hello.version()}


def test_metrics(hello: Mesh) -> None:
    hello.get()
    reply = hello.admin("/metrics")
    assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = {family.name for family in text_string_to_metric_families(reply.text)}
    assert any(name.startswith("fastmesh_") for name in families)
    reply = hello.admin("/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})
    assert reply.headers["content-type"].startswith("application/openmetrics-text")
    assert reply.text.endswith("# EOF\n")


def test_where_things_are_written(hello: Mesh) -> None:
    config = hello.admin("/config").json
    lines = (hello.directory / "mesh.yaml").read_text().splitlines()
    for kind in ("listeners", "services", "routes"):
        (written,) = config[kind]
        file, line = written["source"].rsplit(":", 1)
        assert file.endswith("mesh.yaml")
        assert lines[int(line) - 1].strip() == f"{written['name']}:"
    assert config["files"] == ["mesh.yaml"]
    assert config["services"][0]["endpoints"][0]["port"] > 0


def test_errors_are_shown_and_the_last_good_version_serves(hello: Mesh) -> None:
    version = hello.version()
    good = (hello.directory / "mesh.yaml").read_text()
    hello.write(good.replace("endpoints:", "endpoint:"))
    wait_until(lambda: hello.admin("/config/errors").json["errors"], "the error to be seen")
    problems = hello.admin("/config/errors").json
    assert problems["stale"] is True
    error = problems["errors"][0]
    assert error["file"].endswith("mesh.yaml")
    assert error["line"] == next(i for i, line in enumerate(good.splitlines(), 1) if "endpoints:" in line)
    assert hello.version() == version
    assert hello.get().status == 200
    assert hello.admin("/config/history").json[0]["outcome"] == "invalid"
    reply = hello.admin("/reload", method="POST")
    assert (reply.status, reply.json["outcome"]) == (409, "invalid")
    hello.write(good)
    wait_until(lambda: not hello.admin("/config/errors").json["stale"], "the error to be gone")
    assert hello.admin("/reload", method="POST").json["outcome"] == "unchanged"


def test_log_level(hello: Mesh) -> None:
    assert hello.admin("/log/level").json == {"level": "info"}
    assert hello.admin("/log/level", method="PUT", body=b'{"level": "debug"}').status == 200
    assert hello.admin("/log/level").json == {"level": "debug"}


def test_drain_is_unready_and_still_serves(hello: Mesh) -> None:
    assert hello.admin("/drain", method="POST").status == 202
    reply = hello.admin("/readyz")
    assert (reply.status, reply.json) == (503, {"ready": False, "reason": "draining"})
    assert hello.get().status == 200
    assert hello.admin("/healthz").status == 200


def test_other_sites_may_not_drain(hello: Mesh) -> None:
    for headers in ({"origin": "http://evil.example"}, {"host": "evil.example"}, {"sec-fetch-site": "cross-site"}):
        assert hello.admin("/drain", method="POST", headers=headers).status == 403
    assert hello.is_ready()


def test_the_description_is_true(hello: Mesh) -> None:
    description = hello.admin("/openapi.json").json
    for path, operations in description["paths"].items():
        if "get" not in operations:
            continue
        reply = hello.admin(path.replace("{name}", "hello"))
        content = operations["get"]["responses"][str(reply.status)]["content"]
        if reply.headers["content-type"] == "application/json":
            schema = {**content["application/json"]["schema"], "components": description["components"]}
            jsonschema.validate(reply.json, schema, jsonschema.Draft202012Validator)


def test_the_admin_api_moves(hello: Mesh) -> None:
    old = hello.admin_port
    hello.admin_port = old + 1
    text = (hello.directory / "mesh.yaml").read_text()
    hello.write(text.replace(f"127.0.0.1:{old}", f"127.0.0.1:{hello.admin_port}"))
    wait_until(hello.is_ready, "the admin API to answer at its new address")


def test_status_command(hello: Mesh) -> None:
    hello.get()
    by_directory = status_command(str(hello.directory))
    assert by_directory.returncode == 0, by_directory.stderr
    assert by_directory.stdout.startswith("ready\n")
    for word in ("web", hello.address, "hello", "1/1", "serving"):
        assert word in by_directory.stdout
    as_json = status_command("--admin", hello.admin_address, "--json")
    assert json.loads(as_json.stdout)["version"] == hello.version()


def test_status_command_without_a_mesh(mesh: Mesh) -> None:
    result = status_command("--admin", mesh.admin_address)
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr == (
        f"fastmesh: no mesh answers at {mesh.admin_address} (connection refused); is it running? see --admin\n"
    )
