"""The rows of the suite: what is measured, of whom, and the bar that fastmesh has to clear."""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from bench.macro.load import (
    idle_connections,
    idle_http2_connections,
    idle_tls_connections,
    run_closed_loop,
    run_open_loop,
)
from bench.macro.mesh import route_host
from bench.macro.processes import Process, settle, spent_ns
from bench.macro.proxies import TITLES
from bench.macro.shapes import GRPC, HTTP2, HTTP2_BOTH, MUTUAL_TLS, PLAIN, TCP, TLS, Place, Shape
from bench.macro.work import GRPC_WORK, HTTP2_WORK, Work, work_of

OPEN_LOOP_RATE = 5_000
IDLE_CONNECTIONS = 5_000
IDLE_SESSIONS = 2_000  # of TLS and HTTP/2, which are made one after another
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
    place: Place
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
    shape: Shape = PLAIN


# Figure: column title and unit. Smaller is better, except for requests/s.
COLUMNS = {
    "cpu_us": "CPU us/request",
    "requests_s": "requests/s",
    "mean_us": "mean, us",
    "p50_us": "p50, us",
    "p99_us": "p99, us",
    "p999_us": "p99.9, us",
    "max_us": "max, us",
    "connection_bytes": "bytes/connection",
    "pss_mib": "PSS, MiB",
}

FASTMESH, NGINX, HAPROXY, ENVOY, NGHTTPX = (
    Subject(name) for name in ("fastmesh", "nginx", "haproxy", "envoy", "nghttpx")
)
EVERYBODY = (FASTMESH, NGINX, HAPROXY, ENVOY)
WITH_NGHTTPX = (*EVERYBODY, NGHTTPX)
HTTP2_UPSTREAM = (FASTMESH, HAPROXY, ENVOY, NGHTTPX)  # nginx has it for gRPC only
TCP_PROXIES = (FASTMESH, HAPROXY, ENVOY)  # Debian's nginx-light has no TCP module, nghttpx has none at all
FLOOR = Subject("floor")  # what the kernel charges for any proxy: no bar, but the measure of all of them
MANY = Subject("fastmesh", routes=MANY_ROUTES)
TWO_WORKERS = Subject("fastmesh", workers=2)


def closed_loop(work: Work) -> Callable[[Stage], Figures]:
    """CPU time a request with the load at full speed."""

    def measure(stage: Stage) -> Figures:
        run_closed_loop(stage.place, work, WARMUP_S)
        before = stage.process.cpu_ns()
        result = run_closed_loop(stage.place, work, stage.seconds)
        spent = spent_ns(before, stage.process.cpu_ns(), stage.subject.name)
        return {
            "cpu_us": spent / 1e3 / result.requests,
            "requests_s": result.requests / result.seconds,
            **result.latency,
        }

    return measure


def every_route(stage: Stage) -> Figures:
    """Requests to the hosts of all routes, shuffled, so that no route stays warm."""
    hosts = ", ".join(f'"{route_host(number)}"' for number in range(1, stage.subject.routes))
    script = stage.place.folder / "routes.lua"
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
    generator = run_open_loop(stage.place.port, Work(), stage.seconds, OPEN_LOOP_RATE)
    spent = spent_ns(before, stage.process.cpu_ns(), stage.subject.name)
    latency = generator.latency
    return {
        "p50_us": latency.quantile_ns(0.5) / 1e3,
        "p99_us": latency.quantile_ns(0.99) / 1e3,
        "p999_us": latency.quantile_ns(0.999) / 1e3,
        "max_us": latency.max_ns / 1e3,
        "cpu_us": spent / 1e3 / (OPEN_LOOP_RATE * (stage.seconds + 1)),
    }


def idle_memory(
    make: Callable[[Place, Work, int], AbstractContextManager[None]], count: int
) -> Callable[[Stage], Figures]:
    """What an idle client connection that made a request adds to the memory of a warm proxy."""

    def measure(stage: Stage) -> Figures:
        work = work_of(stage.place.shape)
        run_closed_loop(stage.place, work, WARMUP_S)
        settle(stage.process, 0.5)
        before = stage.process.pss_bytes()
        with make(stage.place, work, count):
            settle(stage.process, 0.5)
            return {"connection_bytes": (stage.process.pss_bytes() - before) / count}

    return measure


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
    return (*_plain_rows(), *_tls_rows(), *_http2_rows(), *_memory_rows())


def _plain_rows() -> tuple[Row, ...]:
    cpu = "cpu_us"
    small, large, huge = (closed_loop(Work(path)) for path in ("/small", "/64k", "/1m"))
    closing = closed_loop(Work(headers=(("Connection", "close"),)))
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
        Row("workers", "Two workers", cpu, (FASTMESH, TWO_WORKERS), small, (_scaling_bar(),)),
        Row("tcp", "TCP, 1 MiB transfers", cpu, TCP_PROXIES, huge, (Bar(cpu, 1.0, (HAPROXY,)),), shape=TCP),
    )  # fmt: skip


def _tls_rows() -> tuple[Row, ...]:
    cpu = "cpu_us"
    small = closed_loop(Work())
    # Few connections: wrk spins while a handshake waits.
    handshakes = closed_loop(Work(headers=(("Connection", "close"),), connections=16))
    return (
        Row("tls", "TLS 1.3 from the client, keep-alive, 64 connections", cpu, WITH_NGHTTPX, small,
            (Bar(cpu, 0.75, (NGINX,)), Bar(cpu, 0.75, (HAPROXY,)), Bar(cpu, 0.30, (ENVOY,))), shape=TLS),
        Row("mutual-tls", "Mutual TLS on both sides, keep-alive, 64 connections", cpu, WITH_NGHTTPX, small,
            (Bar(cpu, 0.75, (NGINX,)), Bar(cpu, 0.75, (HAPROXY,)), Bar(cpu, 0.32, (ENVOY,))), shape=MUTUAL_TLS),
        Row("handshake", "A full TLS handshake for each request", cpu, WITH_NGHTTPX, handshakes,
            (Bar(cpu, 1.15, (NGINX,)),), shape=TLS),
    )  # fmt: skip


def _http2_rows() -> tuple[Row, ...]:
    cpu = "cpu_us"
    small, unary = closed_loop(HTTP2_WORK), closed_loop(GRPC_WORK)
    return (
        Row("http2-http1", "HTTP/2 to HTTP/1.1, 8 connections x 16 streams", cpu, WITH_NGHTTPX, small,
            (Bar(cpu, 1.0, (HAPROXY,)), Bar(cpu, 0.35, (ENVOY,))), shape=HTTP2),
        Row("http2", "HTTP/2 to HTTP/2, 8 connections x 16 streams", cpu, HTTP2_UPSTREAM, small,
            (Bar(cpu, 1.1, (HAPROXY,)), Bar(cpu, 0.40, (ENVOY,))), shape=HTTP2_BOTH),
        Row("grpc", "gRPC, unary calls, 8 connections x 16 streams", cpu, WITH_NGHTTPX, unary,
            (Bar(cpu, 0.45, (ENVOY,)),), shape=GRPC),
    )  # fmt: skip


def _memory_rows() -> tuple[Row, ...]:
    idle, size = "connection_bytes", "pss_mib"
    plain = idle_memory(idle_connections, IDLE_CONNECTIONS)
    tls = idle_memory(idle_tls_connections, IDLE_SESSIONS)
    http2 = idle_memory(idle_http2_connections, IDLE_SESSIONS)
    return (
        Row("idle-connection", "Memory of an idle client connection", idle, EVERYBODY, plain,
            (Bar(idle, 1536.0),), once=True),
        Row("idle-tls", "Memory of an idle TLS client connection", idle, WITH_NGHTTPX, tls,
            (Bar(idle, 24 * 1024.0),), once=True, shape=TLS),
        Row("idle-http2", "Memory of an idle HTTP/2 client connection", idle, WITH_NGHTTPX, http2,
            (Bar(idle, 6 * 1024.0),), once=True, shape=HTTP2),
        Row("pss", "Memory when idle, one worker", size, EVERYBODY, idle_pss, (Bar(size, 40.0),), once=True),
    )  # fmt: skip
