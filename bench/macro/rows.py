"""The rows of the suite: what is measured, of whom, and the bar that fastmesh has to clear."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.macro.load import Work, idle_connections, run_open_loop, run_wrk
from bench.macro.processes import Process, settle, spent_ns
from bench.macro.proxies import TITLES, route_host

OPEN_LOOP_RATE = 5_000
IDLE_CONNECTIONS = 5_000
WARMUP_S = 1
MANY_ROUTES = 10_000

Figures = dict[str, float]


@dataclass(frozen=True)
class Subject:
    """One proxy in one shape."""

    proxy: str
    routes: int = 10
    workers: int = 1

    @property
    def name(self) -> str:
        extra = f", {self.routes:,} routes" if self.routes != 10 else ""
        extra += f", {self.workers} workers" if self.workers != 1 else ""
        return TITLES[self.proxy] + extra


@dataclass(frozen=True)
class Stage:
    """A running subject, and how long to look at it."""

    subject: Subject
    process: Process
    port: int
    folder: Path
    seconds: int


@dataclass(frozen=True)
class Bar:
    """`subject`'s figure may be at most (or at least) `factor` times that of `against`, or `factor` itself."""

    figure: str
    factor: float
    against: tuple[Subject, ...] = ()  # several: the best of them
    subject: Subject = Subject("fastmesh")
    at_least: bool = False


@dataclass(frozen=True)
class Row:
    """A kind of work."""

    key: str
    title: str
    figure: str  # the one that the chart shows
    subjects: tuple[Subject, ...]
    measure: Callable[[Stage], Figures]
    bars: tuple[Bar, ...]
    once: bool = False  # on a fresh process, in the first round only


# Figure: column title and unit. Smaller is better, except for requests/s.
COLUMNS = {
    "cpu_us": "CPU us/request",
    "requests_s": "requests/s",
    "p50_us": "p50, us",
    "p99_us": "p99, us",
    "p999_us": "p99.9, us",
    "max_us": "max, us",
    "connection_bytes": "bytes/connection",
    "pss_mib": "PSS, MiB",
}

FASTMESH, NGINX, HAPROXY, ENVOY = (Subject(name) for name in ("fastmesh", "nginx", "haproxy", "envoy"))
EVERYBODY = (FASTMESH, NGINX, HAPROXY, ENVOY)
FLOOR = Subject("floor")  # what the kernel charges for any proxy: no bar, but the measure of all of them
MANY = Subject("fastmesh", routes=MANY_ROUTES)
TWO_WORKERS = Subject("fastmesh", workers=2)


def closed_loop(work: Work) -> Callable[[Stage], Figures]:
    """CPU time a request with wrk at full speed."""

    def measure(stage: Stage) -> Figures:
        run_wrk(stage.port, work, WARMUP_S)
        before = stage.process.cpu_ns()
        result = run_wrk(stage.port, work, stage.seconds)
        spent = spent_ns(before, stage.process.cpu_ns(), stage.subject.name)
        return {
            "cpu_us": spent / 1e3 / result.requests,
            "requests_s": result.requests / result.seconds,
            "p50_us": result.p50_us,
            "p99_us": result.p99_us,
        }

    return measure


def every_route(stage: Stage) -> Figures:
    """Requests to the hosts of all routes, shuffled, so that no route stays warm."""
    hosts = ", ".join(f'"{route_host(number)}"' for number in range(1, stage.subject.routes))
    script = stage.folder / "routes.lua"
    script.write_text(
        f"local hosts = {{{hosts}}}\n"
        "local requests, at = {}, 0\n"
        "function init()\n"
        "  math.randomseed(1)\n"
        "  for i = #hosts, 2, -1 do local j = math.random(i); hosts[i], hosts[j] = hosts[j], hosts[i] end\n"
        '  for i, host in ipairs(hosts) do requests[i] = wrk.format("GET", nil, {Host = host}) end\n'
        "end\n"
        "function request() at = at % #requests + 1; return requests[at] end\n"
    )
    return closed_loop(Work(script=script))(stage)


def open_loop(stage: Stage) -> Figures:
    """Latency at a fixed rate, counted from the intended start of each request."""
    before = stage.process.cpu_ns()
    generator = run_open_loop(stage.port, Work(), stage.seconds, OPEN_LOOP_RATE)
    spent = spent_ns(before, stage.process.cpu_ns(), stage.subject.name)
    latency = generator.latency
    return {
        "p50_us": latency.quantile_ns(0.5) / 1e3,
        "p99_us": latency.quantile_ns(0.99) / 1e3,
        "p999_us": latency.quantile_ns(0.999) / 1e3,
        "max_us": latency.max_ns / 1e3,
        "cpu_us": spent / 1e3 / (OPEN_LOOP_RATE * (stage.seconds + 1)),
    }


def idle_memory(stage: Stage) -> Figures:
    """What an idle client connection that made a request adds to the memory of a warm proxy."""
    run_wrk(stage.port, Work(), WARMUP_S)
    settle(stage.process, 0.5)
    before = stage.process.pss_bytes()
    with idle_connections(stage.port, Work(), IDLE_CONNECTIONS):
        settle(stage.process, 0.5)
        return {"connection_bytes": (stage.process.pss_bytes() - before) / IDLE_CONNECTIONS}


def idle_pss(stage: Stage) -> Figures:
    """Memory of a proxy that has nothing to do."""
    settle(stage.process, 2.0)
    return {"pss_mib": stage.process.pss_bytes() / 2**20}


def _scaling_bar() -> Bar:
    # Two workers need two CPUs that nobody else uses; where there are none, a request may cost no more than with one.
    if len(os.sched_getaffinity(0)) >= 4:
        return Bar("requests_s", 1.7, (FASTMESH,), TWO_WORKERS, at_least=True)
    return Bar("cpu_us", 1.05, (FASTMESH,), TWO_WORKERS)


def all_rows() -> tuple[Row, ...]:
    """The rows, in the order of the report."""
    cpu = "cpu_us"
    small, large, huge = (closed_loop(Work(path)) for path in ("/small", "/64k", "/1m"))
    closing = closed_loop(Work(headers=("Connection: close",)))
    return (
        Row("small", "Keep-alive, 64 connections, 127-byte body", cpu, (*EVERYBODY, FLOOR), small,
            (Bar(cpu, 0.75, (NGINX,)), Bar(cpu, 0.75, (HAPROXY,)), Bar(cpu, 0.25, (ENVOY,)))),
        Row("routes", "The same with 10,000 routes, all of them in use", cpu, (FASTMESH, MANY), every_route,
            (Bar(cpu, 1.08, (FASTMESH,), MANY),)),
        Row("64k", "64 KiB bodies", cpu, EVERYBODY, large, (Bar(cpu, 1.0, (HAPROXY,)),)),
        Row("1m", "1 MiB bodies", cpu, EVERYBODY, huge, (Bar(cpu, 0.9, (HAPROXY,)),)),
        Row("close", "A new connection for each request", cpu, EVERYBODY, closing, (Bar(cpu, 1.0, (NGINX,)),)),
        Row("open-loop", "Open loop at 5,000 requests/s", "p99_us", EVERYBODY, open_loop,
            (Bar("p99_us", 1.1, (NGINX, HAPROXY)),)),
        Row("idle-connection", "Memory of an idle client connection", "connection_bytes", EVERYBODY, idle_memory,
            (Bar("connection_bytes", 1536.0),), once=True),
        Row("pss", "Memory when idle, one worker", "pss_mib", EVERYBODY, idle_pss,
            (Bar("pss_mib", 40.0),), once=True),
        Row("workers", "Two workers", cpu, (FASTMESH, TWO_WORKERS), small, (_scaling_bar(),)),
    )  # fmt: skip
