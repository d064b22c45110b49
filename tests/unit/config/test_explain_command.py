"""`fastmesh explain`, alone and beside an admin API with a mesh made by hand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fastmesh.cli.explain import read_request
from fastmesh.cli.main import cli
from tests.mesh import free_port
from tests.unit.admin.example import ExampleMesh
from tests.unit.admin.serving import serving_mesh

MESH = """\
admin: {address: 127.0.0.1:PORT}
listeners: {web: 127.0.0.1:8080, inner: 127.0.0.1:8081}
services:
  shop:
    endpoints: [127.0.0.1:9001, 127.0.0.1:9002]
    health_check: {tcp: true}
routes:
  shop: {match: {path: {prefix: /shop}}, to: shop}
  inner: {listeners: [inner], to: shop}
"""


@pytest.fixture
def directory(tmp_path: Path) -> str:
    (tmp_path / "mesh.yaml").write_text(MESH.replace("PORT", str(free_port())))
    return str(tmp_path)


@pytest.fixture
def admin() -> Iterator[str]:
    with serving_mesh(ExampleMesh()) as url:
        yield url.removeprefix("http://")


def explain(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["explain", *arguments], standalone_mode=False)


def told(*arguments: str) -> dict[str, object]:
    result = explain(*arguments, "--json")
    return {each["listener"]: each["route"] for each in json.loads(result.output)["listeners"]}


def test_the_port_says_which_listener(directory: str) -> None:
    assert told(directory, "GET", "http://127.0.0.1:8080/shop") == {"web": "shop"}
    assert told(directory, "GET", "http://x.org:8081/") == {"inner": "inner"}
    assert told(directory, "GET", "https://x.org/") == {"web": "", "inner": "inner"}
    assert told(directory, "GET", "/shop", "--listener", "web", "-H", "host: a") == {"web": "shop"}


def test_the_exit_code_says_whether_a_route_matches(directory: str) -> None:
    assert explain(directory, "GET", "http://a:8080/shop").return_value == 0
    result = explain(directory, "GET", "http://a:8080/")
    assert result.return_value == 1
    assert "no route matches: 404 no_route" in result.output
    assert "path is /shop and below: no, /" in result.output


def test_text_without_a_mesh(directory: str) -> None:
    output = explain(directory, "GET", "http://a:8080/shop").output
    assert "route shop takes it" in output
    assert "health unknown: no mesh answers at 127.0.0.1:" in output
    assert "\x1b" not in output


def test_health_of_a_running_mesh(directory: str, admin: str) -> None:
    result = explain(directory, "GET", "http://a:8080/shop", "--admin", admin)
    lines = {line.split()[0]: line for line in result.output.splitlines() if line.strip().startswith("127.0.0.1:900")}
    assert "healthy" in lines["127.0.0.1:9001"]
    assert "  in  " in lines["127.0.0.1:9001"]
    assert "unhealthy: status 503" in lines["127.0.0.1:9002"]
    assert "out: unhealthy" in lines["127.0.0.1:9002"]
    assert f"health as told by {admin}, which serves another version (5f0c2a9be1d3 of config)" in result.output


def test_what_sources_find_is_told_by_a_running_mesh(directory: str, admin: str) -> None:
    mesh = Path(directory, "mesh.yaml")
    mesh.write_text(
        mesh.read_text().replace("127.0.0.1:9001, 127.0.0.1:9002]", "127.0.0.1:9001]\n    discover: registry")
    )
    unasked = explain(directory, "GET", "http://a:8080/shop").output
    assert "a running mesh knows what its sources find, and was not asked" in unasked
    assert "discovered" not in unasked
    result = explain(directory, "GET", "http://a:8080/shop", "--admin", admin)
    lines = {line.split()[0]: line for line in result.output.splitlines() if " 127.0.0.1:900" in line}
    assert "discovered, " not in lines["127.0.0.1:9001"]
    assert "discovered, " in lines["127.0.0.1:9002"]
    assert "unhealthy: status 503" in lines["127.0.0.1:9002"]


def test_many_rules_are_cut_and_all_are_shown_when_asked(directory: str) -> None:
    routes = "".join(f"  r{n}: {{match: {{path: {{exact: /r{n}}}}}, to: shop}}\n" for n in range(200))
    Path(directory, "more.yaml").write_text("routes:\n" + routes)
    cut = explain(directory, "GET", "http://a:8080/r150").output
    assert "r150" in cut
    assert cut.count("misses") < 40
    assert " more" in cut
    assert explain(directory, "GET", "http://a:8080/r150", "--all").output.count("misses") == 200


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["GET", "ftp://a/"], "is not a URL; write http://HOST/PATH"),
        (["GET", "http://a/ b"], "percent-encoded"),
        (["GET", "http://a:99999/"], "is not a URL: Port out of range"),
        (["GET", "/", "-H", "x"], "'x' is not a header; write it as 'name: value'"),
        (["GET", "/", "-H", "x: a\r\ny: b"], "holds characters that no header has"),
        (["GET", "/", "--listener", "wb"], "there is no listener 'wb'; there are web, inner"),
        (["GET", "/", "--admin", "nowhere"], "is not an address"),
    ],
)
def test_bad_usage_is_one_clear_line(directory: str, arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(cli, ["explain", directory, *arguments])
    assert result.exit_code == 2
    assert said in result.stderr.splitlines()[-1]


def test_an_admin_api_that_was_named_must_answer(directory: str) -> None:
    result = CliRunner().invoke(cli, ["explain", directory, "GET", "/", "--admin", f"127.0.0.1:{free_port()}"])
    assert result.exit_code == 2
    assert "no mesh answers at" in result.stderr


@pytest.mark.parametrize(
    ("method", "url", "headers", "head"),
    [
        ("GET", "http://a.org:81/x?y=1#z", (), b"GET /x?y=1 HTTP/1.1\r\nHost: a.org:81\r\n\r\n"),
        ("GET", "http://a.org", ("Host: b",), b"GET / HTTP/1.1\r\nHost: b\r\n\r\n"),
        ("GET", "/a//b", ("x:y",), b"GET /a//b HTTP/1.1\r\nHost: \r\nx: y\r\n\r\n"),
        ("GET", "//a/b", (), b"GET //a/b HTTP/1.1\r\nHost: \r\n\r\n"),
        ("CONNECT", "http://a.org:443", (), b"CONNECT a.org:443 HTTP/1.1\r\nHost: a.org:443\r\n\r\n"),
        ("OPTIONS", "*", (), b"OPTIONS * HTTP/1.1\r\nHost: \r\n\r\n"),
    ],
)
def test_what_a_client_would_send(method: str, url: str, headers: tuple[str, ...], head: bytes) -> None:
    assert read_request(method, url, headers).head == head
