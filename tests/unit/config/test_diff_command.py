"""`fastmesh diff`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fastmesh.cli.diff import command
from fastmesh.cli.main import cli
from tests.unit.config.samples import MESH


def diff(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, ["diff", *map(str, arguments)], standalone_mode=False)


@pytest.fixture
def directories(tmp_path: Path) -> tuple[Path, Path]:
    found = tmp_path / "old", tmp_path / "new"
    for directory in found:
        directory.mkdir()
        (directory / "mesh.yaml").write_text(MESH)
    return found


def test_nothing_changes(directories: tuple[Path, Path]) -> None:
    result = diff(*directories)
    assert (result.return_value, result.output) == (0, "nothing changes\n")


def test_changes_with_their_places(directories: tuple[Path, Path]) -> None:
    old, new = directories
    (new / "mesh.yaml").write_text(
        MESH.replace("127.0.0.1:9003", "127.0.0.1:9004").replace("  other: {match", "  rest: {match")
    )
    result = diff(old, new)
    assert result.return_value == 1
    assert result.output == (
        f"~ service other: endpoint 127.0.0.1:9004 added  {new}/mesh.yaml:7\n"
        f"~ service other: endpoint 127.0.0.1:9003 removed  {new}/mesh.yaml:7\n"
        f"+ route rest: added: requests for /other and below, to other  {new}/mesh.yaml:10\n"
        f"- route other: removed: requests for /other and below, to other  {old}/mesh.yaml:10\n"
        "4 changes\n"
    )


def test_json(directories: tuple[Path, Path]) -> None:
    old, new = directories
    (new / "mesh.yaml").write_text("dns: {port: 5353}\n" + MESH)
    result = diff(old, new, "--json")
    assert result.return_value == 1
    assert json.loads(result.output)["changes"] == [
        {
            "kind": "dns", "name": "", "action": "changed", "field": "port", "text": "port is 5353 instead of 53",
            "source": f"{new}/mesh.yaml:1",
        }
    ]  # fmt: skip


def test_trouble_is_one_line_and_2(directories: tuple[Path, Path]) -> None:
    old, new = directories
    (new / "mesh.yaml").write_text("listners: {}\nroute: {}\n")
    result = CliRunner().invoke(command, [str(old), str(new)])
    assert result.exit_code == 2
    assert result.stdout == ""
    assert f"{new}/mesh.yaml:1:1: unknown kind 'listners'" in result.stderr
    assert f"; 1 more: fastmesh check {new}\n" in result.stderr
    assert result.stderr.count("\n") == 1
    assert CliRunner().invoke(command, [str(old), str(new / "none")]).exit_code == 2
    assert CliRunner().invoke(command, [str(old)]).exit_code == 2
