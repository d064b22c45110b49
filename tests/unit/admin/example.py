"""A mesh made by hand for the admin API to show: real state, real shared memory, no processes."""

from __future__ import annotations

import time
from collections.abc import Iterator

from fastmesh._core.histogram import BUCKETS, index
from fastmesh._core.shared import SharedMemory
from fastmesh.config import CertificateFile, Discover
from fastmesh.config import Endpoint as ConfigEndpoint
from fastmesh.config.problem import Problem, Severity
from fastmesh.control.history import Attempt, Outcome
from fastmesh.control.state import ListenerState, State, WorkerPhase, WorkerState
from fastmesh.discovery import NameState, Source
from fastmesh.health import EndpointHealth
from fastmesh.identity.validity import DAY_S, Validity
from fastmesh.snapshot import (
    Balance,
    Certificate,
    Destination,
    Endpoint,
    Key,
    Listener,
    ListenerTls,
    PathMatch,
    Route,
    Service,
    ServiceTls,
    Snapshot,
    ValueMatch,
    ValueTest,
)

# Words of the structs in shared.pxd.
UPSTREAM_WORD, RETRIES_WORD, ACTIVE_WORD = BUCKETS + 1, 2 * BUCKETS + 5, 2 * BUCKETS + 7

PROBLEM = Problem(
    file="shop.yaml",
    line=4,
    column=7,
    message="unknown key 'endpoint'",
    text="endpoint",
    expected="endpoints or balance",
    hint="did you mean 'endpoints'?",
)
WARNING = Problem("web.yaml", 9, 3, "the route can never match", severity=Severity.WARNING)

SECRET = b"-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"
"""Stands for every PEM text: none is shown, and a CA's no more than a key."""

Labels = tuple[tuple[str, str], ...]
V1: Labels = (("version", "v1"),)
V2: Labels = (("version", "v2"),)


def listener(id: int, name: str, port: int, tls: ListenerTls | None = None) -> Listener:
    return Listener(id, name, "127.0.0.1", port, 8192, 61440, 100, 0, 100_000, 0, 10_000, 60_000, 0, "", -1, 0, tls=tls)


def service(id: int, name: str, *endpoints: Endpoint, tls: ServiceTls | None = None) -> Service:
    return Service(
        id, name, Balance.LEAST_REQUEST, Key(), 1000, 15_000, 300_000, 1024, 30_000, 0, 50, -1, endpoints, ((), V2),
        tls=tls,
    )  # fmt: skip


def route(id: int, name: str, series_ids: tuple[int, ...], path: str = "/") -> Route:
    return Route(
        id=id,
        name=name,
        listener_indexes=tuple(range(len(series_ids))),
        hosts=("shop.example",),
        path_match=PathMatch.PREFIX,
        path=path,
        methods=("GET",),
        headers=(
            ValueTest("x-user-group", ValueMatch.EXACT, "beta"),
            ValueTest("x-debug", ValueMatch.PRESENT, "", True),
        ),
        query=(),
        client=(ValueTest("uri", ValueMatch.PREFIX, "spiffe://mesh/"),),
        destinations=(Destination(0, 1, 9, series_ids),),
        limit_index=-1,
    )


SNAPSHOT = Snapshot(
    version="5f0c2a9be1d34477",
    listeners=(
        listener(1, "web", 8080),
        listener(2, "internal", 8081, ListenerTls((0,), client_ca_pem=SECRET, is_optional=True)),
    ),
    services=(
        service(
            1,
            "shop",
            Endpoint(1, "127.0.0.1", 9001, 1, V1),
            Endpoint(2, "127.0.0.1", 9002, 2, V2),
            Endpoint(3, "::1", 9003, 0, V2),
        ),
        service(2, "assets", Endpoint(4, "10.0.0.7", 80), tls=ServiceTls(SECRET)),
    ),
    routes=(route(1, "shop", (1, 2)), route(2, "shop-api", (3,), "/api")),
    limits=(),
    certificates=(Certificate("certs/web.crt", SECRET, SECRET, ("shop.example",)),),
)


class ExampleMesh:
    """What fastmesh.admin.Mesh asks for."""

    def __init__(self) -> None:
        now = time.time()
        self.shared = SharedMemory.create(2)
        self.state = State(directory="config", worker_count=2, started_s=now - 4000)
        self.state.snapshot = SNAPSHOT
        self.state.sources = {"shop.yaml": "services: {}\n", "web.yaml": "listeners: {}\n"}
        self.state.warnings = (WARNING,)
        past, ahead = int(now) - 90 * DAY_S, int(now) + 30  # until the minutes that are shown are over
        self.state.certificates = (
            CertificateFile("certs/ca.crt", True, (), Validity(past, ahead + 300 * DAY_S), ("listeners.internal",)),
            CertificateFile(
                "certs/web.crt",
                False,
                ("shop.example", "10.0.0.1"),
                Validity(past, ahead + 5 * DAY_S),
                ("listeners.web",),
            ),
        )
        self.state.workers = [
            WorkerState(0, 4711, WorkerPhase.SERVING, now - 4000, SNAPSHOT.version),
            WorkerState(1, 4712, WorkerPhase.SERVING, now - 60, SNAPSHOT.version, 1, "killed by SIGKILL"),
        ]
        self.state.listeners = [
            ListenerState(1, "web", "127.0.0.1:8080"),
            ListenerState(2, "internal", "127.0.0.1:8081"),
        ]
        self.state.history.add(Attempt(now - 3999, "0badc0de", Outcome.APPLIED, 12.5))
        self.state.history.add(Attempt(now - 100, SNAPSHOT.version, Outcome.APPLIED, 3.25))
        self.healths = {
            1: EndpointHealth("shop", checks=10, since=now - 3000),
            2: EndpointHealth("shop", healthy=False, checks=9, failures=3, last_error="status 503", since=now - 30),
        }
        self.shared.set_health(2, False)
        self.shared.bump_health()
        self.dns = [NameState("assets.example", ("10.0.0.7",), now - 5, 60.0, 3)]
        source = Source("assets", Discover(files="places/*.json"))
        source.offer((ConfigEndpoint("10.0.0.7:80"),), ())
        source.settle(frozenset(), frozenset())
        source.offer((), ("places/a.json:1:1: found a mapping",))
        self.found = [source]
        self.level = "info"
        self.drained = False
        self.count()

    def count(self) -> None:
        """Requests, as workers would have counted them: shop 100 in 2 ms and 1 in 200 ms, two in flight."""
        for duration_us, number in ((2000, 100), (200_000, 1)):
            self.shared.add("service", 0, 1, index(duration_us), number)
            self.shared.add("service", 0, 1, UPSTREAM_WORD + index(duration_us // 2), number)
        self.shared.add("service", 1, 1, ACTIVE_WORD, 2)
        self.shared.add("service", 1, 1, RETRIES_WORD, 5)
        self.shared.add("endpoint", 0, 1, 0, 60)
        self.shared.add("endpoint", 0, 2, 0, 41)
        self.shared.add("endpoint", 0, 2, 1, 7)
        self.shared.add("series", 0, 1, 2, 90)  # 2xx
        self.shared.add("series", 1, 2, 2, 10)
        self.shared.add("series", 1, 2, 4, 1)  # 4xx
        self.shared.add("series", 1, 2, 6 + 1, 1)  # the first reason
        self.shared.add("listener", 0, 1, 0, 20)
        self.shared.add("listener", 0, 1, 2, 8)

    def fail_to_load(self) -> Attempt:
        """The directory has got an error."""
        self.state.problems = (PROBLEM,)
        attempt = Attempt(time.time(), "badbadbad", Outcome.INVALID, 1.0, (PROBLEM,))
        self.state.history.add(attempt)
        return attempt

    def health(self, endpoint_id: int) -> EndpointHealth | None:
        return self.healths.get(endpoint_id)

    def names(self) -> list[NameState]:
        return self.dns

    def sources(self) -> list[Source]:
        return self.found

    def place(self, kind: str, name: str) -> str:
        return {"listeners": "web.yaml:1", "services": "shop.yaml:2", "routes": "shop.yaml:12"}[kind]

    def metrics(self, accept: str) -> tuple[str, Iterator[str]]:
        return ("text/plain; version=0.0.4" if "openmetrics" not in accept else "application/openmetrics-text"), (
            f'fastmesh_sample{{number="{number}"}} 1\n' for number in range(1000)
        )

    def log_level(self) -> str:
        return self.level

    def set_log_level(self, level: str) -> None:
        self.level = level

    async def reload(self) -> Attempt:
        return self.state.history.last or self.fail_to_load()

    def drain(self) -> None:
        self.state.draining = True
