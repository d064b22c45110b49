"""`fastmesh explain` beside the mesh that it explains: what it says is what happens."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.mesh import ROOT, Mesh, free_port, wait_until
from tests.upstream import Upstream

ROUTES = """\
routes:
  exact: {match: {path: {exact: /a}, methods: [POST, GET]}, to: hello}
  regex: {match: {path: {regex: "/[a-c]"}}, to: hello}
  header: {match: {path: {prefix: /d}, headers: {x-a: {not: {prefix: b}}}}, to: hello}
  query: {match: {path: {prefix: /d}, query: {q: "1 2"}}, to: hello}
  host: {match: {hosts: ["*.example"]}, to: hello}
"""
MESH = """\
admin: {address: 127.0.0.1:{admin_port}}
access_log: {path: stdout}
listeners: {web: 127.0.0.1:{port}}
services:
  hello: {endpoints: [UPSTREAM, 127.0.0.1:DEAD], health_check: {tcp: true, interval: 50ms}}
"""
REQUESTS = [
    ("GET", "/a", {}),
    ("PUT", "/a", {}),
    ("GET", "/d", {"x-a": "c"}),
    ("GET", "/d?q=1+2", {"x-a": "b"}),
    ("GET", "/d?q=1", {"x-a": "b"}),
    ("GET", "/a", {"host": "a.example"}),
    ("GET", "/a/", {}),
]


@pytest.fixture
def served(mesh: Mesh, start_upstream: Any) -> Mesh:
    upstream: Upstream = start_upstream("blue")
    mesh.write(MESH.replace("UPSTREAM", upstream.address).replace("DEAD", str(free_port())))
    mesh.write(ROUTES, "routes.yaml")
    return mesh.start(workers=1)


def explain(mesh: Mesh, *arguments: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "fastmesh", "explain", str(mesh.directory), *arguments]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.stderr == ""
    return ended.returncode, ended.stdout


def test_the_verdict_is_what_happens(served: Mesh) -> None:
    expected = []
    for method, path, headers in REQUESTS:
        options = [word for name, value in headers.items() for word in ("-H", f"{name}: {value}")]
        code, output = explain(served, method, f"http://{served.address}{path}", *options, "--json")
        expected.append(json.loads(output)["listeners"][0]["route"])
        assert code == (0 if expected[-1] else 1)
        assert (served.get(path, method=method, headers=headers).status == 404) == (not expected[-1])
    assert set(expected) == {"exact", "regex", "header", "query", "host", ""}
    wait_until(lambda: served.output.count("\n") == len(REQUESTS), "the access log")
    assert [json.loads(line)["route"] for line in served.output.splitlines()] == expected


def test_health_is_that_of_the_mesh(served: Mesh) -> None:
    wait_until(lambda: served.status()["services"][0]["endpoints_healthy"] == 1, "the check to fail")
    _, output = explain(served, "GET", f"http://{served.address}/a")
    assert f"health as told by {served.admin_address}\n" in output
    well, ill = (line for line in output.splitlines() if line.strip().startswith("127.0.0.1:") and " -  " in line)
    assert "healthy  " in well
    assert "  in  " in well
    assert "unhealthy: " in ill
    assert "out: unhealthy" in ill
