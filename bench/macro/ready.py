"""Waiting until a proxy does what its shape says: a whole, right answer from the suite's own upstream."""

import http.client
import time
from collections.abc import Callable
from pathlib import Path

from bench.macro import certificates
from bench.macro.http2_client import Http2Client, Http2Error
from bench.macro.processes import Process, ProcessError
from bench.macro.shapes import Place
from bench.macro.work import GRPC_RESPONSE, HTTP1_WORK, SMALL, Work, work_of

READY_TIMEOUT_S = 20.0


def wait_until(process: Process, problem: Callable[[], str]) -> None:
    """Wait until there is no problem left. Raises ProcessError."""
    deadline = time.monotonic() + READY_TIMEOUT_S
    last = "no answer"
    while time.monotonic() < deadline:
        process.pids()
        try:
            last = problem()
        except (OSError, http.client.HTTPException, Http2Error) as error:
            last = str(error) or type(error).__name__
        if not last:
            return
        time.sleep(0.05)
    raise ProcessError(f"{process.name} is not ready after {READY_TIMEOUT_S:.0f} s: {last}; {process.last_line()}")


def wait_ready(process: Process, place: Place) -> None:
    """Wait for the proxy of a place; one with client certificates must refuse a client without. Raises ProcessError."""
    shape, work = place.shape, work_of(place.shape)
    if shape.downstream == "http2":
        wait_until(process, lambda: http2_problem(place.port, work))
        return
    folder = place.certificates if shape.tls else None
    wait_until(process, lambda: http1_problem(place.port, folder))
    if shape.mutual and not _refused(place):
        raise ProcessError(f"{process.name} serves clients without a certificate")


def http1_problem(port: int, folder: Path | None, *, known: bool = True) -> str:
    """What is wrong with the answer to one request over HTTP/1.1; over TLS with a folder of certificates."""
    connection: http.client.HTTPConnection
    if folder is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    else:
        settings = certificates.client_settings(folder, known=known)
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=5, context=settings)
    try:
        connection.request("GET", HTTP1_WORK.path, headers={"Host": HTTP1_WORK.host})
        response = connection.getresponse()
        body, mark = response.read(), response.getheader("x-bench-upstream", "")
    finally:
        connection.close()
    if (response.status, body, mark) == (200, SMALL, "1"):
        return ""
    return f"status {response.status}, {len(body)} bytes, upstream mark {mark!r}"


def http2_problem(port: int, work: Work) -> str:
    """What is wrong with the answer to one request over HTTP/2."""
    client = Http2Client(port)
    try:
        client.request(work.path, work.host, list(work.headers), work.body)
    finally:
        client.close()
    right = (SMALL, "") if not work.body else (GRPC_RESPONSE, "0")
    if client.status == 200 and (client.body, client.trailers.get("grpc-status", "")) == right:
        return ""
    return f"status {client.status}, {len(client.body)} bytes, trailers {client.trailers}"


def _refused(place: Place) -> bool:
    try:
        return bool(http1_problem(place.port, place.certificates, known=False))
    except (OSError, http.client.HTTPException):
        return True
