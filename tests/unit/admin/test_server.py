"""The server alone: what it takes, what it refuses, and that nobody can hold it up."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Iterator
from contextlib import closing, suppress

import aiohttp
import pytest

from fastmesh.admin.http import ApiError, Request, Response
from fastmesh.admin.server import BODY_MAX_BYTES
from tests.unit.admin.serving import serving

CHUNKS = 500
BIG_BYTES = 64 * 1024 * 1024


async def echo(request: Request) -> Response:
    match request.path:
        case "/chunks":
            return Response(200, (b"%d\n" % number for number in range(CHUNKS)), "text/plain")
        case "/endless":
            return Response(200, endless(), "text/plain")
        case "/big":
            return Response(200, b"x" * BIG_BYTES, "text/plain")
        case "/broken":
            return Response(200, broken(), "text/plain")
        case "/bug":
            raise RuntimeError("a bug")
        case "/no":
            raise ApiError(404, "no", "try yes", allow="GET")
    return Response(200, f"{request.method} {request.path} {len(request.body)}".encode(), "text/plain", {"x-it": "1"})


def endless() -> Iterator[bytes]:
    while True:
        yield b"x" * 65536


def broken() -> Iterator[bytes]:
    yield b"begun"
    raise RuntimeError("a bug")


def talk(port: int, data: bytes, timeout_s: float = 10) -> bytes:
    """Send, and read until the server closes."""
    with closing(socket.create_connection(("127.0.0.1", port), timeout_s)) as client:
        client.sendall(data)
        received = b""
        while piece := client.recv(65536):
            received += piece
        return received


def test_requests_of_a_real_client() -> None:
    async def main(port: int) -> None:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            for method, path, body in (
                ("GET", "/a%20b?c=d", b""),
                ("PUT", "/x", b"12345"),
                ("POST", "/", b"x" * 60_000),
            ):
                async with session.request(method, path, data=body) as answer:
                    assert answer.status == 200
                    assert answer.headers["x-it"] == "1"
                    decoded = "/a b" if "%" in path else path
                    assert await answer.text() == f"{method} {decoded} {len(body)}"
            async with session.get("/chunks") as answer:
                assert answer.headers["transfer-encoding"] == "chunked"
                assert await answer.text() == "".join(f"{number}\n" for number in range(CHUNKS))
            async with session.get("/no") as answer:
                assert (answer.status, answer.headers["allow"]) == (404, "GET")
                assert await answer.json() == {"error": "no", "hint": "try yes"}

    with serving(echo) as port:
        asyncio.run(main(port))


def test_head_has_no_body() -> None:
    with serving(echo) as port:
        answer = talk(port, b"HEAD /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert answer.endswith(b"\r\n\r\n")
        assert b"content-length: 9\r\n" in answer


def test_connections_are_kept() -> None:
    with serving(echo) as port:
        get = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
        last = b"GET /y HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        answer = talk(port, get + get + last)
        assert answer.count(b"HTTP/1.1 200 ") == 3
        assert answer.endswith(b"GET /y 0")


def test_http_1_0() -> None:
    with serving(echo) as port:
        answer = talk(port, b"GET /chunks HTTP/1.0\r\n\r\n")
        assert b"chunked" not in answer
        assert answer.endswith(b"%d\n" % (CHUNKS - 1))


def test_expect_100_continue() -> None:
    with serving(echo) as port, closing(socket.create_connection(("127.0.0.1", port), 10)) as client:
        client.sendall(b"PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        assert client.recv(1000).startswith(b"HTTP/1.1 100 ")
        client.sendall(b"abc")
        assert b"PUT /x 3" in client.recv(1000)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"rubbish\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nx: " + b"y" * 20_000, 431),
        (
            b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (BODY_MAX_BYTES + 1)
            + b"x" * (BODY_MAX_BYTES + 1),
            413,
        ),
    ],
)
def test_refused(data: bytes, status: int) -> None:
    with serving(echo) as port:
        answer = talk(port, data)
        assert answer.startswith(b"HTTP/1.1 %d " % status)
        assert b'"error"' in answer


def test_a_bug_is_logged_and_the_connection_lives_on(caplog: pytest.LogCaptureFixture) -> None:
    with serving(echo) as port, caplog.at_level(logging.ERROR):
        answer = talk(
            port, b"GET /bug HTTP/1.1\r\nHost: a\r\n\r\nGET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        )
        assert answer.startswith(b"HTTP/1.1 500 ")
        assert b"Traceback" not in answer
        assert answer.endswith(b"GET /x 0")
        assert "admin API: GET /bug failed" in caplog.text


def test_an_answer_that_breaks_off_is_not_taken_for_whole(caplog: pytest.LogCaptureFixture) -> None:
    with serving(echo) as port, caplog.at_level(logging.ERROR):
        try:
            answer = talk(port, b"GET /broken HTTP/1.1\r\nHost: a\r\n\r\n")
        except ConnectionResetError:
            answer = b""
        assert not answer.endswith(b"0\r\n\r\n")
        assert "an answer was broken off" in caplog.text


@pytest.mark.parametrize(
    "data", [b"", b"GET / HTTP/1.1\r\n", b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx"]
)
def test_a_slow_sender_is_let_go(data: bytes) -> None:
    with serving(echo, timeout_s=0.1) as port:
        assert talk(port, data) == b""


def is_served(port: int) -> bool:
    try:
        return bool(talk(port, b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"))
    except (ConnectionResetError, BrokenPipeError):
        return False


def wait_for_a_place(port: int) -> None:
    deadline = time.monotonic() + 10
    while not is_served(port):
        assert time.monotonic() < deadline, "no place has become free"
        time.sleep(0.01)


@pytest.mark.parametrize("path", ["/endless", "/big"])
def test_a_slow_reader_is_let_go(path: str) -> None:
    with (
        serving(echo, timeout_s=0.2, connections_max=1) as port,
        closing(socket.create_connection(("127.0.0.1", port), 10)) as client,
    ):
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        wait_for_a_place(port)
        # What the kernel holds is still to be read, and then there is an end, before that of the answer.
        received = 0
        with suppress(ConnectionResetError):
            while piece := client.recv(1 << 20):
                received += len(piece)
        assert received < BIG_BYTES


def test_connections_are_bounded() -> None:
    with serving(echo, connections_max=2) as port:
        clients = [socket.create_connection(("127.0.0.1", port), 10) for _ in range(2)]
        for client in clients:
            client.sendall(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
            assert client.recv(1000)
        assert not is_served(port)
        clients[0].close()
        wait_for_a_place(port)
        clients[1].close()
