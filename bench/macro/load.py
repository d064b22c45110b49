"""Load on a proxy: closed loop by wrk, open loop and idle connections by fastmesh's own generator."""

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.macro.proxies import binary
from fastmesh._core.load_generator import LoadGenerator

CONNECTIONS = 64
_UNIT_US = {"us": 1.0, "ms": 1e3, "s": 1e6, "m": 60e6}


class LoadError(Exception):
    """Some of the load failed: then the figures say nothing about the proxy."""


@dataclass(frozen=True)
class Work:
    """What is asked of a proxy."""

    path: str = "/small"
    host: str = "bench.example"
    headers: tuple[str, ...] = field(default=())
    script: Path | None = None  # for wrk


@dataclass(frozen=True)
class WrkResult:
    """What wrk reports; latencies of a closed loop, in microseconds."""

    requests: int
    seconds: float
    p50_us: float
    p99_us: float


def run_wrk(port: int, work: Work, seconds: int) -> WrkResult:
    """Raises LoadError if any request failed."""
    command = [binary("wrk"), "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", "-H", f"Host: {work.host}"]
    for header in work.headers:
        command += ["-H", header]
    if work.script is not None:
        command += ["-s", str(work.script)]
    command.append(f"http://127.0.0.1:{port}{work.path}")
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 20, check=False)
    return parse_wrk(done.stdout + done.stderr)


def parse_wrk(text: str) -> WrkResult:
    """Read wrk's report. Raises LoadError if it tells of failures, or is none."""
    total = re.search(r"(\d+) requests in ([\d.]+)(us|ms|s|m)", text)
    if total is None or int(total[1]) == 0:
        raise LoadError(f"wrk completed no request: {text.strip()[-200:]}")
    for line in text.splitlines():
        if "Non-2xx" in line or "Socket errors" in line:
            raise LoadError(line.strip())
    quantiles = {share: float(value) * _UNIT_US[unit] for share, value, unit in _quantiles(text)}
    seconds = float(total[2]) * _UNIT_US[total[3]] / 1e6
    return WrkResult(int(total[1]), seconds, quantiles["50"], quantiles["99"])


def _quantiles(text: str) -> list[tuple[str, str, str]]:
    return re.findall(r"^\s+(50|99)%\s+([\d.]+)(us|ms|s|m)\s*$", text, re.MULTILINE)


def _request(work: Work) -> bytes:
    lines = [f"GET {work.path} HTTP/1.1", f"Host: {work.host}", *work.headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def _finish(generator: LoadGenerator) -> None:
    while not generator.run(1.0):
        pass
    failed = {**generator.errors, **generator.statuses}
    failed.pop("2xx")
    if any(failed.values()):
        raise LoadError(", ".join(f"{kind}: {count}" for kind, count in failed.items() if count))


def run_open_loop(port: int, work: Work, seconds: float, rate: float) -> LoadGenerator:
    """A finished run at a fixed rate, after a second of warm-up. Raises LoadError.

    Requests that found no free connection are no failure: their wait is in the latency.
    """
    generator = LoadGenerator(
        "127.0.0.1", port, _request(work), connections=CONNECTIONS, rate=rate, duration_s=seconds, warmup_s=1.0
    )
    try:
        _finish(generator)
    finally:
        generator.close()
    return generator


@contextmanager
def idle_connections(port: int, work: Work, count: int) -> Iterator[None]:
    """Connections that made one request each, and now wait. Raises LoadError."""
    seconds = 2.0
    generator = LoadGenerator(
        "127.0.0.1", port, _request(work), connections=count, rate=count / seconds, duration_s=seconds
    )
    try:
        _finish(generator)
        if generator.connected != count:
            raise LoadError(f"{count - generator.connected} of {count} connections were closed")
        yield
    finally:
        generator.close()
