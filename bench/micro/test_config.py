"""Loading and compiling 1,000 services and 10,000 routes: all of it, and after one edit."""

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from fastmesh.config import CompileCache, LoadCache, compile_snapshot, load
from fastmesh.snapshot import encode

SERVICES, ROUTES = 1000, 10_000
HEAD = "admin: {address: 127.0.0.1:9900}\nlisteners: {web: 127.0.0.1:8080}\nservices:\n"
SERVICE = """\
  service-{0}:
    endpoints:
      - {{address: 10.{1}.{2}.1:8080, labels: {{version: v1}}}}
      - {{address: 10.{1}.{2}.2:8080, labels: {{version: v2}}, weight: 2}}
    balance: least_request
"""
ROUTE = """\
  route-{0}:
    match:
      hosts: [host-{1}.example.org]
      path: {{prefix: /api/{0}}}
      headers: {{x-user-group: beta}}
    to: {{service: service-{2}, subset: {{version: v2}}}}
    rate_limit: {{rate: 100/s, burst: 20, key: {{header: x-api-key}}}}
"""


class CountingIds:
    """Numbers in the order of asking."""

    def __init__(self) -> None:
        self.ids: dict[object, int] = {}

    def id_of(self, kind: str, name: str | tuple[str, ...]) -> int:
        return self.ids.setdefault((kind, name), len(self.ids) + 1)


def mesh_text() -> str:
    services = [SERVICE.format(i, i // 250, i % 250) for i in range(SERVICES)]
    routes = [ROUTE.format(i, i % 500, i % SERVICES) for i in range(ROUTES)]
    return HEAD + "".join(services) + "routes:\n" + "".join(routes)


def one_route(text: str, number: int) -> str:
    return text.replace("{prefix: /api/5000}", f"{{prefix: /edited/{number}}}")


def one_endpoint(text: str, number: int) -> str:
    return text.replace("address: 10.2.0.1:8080", f"address: 10.2.0.1:{1000 + number}")


def one_route_above(text: str, number: int) -> str:
    return text.replace("routes:\n", f"routes:\n  new-{number}: {{to: service-1, rate_limit: {{rate: 1/s}}}}\n")


def comment(text: str, number: int) -> str:
    return f"# {number}\n{text}"


def apply(directory: Path, files: LoadCache, compiled: CompileCache, ids: CountingIds) -> bytes:
    result = load(directory, files)
    assert result.config is not None
    return encode(compile_snapshot(result.config, result.digest, ids, {}, compiled))


def test_everything(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    (tmp_path / "mesh.yaml").write_text(mesh_text())

    def cold() -> bytes:
        return apply(tmp_path, LoadCache(), CompileCache(), CountingIds())

    assert len(benchmark(cold)) > 1_000_000


@pytest.mark.parametrize("edit", [one_route, one_endpoint, one_route_above, comment])
def test_one_edit(benchmark: BenchmarkFixture, tmp_path: Path, edit: Callable[[str, int], str]) -> None:
    text, files, compiled, ids = mesh_text(), LoadCache(), CompileCache(), CountingIds()
    (tmp_path / "mesh.yaml").write_text(text)
    before = apply(tmp_path, files, compiled, ids)
    numbers: Iterator[int] = count()

    def write_and_apply() -> bytes:
        (tmp_path / "mesh.yaml").write_text(edit(text, next(numbers)))
        return apply(tmp_path, files, compiled, ids)

    assert benchmark(write_and_apply) != before


def test_nothing_changed(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    (tmp_path / "mesh.yaml").write_text(mesh_text())
    files, compiled, ids = LoadCache(), CompileCache(), CountingIds()
    apply(tmp_path, files, compiled, ids)
    assert benchmark(apply, tmp_path, files, compiled, ids)
