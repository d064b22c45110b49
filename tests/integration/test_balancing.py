"""Which endpoint a request reaches: algorithms, weights, subsets, sticky keys, health and panic."""

from __future__ import annotations

import asyncio
import http.client
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace

import h11
import pytest

from tests.mesh import Mesh, wait_until
from tests.upstream import Seen, Upstream

ALGORITHMS = ("round_robin", "random", "least_request", "peak_ewma", "ring_hash", "maglev")
CHECK = "health_check: {http: /health, interval: 50ms, timeout: 2s, rise: 1, fall: 1}"


class Checked(Upstream):
    """Its check fails while it is sick; other requests it answers all the same."""

    is_sick = False

    async def _answer(self, connection: h11.Connection, writer: asyncio.StreamWriter, seen: Seen) -> bool:
        if seen.target == "/health":
            seen = replace(seen, target="/status/503" if self.is_sick else "/")
        return await super()._answer(connection, writer, seen)


class Holding(Upstream):
    """It never answers."""

    async def _answer(self, connection: h11.Connection, writer: asyncio.StreamWriter, seen: Seen) -> bool:
        await asyncio.get_running_loop().create_future()
        return False


def reload(mesh: Mesh, serve: Callable[[], None]) -> None:
    """Change the configuration, and wait until every worker serves it."""
    before = mesh.version()
    serve()

    def is_served() -> bool:
        status = mesh.status()
        return status["version"] != before and all(each["version"] == status["version"] for each in status["workers"])

    wait_until(is_served, "the workers to serve the new version")


def answers(
    mesh: Mesh,
    count: int,
    path: Callable[[int], str] = lambda i: "/",
    header: Callable[[int], dict[str, str]] | None = None,
) -> list[str]:
    """Which endpoint answered each of the requests of one connection."""
    found = []
    with closing(http.client.HTTPConnection("127.0.0.1", mesh.port, timeout=20)) as connection:
        for i in range(count):
            connection.request("GET", path(i), headers=header(i) if header is not None else {})
            response = connection.getresponse()
            body = response.read().decode()
            found.append(body if response.status == 200 else str(response.status))
    return found


@pytest.fixture
def abc() -> Iterator[list[Upstream]]:
    """Three endpoints that answer with their names."""
    upstreams = [Upstream(name).start() for name in "abc"]
    yield upstreams
    for upstream in upstreams:
        upstream.stop()


def endpoints(upstreams: list[Upstream], *more: str) -> list[str]:
    """In braces, with what else is said of each."""
    return [f"{{address: {each.address}, {words}}}" for each, words in zip(upstreams, more, strict=True)]


def test_each_algorithm_shares_by_weight(mesh: Mesh, abc: list[Upstream]) -> None:
    """Weights 1, 2 and 3, requests with a thousand different keys."""
    weighted = endpoints(abc, "weight: 1", "weight: 2", "weight: 3")
    mesh.serve(*weighted)
    mesh.start(workers=1)
    for algorithm in ALGORITHMS:
        key = "key: {header: x-key}, " if algorithm in ("ring_hash", "maglev") else ""
        balance = f"balance: {{{key}algorithm: {algorithm}}}\ntimeouts: {{connect: 15s}}"
        reload(mesh, lambda balance=balance: mesh.serve(*weighted, hello=balance))
        got = Counter(answers(mesh, 600, header=lambda i: {"X-Key": str(i)}))
        assert got.total() == sum(got[name] for name in "abc"), got
        if algorithm == "round_robin":
            retries = [line for line in mesh.admin("/metrics").text.splitlines() if "fastmesh_retries_total" in line]
            assert got == {"a": 100, "b": 200, "c": 300}, retries
        elif algorithm != "peak_ewma":  # which shares by what it measures, and so by what the machine does
            # Six standard deviations of a draw are at most 73; of a ring's arcs, somewhat more.
            slack = 120 if algorithm == "ring_hash" else 75
            assert all(abs(got[name] - 100 * weight) <= slack for name, weight in zip("abc", (1, 2, 3), strict=True)), (
                algorithm,
                got,
            )


@pytest.mark.parametrize("algorithm", ["least_request", "peak_ewma"])
def test_an_endpoint_that_holds_its_requests_gets_fewer(mesh: Mesh, abc: list[Upstream], algorithm: str) -> None:
    """Of 200 requests in a row, round robin would send it 100; with two draws it gets only those drawn twice."""
    quick, holding = abc[0], Holding("holding").start()
    mesh.serve(quick.address, holding.address, hello=f"balance: {algorithm}")
    mesh.start(workers=1)
    held: list[http.client.HTTPConnection] = []
    connection = http.client.HTTPConnection("127.0.0.1", mesh.port, timeout=20)
    for sent in range(1, 201):
        connection.request("GET", "/")
        wait_until(lambda sent=sent: len(quick.seen) + len(holding.seen) == sent, "an endpoint to see the request")
        if len(holding.seen) > len(held):
            held.append(connection)
            connection = http.client.HTTPConnection("127.0.0.1", mesh.port, timeout=20)
        else:
            assert connection.getresponse().read() == b"a"
    assert 1 <= len(held) <= 80
    for each in (*held, connection):
        each.close()
    holding.stop()


def test_two_subsets_share_a_route_exactly(mesh: Mesh, abc: list[Upstream]) -> None:
    first, second, canary = endpoints(abc, "labels: {version: v1}", "labels: {version: v1}", "labels: {version: v2}")
    mesh.write(
        f"admin: {{address: {mesh.admin_address}}}\n"
        f"listeners: {{web: {mesh.address}}}\n"
        f"services: {{hello: {{endpoints: [{first}, {second}, {canary}], balance: round_robin}}}}\n"
        "routes:\n"
        "  beta: {match: {headers: {x-user-group: beta}}, to: {service: hello, subset: {version: v2}}}\n"
        "  hello:\n"
        "    to:\n"
        "      - {service: hello, subset: {version: v1}, weight: 90}\n"
        "      - {service: hello, subset: {version: v2}, weight: 10}\n"
    )
    mesh.start(workers=1)
    for _ in range(3):
        got = answers(mesh, 100)
        assert Counter(got) == {"a": 45, "b": 45, "c": 10}
        assert "cc" not in "".join(got), "the tenth part comes in turn, not at once"
    assert set(answers(mesh, 20, header=lambda i: {"X-User-Group": "beta"})) == {"c"}


def test_a_subset_without_an_endpoint_answers_503(mesh: Mesh, abc: list[Upstream]) -> None:
    mesh.write(
        f"admin: {{address: {mesh.admin_address}}}\n"
        f"listeners: {{web: {mesh.address}}}\n"
        f"services: {{hello: {{endpoints: [{abc[0].address}]}}}}\n"
        "routes: {hello: {to: {service: hello, subset: {version: v9}}}}\n"
    )
    mesh.start(workers=1)
    refused = mesh.get()
    assert (refused.status, refused.headers["x-fastmesh-reason"]) == (503, "no_endpoint")


@pytest.mark.parametrize("algorithm", ["ring_hash", "maglev"])
def test_a_key_stays_with_its_endpoint(mesh: Mesh, abc: list[Upstream], algorithm: str) -> None:
    """By header, cookie, path and source address, in every worker, and also after an endpoint was added."""
    addresses = endpoints(abc, "weight: 3", "weight: 4", "weight: 3")  # 160 points for each unit of weight
    mesh.serve(*addresses[:2], hello=f"balance: {{algorithm: {algorithm}, key: {{header: x-user}}}}")
    mesh.start(workers=3)
    users = [{"X-User": f"user-{i}"} for i in range(30)]
    home = [mesh.get(headers=user).text for user in users]
    assert set(home) == {"a", "b"}
    for _ in range(3):
        assert [mesh.get(headers=user).text for user in users] == home

    reload(mesh, lambda: mesh.serve(*addresses, hello=f"balance: {{algorithm: {algorithm}, key: {{header: x-user}}}}"))
    after = [mesh.get(headers=user).text for user in users]
    stayed = sum(one == other for one, other in zip(home, after, strict=True))
    assert stayed >= 10, "about a third moves to the new endpoint"
    if algorithm == "ring_hash":
        assert all(one == other or other == "c" for one, other in zip(home, after, strict=True))

    cookie = f"balance: {{algorithm: {algorithm}, key: {{cookie: session}}}}"
    reload(mesh, lambda: mesh.serve(*addresses, hello=cookie))
    assert [mesh.get(headers={"Cookie": f"a=b; session=user-{i}"}).text for i in range(30)] == after

    reload(mesh, lambda: mesh.serve(*addresses, hello=f"balance: {{algorithm: {algorithm}, key: path}}"))
    for path in ("/one", "/two", "/three"):
        assert len({mesh.get(f"{path}?{i}").text for i in range(10)}) == 1

    reload(mesh, lambda: mesh.serve(*addresses, hello=f"balance: {algorithm}"))
    assert len({mesh.get().text for _ in range(20)}) == 1


def test_weight_0_drains(mesh: Mesh, abc: list[Upstream]) -> None:
    mesh.serve(*(each.address for each in abc))
    mesh.start(workers=2)
    for algorithm in ALGORITHMS:
        drained = endpoints(abc, "weight: 1", "weight: 0", "weight: 2")
        reload(mesh, lambda words=algorithm, drained=drained: mesh.serve(*drained, hello=f"balance: {words}"))
        abc[1].seen.clear()
        got = Counter(answers(mesh, 40, path=lambda i: f"/{i}"))
        assert got["a"] + got["c"] == 40, (algorithm, got)
        assert not abc[1].seen


def healthy(mesh: Mesh) -> dict[str, bool]:
    return {each["address"]: each["healthy"] for each in mesh.admin("/services/hello").json["endpoints"]}


def test_who_fails_its_checks_is_not_chosen_until_too_few_are_left(mesh: Mesh) -> None:
    checked = {name: Checked(name) for name in "abc"}
    for each in checked.values():
        each.start()
    mesh.serve(*(each.address for each in checked.values()), hello=f"balance: round_robin\n{CHECK}")
    mesh.start(workers=2)
    try:
        checked["b"].is_sick = True
        wait_until(lambda: not healthy(mesh)[checked["b"].address], "b to fall ill")
        wait_until(lambda: "b" not in answers(mesh, 30), "the workers to see it")
        assert Counter(answers(mesh, 30)) == {"a": 15, "c": 15}
        checked["c"].is_sick = True  # one of three is below the half: all are used
        wait_until(lambda: not healthy(mesh)[checked["c"].address], "c to fall ill")
        wait_until(lambda: set(answers(mesh, 30)) == {"a", "b", "c"}, "the panic")
        metrics = mesh.admin("/metrics").text
        assert 'fastmesh_service_panic{service="hello"} 1' in metrics
        assert 'fastmesh_panic_requests_total{service="hello"}' in metrics
        for each in checked.values():
            each.is_sick = False
        wait_until(lambda: all(healthy(mesh).values()), "all to be well")
        assert 'fastmesh_service_panic{service="hello"} 0' in mesh.admin("/metrics").text
        assert set(answers(mesh, 30)) == {"a", "b", "c"}
    finally:
        for each in checked.values():
            each.stop()
