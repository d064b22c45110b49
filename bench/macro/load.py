"""Load on a proxy: closed loop by wrk and h2load, open loop by fastmesh's own generator, and idle connections."""

import http.client
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.macro import certificates
from bench.macro.http2_client import Http2Client, Http2Error
from bench.macro.ports import connect
from bench.macro.proxies import binary
from bench.macro.shapes import SERVER_NAME, Place
from bench.macro.work import Work
from fastmesh._core.load_generator import LoadGenerator

WRK_TLS_SOURCE = Path(__file__).with_name("wrk_tls.c")
WRK_TLS_MARK = "wrk_tls: TLS 1.3"  # what that library says when it is at work
_UNIT_US = {"us": 1.0, "ms": 1e3, "s": 1e6, "m": 60e6}


class LoadError(Exception):
    """Some of the load failed: then the figures say nothing about the proxy."""


@dataclass(frozen=True)
class LoadResult:
    """What wrk or h2load reports of a closed loop."""

    requests: int
    seconds: float
    latency: dict[str, float]  # by figure of the row


def run_closed_loop(place: Place, work: Work, seconds: int) -> LoadResult:
    """As many requests as the proxy takes. Raises LoadError if any failed."""
    if place.shape.downstream == "http2":
        return _run_h2load(place, work, seconds)
    return _run_wrk(place, work, seconds)


def _run_wrk(place: Place, work: Work, seconds: int) -> LoadResult:
    command = [binary("wrk"), "-t1", f"-c{work.connections}", f"-d{seconds}s", "--latency", "-H", f"Host: {work.host}"]
    for name, value in work.headers:
        command += ["-H", f"{name}: {value}"]
    if work.script is not None:
        command += ["-s", str(work.script)]
    environment = dict(os.environ)
    scheme = "http"
    if place.shape.tls:
        scheme = "https"
        environment["LD_PRELOAD"] = str(_wrk_tls(place.certificates))
        if place.shape.mutual:
            environment["WRK_CERTIFICATE"] = str(place.certificates / "client.crt")
            environment["WRK_KEY"] = str(place.certificates / "client.key")
    command.append(f"{scheme}://127.0.0.1:{place.port}{work.path}")
    text = _output(command, seconds, environment)
    result = parse_wrk(text)
    if place.shape.tls and WRK_TLS_MARK not in text:
        raise LoadError("wrk does not use the OpenSSL of this system as a shared library")
    return result


def _wrk_tls(folder: Path) -> Path:
    """The library that gives wrk what it lacks of TLS, compiled once."""
    path = folder / "wrk_tls.so"
    if not path.exists():
        command = [binary("wrk_tls"), "-O2", "-shared", "-fPIC", "-o", str(path), str(WRK_TLS_SOURCE), "-ldl"]
        subprocess.run(command, check=True, timeout=60)
    return path


def _run_h2load(place: Place, work: Work, seconds: int) -> LoadResult:
    command = [binary("h2load"), "-t1", f"-c{work.connections}", f"-m{work.streams}", f"-D{seconds}"]
    command += ["--no-tls-proto=h2c", f"--header=:authority: {work.host}"]
    command += [f"--header={name}: {value}" for name, value in work.headers]
    with tempfile.NamedTemporaryFile() as body:
        if work.body:
            body.write(work.body)
            body.flush()
            command.append(f"--data={body.name}")
        command.append(f"http://127.0.0.1:{place.port}{work.path}")
        return parse_h2load(_output(command, seconds, dict(os.environ)))


def _output(command: list[str], seconds: int, environment: dict[str, str]) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=seconds + 20, check=False, env=environment, errors="replace"
    )
    return done.stdout + done.stderr


def parse_wrk(text: str) -> LoadResult:
    """Read wrk's report. Raises LoadError if it tells of failures, or is none."""
    for line in text.splitlines():
        if "Non-2xx" in line or "Socket errors" in line:
            raise LoadError(line.strip())
    total = re.search(r"(\d+) requests in ([\d.]+)(us|ms|s|m)", text)
    if total is None or int(total[1]) == 0:
        raise LoadError(f"wrk completed no request: {text.strip()[-200:]}")
    quantiles = {share: float(value) * _UNIT_US[unit] for share, value, unit in _quantiles(text)}
    seconds = float(total[2]) * _UNIT_US[total[3]] / 1e6
    return LoadResult(int(total[1]), seconds, {"p50_us": quantiles["50"], "p99_us": quantiles["99"]})


def _quantiles(text: str) -> list[tuple[str, str, str]]:
    return re.findall(r"^\s+(50|99)%\s+([\d.]+)(us|ms|s|m)\s*$", text, re.MULTILINE)


def parse_h2load(text: str) -> LoadResult:
    """Read h2load's report. Raises LoadError if it tells of failures, or is none.

    What was under way at the end is counted as started, and neither as done nor as failed.
    """
    finished = re.search(r"^finished in ([\d.]+)(us|ms|s|m),", text, re.MULTILINE)
    requests = re.search(r"^requests: .*$", text, re.MULTILINE)
    latency = re.search(r"^time for request: +\S+ +([\d.]+)(us|ms|s|m) +([\d.]+)(us|ms|s|m) ", text, re.MULTILINE)
    if finished is None or requests is None or latency is None:
        raise LoadError(f"h2load reports nothing: {text.strip()[-200:]}")
    counts = {word: int(count) for count, word in re.findall(r"(\d+) (\w+)", requests[0])}
    codes = re.search(r"^status codes: (\d+) 2xx, .*$", text, re.MULTILINE)
    if counts["failed"] or counts["errored"] or counts["timeout"]:
        raise LoadError(f"{requests[0]}; {codes[0] if codes else ''}")
    if counts["done"] == 0:
        raise LoadError("h2load completed no request")
    if codes is None or int(codes[1]) != counts["done"]:
        raise LoadError(codes[0] if codes else "h2load reports no status codes")
    most, mean = float(latency[1]) * _UNIT_US[latency[2]], float(latency[3]) * _UNIT_US[latency[4]]
    seconds = float(finished[1]) * _UNIT_US[finished[2]] / 1e6
    return LoadResult(counts["done"], seconds, {"mean_us": mean, "max_us": most})


def _request(work: Work) -> bytes:
    lines = [f"GET {work.path} HTTP/1.1", f"Host: {work.host}", *(f"{name}: {value}" for name, value in work.headers)]
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
        "127.0.0.1", port, _request(work), connections=work.connections, rate=rate, duration_s=seconds, warmup_s=1.0
    )
    try:
        _finish(generator)
    finally:
        generator.close()
    return generator


@contextmanager
def idle_connections(place: Place, work: Work, count: int) -> Iterator[None]:
    """Connections that made one request each, and now wait. Raises LoadError."""
    seconds = 2.0
    generator = LoadGenerator(
        "127.0.0.1", place.port, _request(work), connections=count, rate=count / seconds, duration_s=seconds
    )
    try:
        _finish(generator)
        if generator.connected != count:
            raise LoadError(f"{count - generator.connected} of {count} connections were closed")
        yield
    finally:
        generator.close()


@contextmanager
def idle_tls_connections(place: Place, work: Work, count: int) -> Iterator[None]:
    """The same over TLS, with a session of its own for each."""
    settings = certificates.client_settings(place.certificates, known=place.shape.mutual)
    with ExitStack() as stack:
        for _ in range(count):
            connection = stack.enter_context(settings.wrap_socket(connect(place.port), server_hostname=SERVER_NAME))
            connection.sendall(_request(work))
            response = http.client.HTTPResponse(connection)
            response.begin()
            response.read()
            if response.status != 200:
                raise LoadError(f"status {response.status}")
        yield


@contextmanager
def idle_http2_connections(place: Place, work: Work, count: int) -> Iterator[None]:
    """The same over HTTP/2."""
    with ExitStack() as stack:
        for _ in range(count):
            client = Http2Client(place.port)
            stack.callback(client.close)
            try:
                client.request(work.path, work.host, list(work.headers), work.body)
            except Http2Error as error:
                raise LoadError(str(error)) from error
            if client.status != 200:
                raise LoadError(f"status {client.status}")
        yield
