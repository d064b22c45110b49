"""`fastmesh status` against an admin API with a mesh made by hand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fastmesh.admin.http import Request, Response
from fastmesh.cli.status import command
from tests.unit.admin.example import ExampleMesh
from tests.unit.admin.serving import serving, serving_mesh


@pytest.fixture
def mesh() -> ExampleMesh:
    return ExampleMesh()


@pytest.fixture
def address(mesh: ExampleMesh) -> Iterator[str]:
    with serving_mesh(mesh) as url:
        yield url.removeprefix("http://")


def status(*arguments: str) -> Result:
    return CliRunner().invoke(command, arguments)


def row(result: Result, *cells: str) -> bool:
    """Whether some line of the output holds these, in this order."""
    for line in result.output.splitlines():
        position = 0
        for cell in cells:
            position = line.find(cell, position) + len(cell) if cell in line[position:] else -1
            if position < 0:
                break
        else:
            return True
    return False


def test_everything_at_a_glance(address: str, mesh: ExampleMesh) -> None:
    result = status("--admin", address)
    assert result.exit_code == 0
    assert result.output.startswith("ready\n")
    assert "config at version 5f0c2a9be1d3, 2 route(s)" in result.output
    assert row(result, "web", "127.0.0.1:8080", "http ", "listening", "8", "20", "0", "web.yaml:1")
    assert row(result, "internal", "127.0.0.1:8081", "http, TLS optional", "listening")
    assert row(result, "shop", "2/3", "2", "0.0/s", "101", "ms", "shop.yaml:2")
    assert row(result, "assets", "1/1", "0", "-", "-")
    assert row(result, "1", "4712", "serving", "1", "killed by SIGKILL")
    assert row(result, "assets.example", "10.0.0.7")
    assert row(result, "assets", "files places/*.json", "1", "places/a.json:1:1: found a mapping")
    assert row(result, "certs/web.crt", "expires soon", "5 d", "shop.example 10.0.0.1", "listeners.web")
    assert row(result, "certs/ca.crt", "valid", "300 d", "CA", "listeners.internal")
    assert result.output.index("certs/web.crt") < result.output.index("certs/ca.crt")
    assert row(result, "warning web.yaml:9:3 the route can never match")


def test_errors_with_their_places(address: str, mesh: ExampleMesh) -> None:
    mesh.fail_to_load()
    result = status("--admin", address)
    assert result.output.startswith("ready, but the directory could not be applied\n")
    assert row(result, "error shop.yaml:4:7 unknown key 'endpoint'; expected endpoints or balance; did you mean")
    assert row(result, "last reload", "invalid")


def test_not_ready(address: str, mesh: ExampleMesh) -> None:
    mesh.drain()
    assert status("--admin", address).output.startswith("not ready: draining\n")


def test_names_are_no_markup(address: str, mesh: ExampleMesh) -> None:
    mesh.dns[0].name = "[red]a[/red].example"
    assert row(status("--admin", address), "[red]a[/red].example")


def test_json(address: str) -> None:
    result = status("--admin", address, "--json")
    assert json.loads(result.output)["readiness"] == {"ready": True, "reason": ""}


def test_watch_shows_changes_until_interrupted(
    address: str, mesh: ExampleMesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = iter([mesh.drain, None])

    def wait(seconds: float) -> None:
        step = next(waits)
        if step is None:
            raise KeyboardInterrupt
        step()

    monkeypatch.setattr("fastmesh.cli.status.time.sleep", wait)
    result = status("--admin", address, "--watch")
    assert result.exit_code == 0
    assert "not ready: draining" in result.output


def test_by_directory(address: str, tmp_path: Path) -> None:
    (tmp_path / "admin.yaml").write_text(f"admin: {{address: {address}}}\n")
    assert status(str(tmp_path)).output.startswith("ready\n")
    # Errors elsewhere in the directory do not hide the mesh that still runs.
    (tmp_path / "bad.yaml").write_text("services: 3\n")
    assert status(str(tmp_path)).output.startswith("ready\n")


def test_nobody_answers() -> None:
    with serving_mesh(ExampleMesh()) as url:
        address = url.removeprefix("http://")
    result = status("--admin", address)
    assert result.exit_code == 1
    assert result.output == f"Error: no mesh answers at {address} (connection refused); is it running? see --admin\n"


@pytest.mark.parametrize("body", [b"hello", b"[]", b"{}"])
def test_something_else_answers(body: bytes) -> None:
    async def other(request: Request) -> Response:
        return Response(200, body)

    with serving(other) as port:
        result = status("--admin", f"127.0.0.1:{port}")
    assert result.exit_code == 1
    assert "is not the admin API of fastmesh" in result.output
    assert result.output.count("\n") == 1


@pytest.mark.parametrize(
    "arguments", [("--admin", "9900"), ("--admin", "localhost"), (".", "--admin", "a:1"), ("--json", "--watch")]
)
def test_wrong_usage(arguments: tuple[str, ...]) -> None:
    assert status(*arguments).exit_code == 2


def test_no_such_directory(tmp_path: Path) -> None:
    result = status(str(tmp_path / "nowhere"))
    assert result.exit_code == 1
    assert "is not a directory" in result.output
