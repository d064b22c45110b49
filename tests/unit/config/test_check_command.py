"""`fastmesh check` and `fastmesh schema`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from click.testing import CliRunner, Result

from fastmesh.cli import check, schema
from tests.unit.config.samples import MESH

Write = Callable[..., Path]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(check.command, arguments)


def test_ok(write: Write) -> None:
    directory = write(a_yaml=MESH)
    result = run(str(directory))
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"{directory}: ok: 1 listener, 2 services, 2 routes in 1 file\n"


def test_warnings_do_not_fail(write: Write) -> None:
    result = run(str(write(a_yaml=MESH.replace("to: other", "to: hello"))))
    assert result.exit_code == 0
    assert "a.yaml:7:3: warning: services.other: no route uses it" in result.stdout
    assert "; 1 warning\n" in result.stdout


def test_errors_show_the_line(write: Write) -> None:
    directory = write(a_yaml=MESH.replace("prefix: /other", "prefx: /other"))
    result = run(str(directory))
    assert result.exit_code == 1
    assert result.stderr == (
        f"{directory}/a.yaml:10:26: unknown key 'prefx' in routes.other.match.path;"
        " expected one of exact, prefix, regex; did you mean 'prefix'?\n"
        "      other: {match: {path: {prefx: /other}}, to: other, rate_limit: {rate: 1/s}}\n"
        "                             ^\n"
        f"{directory}: 1 error, 0 warnings\n"
    )


def test_every_error_is_shown(write: Write) -> None:
    routes = "".join(f"  r{index}: {{}}\n" for index in range(250))
    result = run(str(write(a_yaml="routes:\n" + routes)))
    assert result.exit_code == 1
    assert result.stderr.count("'to' is missing") + result.stderr.count("no listener") == 251
    assert "251 errors" in result.stderr


def test_json(write: Write) -> None:
    directory = write(a_yaml=MESH)
    good = json.loads(run(str(directory), "--json").stdout)
    assert good["ok"] is True
    assert good["counts"] == {"listeners": 1, "services": 2, "routes": 2}
    write(a_yaml=MESH.replace("to: other", "to: othr"))
    result = run(str(directory), "--json")
    bad = json.loads(result.stdout)
    assert result.exit_code == 1
    assert (bad["ok"], bad["version"]) == (False, None)
    (problem,) = bad["problems"]
    assert (problem["line"], problem["column"], problem["hint"]) == (10, 48, "did you mean 'other'?")


def test_no_directory(tmp_path: Path) -> None:
    result = run(str(tmp_path / "nowhere"))
    assert result.exit_code == 1
    assert "nowhere: no such directory" in result.stderr


def test_schema() -> None:
    result = CliRunner().invoke(schema.command)
    assert result.exit_code == 0
    assert json.loads(result.stdout)["title"] == "fastmesh configuration"
