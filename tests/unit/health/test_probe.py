"""One check against real sockets: what passes, what fails, and the words for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from fastmesh.health.failure import CheckFailed
from fastmesh.health.model import Check, CheckKind
from fastmesh.health.probe import probe
from fastmesh.snapshot import Endpoint

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def run(handler: Handler, check: Check) -> None:
    async def main() -> None:
        async with await asyncio.start_server(handler, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            await probe(Endpoint(1, "127.0.0.1", port), check)

    asyncio.run(main())


def answering(data: bytes, requests: list[bytes] | None = None) -> Handler:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        if requests is not None:
            requests.append(request)
        writer.write(data)
        writer.close()

    return handler


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    try:
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()
    except OSError:
        writer.close()


@pytest.mark.parametrize("status", [200, 204, 302, 399])
def test_success(status: int) -> None:
    run(answering(b"HTTP/1.1 %d Fine\r\nContent-Length: 0\r\n\r\n" % status), Check())


@pytest.mark.parametrize("status", [199 + 201, 404, 500, 503])
def test_statuses_outside_the_range_fail(status: int) -> None:
    with pytest.raises(CheckFailed, match=f"^status {status}$"):
        run(answering(b"HTTP/1.1 %d Bad\r\nContent-Length: 0\r\n\r\n" % status), Check())


def test_the_range_is_the_checks() -> None:
    check = Check(status_first=503, status_last=503)
    run(answering(b"HTTP/1.1 503 Asked For\r\nContent-Length: 0\r\n\r\n"), check)
    with pytest.raises(CheckFailed, match="status 200"):
        run(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), check)


def test_informational_answers_are_passed_over() -> None:
    run(answering(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), Check())


def test_the_request() -> None:
    requests: list[bytes] = []
    run(answering(b"HTTP/1.1 200 OK\r\n\r\n", requests), Check(path="/alive?deep=1", host="shop.example"))
    lines = requests[0].split(b"\r\n")
    assert lines[0] == b"GET /alive?deep=1 HTTP/1.1"
    assert {b"host: shop.example", b"connection: close"} <= {line.lower() for line in lines}


def test_the_host_is_the_endpoint_if_none_is_given() -> None:
    requests: list[bytes] = []
    run(answering(b"HTTP/1.1 200 OK\r\n\r\n", requests), Check())
    assert b"\r\nhost: 127.0.0.1:" in requests[0].lower()


def test_a_body_without_end_is_cut_off() -> None:
    run(endless, Check(timeout_ms=5000))


def test_no_answer() -> None:
    with pytest.raises(CheckFailed, match="^answer: no answer in 50 ms$"):
        run(silent, Check(timeout_ms=50))


@pytest.mark.parametrize(
    "data", [b"SSH-2.0-OpenSSH_9.2\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort", b""]
)
def test_what_is_not_http(data: bytes) -> None:
    with pytest.raises(CheckFailed, match="^answer: not HTTP/1.1"):
        run(answering(data), Check())


def test_a_head_without_end_is_refused() -> None:
    with pytest.raises(CheckFailed, match="not HTTP/1.1"):
        run(answering(b"HTTP/1.1 200 OK\r\n" + b"x: " + b"y" * 100_000), Check())


def test_tcp_needs_no_answer() -> None:
    run(silent, Check(kind=CheckKind.TCP, timeout_ms=1000))


@pytest.mark.parametrize("kind", list(CheckKind))
def test_refused(kind: CheckKind) -> None:
    async def main() -> None:
        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        server.close()
        await server.wait_closed()
        await probe(Endpoint(1, "127.0.0.1", port), Check(kind=kind))

    with pytest.raises(CheckFailed, match="^connect: Connection refused$"):
        asyncio.run(main())
