"""Clients and servers that people use, on both sides of a mesh."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import json
import os
import socket
import subprocess
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import h11
import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as serve_websockets
from websockets.exceptions import ConnectionClosedError

from tests.aiohttp_server import AiohttpServer
from tests.mesh import Mesh

DEADLINE_S = 30
LARGE = 5_000_000


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """A mesh in front of an aiohttp server; it takes every test of this file."""
    server = AiohttpServer()
    mesh = Mesh(tmp_path_factory.mktemp("clients") / "config")
    mesh.serve(f"127.0.0.1:{server.port}")
    try:
        yield mesh.start()
    finally:
        mesh.close()
        server.stop()


def curl(*arguments: str, stdin: bytes = b"") -> bytes:
    """What curl wrote to standard output; it must have succeeded."""
    command = ["curl", "--silent", "--show-error", "--fail", "--max-time", str(DEADLINE_S), *arguments]
    # A sanitizer's runtime is preloaded for fastmesh, not for curl, which hangs under it.
    env = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    done = subprocess.run(command, input=stdin, capture_output=True, timeout=2 * DEADLINE_S, env=env)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def test_curl_http_1_1(served: Mesh) -> None:
    assert curl("--http1.1", f"http://{served.address}/name/curl") == b"curl"
    assert curl("--head", f"http://{served.address}/name/curl").startswith(b"HTTP/1.1 200")


def test_curl_http_1_0(served: Mesh) -> None:
    assert curl("--http1.0", f"http://{served.address}/name/old") == b"old"
    counted = curl("--http1.0", "--include", f"http://{served.address}/count/1000")
    head, _, body = counted.partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head.lower()
    assert body == b"".join(b"%d\n" % i for i in range(1000))


def test_curl_upload_that_waits_for_100_continue(served: Mesh, tmp_path: Path) -> None:
    body = os.urandom(LARGE)
    file = tmp_path / "upload"
    file.write_bytes(body)
    # With --expect100-timeout beyond the deadline, curl sends the body only if a 100 arrives.
    answer = json.loads(
        curl(
            "--header", "Expect: 100-continue", "--expect100-timeout", "100",
            "--upload-file", str(file), f"http://{served.address}/digest",
        )
    )  # fmt: skip
    assert answer == {"sha256": hashlib.sha256(body).hexdigest(), "length": LARGE}


def test_curl_keeps_one_connection_for_several_requests(served: Mesh) -> None:
    urls = [f"http://{served.address}/name/{i}" for i in range(20)]
    # %{num_connects} of each transfer: 1 for the first, 0 for those that found a connection.
    written = curl("--http1.1", "--write-out", " %{num_connects}\n", *urls).decode().splitlines()
    assert written == [f"{i} {int(i == 0)}" for i in range(20)]


def test_curl_chunked_upload_from_standard_input(served: Mesh) -> None:
    body = os.urandom(LARGE)
    echoed = curl(
        "--request", "POST", "--header", "Transfer-Encoding: chunked", "--data-binary", "@-",
        f"http://{served.address}/echo", stdin=body,
    )  # fmt: skip
    assert echoed == body
    answer = json.loads(curl("--upload-file", "-", f"http://{served.address}/digest", stdin=body))
    assert answer["sha256"] == hashlib.sha256(body).hexdigest()


def test_curl_compressed_ranges_and_forms_pass(served: Mesh) -> None:
    assert b"form-data" in curl("--form", "a=b", f"http://{served.address}/echo")
    assert curl("--request-target", "/name/x?y=%20z", f"http://{served.address}/") == b"x"


def test_http_client(served: Mesh) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=DEADLINE_S)
    for i in range(50):
        connection.request("GET", f"/name/{i}")
        assert connection.getresponse().read() == b"%d" % i
    sock = connection.sock
    pieces = [os.urandom(10_000) for _ in range(100)]
    connection.request("POST", "/echo", iter(pieces), encode_chunked=True, headers={"Transfer-Encoding": "chunked"})
    response = connection.getresponse()
    assert response.getheader("transfer-encoding") == "chunked"
    assert response.read() == b"".join(pieces)
    connection.request("HEAD", "/name/x")
    assert connection.getresponse().read() == b""
    assert connection.sock is sock, "one connection served them all"
    connection.close()


def test_h11_pipelines(served: Mesh) -> None:
    """Requests of every framing at once; the answers, in order, read by a strict parser."""
    host = [("Host", served.address)]
    requests: list[tuple[h11.Request, bytes]] = []
    for i in range(30):
        body = os.urandom(1000 * i)
        framing = [("Transfer-Encoding", "chunked")] if i % 2 else [("Content-Length", str(len(body)))]
        requests.append((h11.Request(method="POST", target="/echo", headers=host + framing), body))
    sock = socket.create_connection(("127.0.0.1", served.port), timeout=DEADLINE_S)

    def send() -> None:
        for request, body in requests:
            writer = h11.Connection(h11.CLIENT)
            sock.sendall((writer.send(request) or b"") + (writer.send(h11.Data(data=body)) or b""))
            sock.sendall(writer.send(h11.EndOfMessage()) or b"")

    sender = threading.Thread(target=send)
    sender.start()
    trailing = b""
    for request, body in requests:
        reader = h11.Connection(h11.CLIENT)
        reader.send(request)
        reader.send(h11.Data(data=body))
        reader.send(h11.EndOfMessage())
        if trailing:
            reader.receive_data(trailing)
        got = bytearray()
        while not isinstance(event := reader.next_event(), h11.EndOfMessage):
            if isinstance(event, h11.Response):
                assert event.status_code == 200
            elif isinstance(event, h11.Data):
                got += event.data
            else:
                assert event is h11.NEED_DATA
                reader.receive_data(sock.recv(65_536))
        assert got == body
        trailing = reader.trailing_data[0]
    assert trailing == b""
    sender.join()
    sock.close()


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 2 * DEADLINE_S))


def test_aiohttp_streams_both_ways_at_once(served: Mesh) -> None:
    """A piece is sent only when the piece before it has come back: nothing on the way may hold one."""

    async def talk() -> None:
        came_back: asyncio.Queue[None] = asyncio.Queue()

        async def pieces() -> AsyncIterator[bytes]:
            for i in range(50):
                yield b"%06d" % i
                await came_back.get()

        async with (
            aiohttp.ClientSession() as session,
            session.post(f"http://{served.address}/echo", data=pieces()) as answer,
        ):
            for i in range(50):
                assert await answer.content.readexactly(6) == b"%06d" % i
                came_back.put_nowait(None)
            assert await answer.content.read() == b""

    run(talk())


def test_aiohttp_many_at_once(served: Mesh) -> None:
    async def talk() -> None:
        connector = aiohttp.TCPConnector(limit=200)
        async with aiohttp.ClientSession(f"http://{served.address}", connector=connector) as session:

            async def small(i: int) -> None:
                async with session.get(f"/name/{i}") as answer:
                    assert await answer.text() == str(i)

            async def large(i: int) -> None:
                body = bytes([i]) * 200_000
                async with session.post("/echo", data=body) as answer:
                    assert await answer.read() == body

            await asyncio.gather(*(small(i) for i in range(1000)), *(large(i) for i in range(50)))

    run(talk())


async def _websocket_echo(connection: ServerConnection) -> None:
    async for message in connection:
        if message == "close":
            await connection.close(4001, "as asked")
        elif message == "abort":
            connection.transport.abort()
        else:
            await connection.send(message)


@asynccontextmanager
async def websockets_through(mesh: Mesh) -> AsyncIterator[str]:
    """The address of a mesh in front of a WebSocket echo server on this loop."""
    async with serve_websockets(_websocket_echo, "127.0.0.1", 0, max_size=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        mesh.serve(f"127.0.0.1:{port}")
        await asyncio.to_thread(mesh.start, 2)
        yield f"ws://{mesh.address}/"


def through_websockets(mesh: Mesh, talk: Callable[[str], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with websockets_through(mesh) as address:
            await talk(address)

    run(whole())


def test_websockets(mesh: Mesh) -> None:
    """Echo, large messages, pings, many at once, the close handshake from either side, and an end without one."""

    async def talk(address: str) -> None:
        async with connect(address, max_size=None) as client:
            for message in ("hello", b"\x00\xff", "ä" * 1000, ""):
                await client.send(message)
                assert await client.recv() == message
            large = os.urandom(LARGE)
            await client.send(large)
            assert await client.recv() == large
            await (await client.ping(b"alive?"))
        assert client.close_code == 1000

        async def one(i: int) -> None:
            async with connect(address) as each:
                for step in range(10):
                    await each.send(f"{i} {step}")
                    assert await each.recv() == f"{i} {step}"

        await asyncio.gather(*(one(i) for i in range(50)))

        async with connect(address) as client:
            await client.send("close")
            await client.wait_closed()
            assert (client.close_code, client.close_reason) == (4001, "as asked")
        async with connect(address) as client:
            await client.send("abort")
            with pytest.raises(ConnectionClosedError):
                await client.recv()

    through_websockets(mesh, talk)
