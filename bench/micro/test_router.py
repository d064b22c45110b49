"""Matching a request among 10 to 10,000 routes; each round asks for every route once, in random order.

What a round costs is that of 10,000 matches, so that a microsecond a round is 0.1 ns a match. The heads
themselves lie scattered in memory as the routes do, so that the larger tables are measured with cold caches.
"""

import random

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from fastmesh._core.router import RequestHead, Router
from fastmesh.snapshot import PathMatch, Route, ValueMatch, ValueTest

MATCHES = 10_000
GROUP = ValueTest("x-user-group", ValueMatch.EXACT, "beta")
HEADERS = (("host", "example.org"), ("user-agent", "curl/8.0"), ("accept", "*/*"), ("x-user-group", "beta"))


def by_host(number: int) -> tuple[Route, RequestHead]:
    host = f"service-{number}.example.org"
    route = Route(number + 1, host, (0,), (host,), PathMatch.PREFIX, "/", (), (), (), (), -1)
    return route, RequestHead("GET", host, "/items/1", "", HEADERS)


def by_path(number: int) -> tuple[Route, RequestHead]:
    path = f"/api/service-{number}"
    route = Route(number + 1, path, (0,), (), PathMatch.PREFIX, path, (), (), (), (), -1)
    return route, RequestHead("GET", "example.org", path + "/items/1", "", HEADERS)


def by_everything(number: int) -> tuple[Route, RequestHead]:
    host = f"service-{number}.example.org"
    route = Route(number + 1, host, (0,), (host,), PathMatch.PREFIX, "/api/v1", ("GET", "HEAD"), (GROUP,), (), (), -1)
    return route, RequestHead("GET", host, "/api/v1/items", "", HEADERS)


@pytest.mark.parametrize("count", [10, 100, 1000, 10_000])
@pytest.mark.parametrize("made", [by_host, by_path, by_everything])
def test_match(benchmark: BenchmarkFixture, made: object, count: int) -> None:
    assert callable(made)
    pairs = [made(number) for number in range(count)]
    router = Router(1)
    router.add([route for route, _ in pairs], 0)
    router.finish_step()
    heads = [head for _, head in pairs] * (MATCHES // count)
    random.Random(1).shuffle(heads)
    total = benchmark(router.match_heads, 0, heads)
    assert total == sum(range(count)) * (MATCHES // count)


@pytest.mark.parametrize("count", [10, 100, 1000, 10_000])
def test_compile(benchmark: BenchmarkFixture, count: int) -> None:
    routes = [by_everything(number)[0] for number in range(count)]

    def compile_all() -> Router:
        router = Router(1)
        for first in range(0, count, 100):
            router.add(routes[first : first + 100], first)
        router.finish_step()
        return router

    router = benchmark(compile_all)
    assert router.match(0, "GET", f"service-{count - 1}.example.org", "/api/v1", "", HEADERS) == count - 1
