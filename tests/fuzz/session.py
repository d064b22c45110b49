"""Whole HTTP/2 connections against an engine in this process, which takes its turns when it is told to: no threads.

The engine is made once. Every input is one connection of a stranger: a client's, or an endpoint's, that goes away
afterwards; nothing of it may be left alive then.
"""

from __future__ import annotations

import contextlib
import functools
import select
import socket
import struct

from fastmesh import snapshot as s
from fastmesh._core.engine import Engine
from fastmesh._core.shared import SharedMemory
from tests.engine import make_snapshot

TURNS_MAX = 2000
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b\r\n\r\nhello"
REQUEST = b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
RESET = struct.pack("ii", 1, 0)


class Arena:
    """A listener in front of an endpoint of ours, which is a listening socket."""

    def __init__(self, protocol: s.Protocol) -> None:
        self.endpoint = socket.create_server(("127.0.0.1", 0))
        self.endpoint.setblocking(False)
        listening = socket.create_server(("127.0.0.1", 0))
        listening.setblocking(False)
        self.port: int = listening.getsockname()[1]
        self.engine = Engine(SharedMemory.create(1), 0)
        tables = self.engine.begin(
            s.decode(
                s.encode(
                    make_snapshot(
                        [self.endpoint.getsockname()[1]],
                        service={"protocol": protocol},
                        route={"allows_connect": True},
                    )
                )
            )
        )
        while not tables.step():
            pass
        self.engine.install(tables)
        self.engine.add_listener(1, listening.detach())
        self.upstream: list[socket.socket] = []

    def client(self) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", self.port))
        sock.setblocking(False)
        return sock

    def turn(self) -> None:
        self.engine.run()
        with contextlib.suppress(BlockingIOError):
            while True:
                sock, _ = self.endpoint.accept()
                sock.setblocking(False)
                self.upstream.append(sock)

    def live(self, *kinds: str) -> int:
        found = self.engine.live()
        return sum(found[kind] for kind in kinds)

    def end(self, client: socket.socket) -> None:
        """Everybody goes; the engine lets go of them."""
        for sock in (client, *self.upstream):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            sock.close()
        self.upstream.clear()
        for _ in range(TURNS_MAX):
            if not self.live("downstream", "upstream", "exchange", "stream"):
                break
            select.select([self.engine.fileno()], [], [], 0.05)
            self.turn()
            for sock in self.upstream:  # a second try of what was refused
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                sock.close()
            self.upstream.clear()
        left = self.engine.live()
        assert not self.live("downstream", "upstream", "exchange", "stream"), left
        assert left["buffer"] == 1, left  # the scratch buffer


@functools.cache
def arena(protocol: s.Protocol) -> Arena:
    return Arena(protocol)


def receive(sock: socket.socket) -> bytes:
    try:
        return sock.recv(1 << 20)
    except OSError:
        return b""


def send(sock: socket.socket, data: bytes) -> None:
    with contextlib.suppress(OSError):
        sock.send(data)


def outline(answer: bytes) -> str:
    """The kinds of the first frames, with their flags, and the error code of the last."""
    kinds = []
    at = 0
    code = -1
    while at + 9 <= len(answer):
        length, kind = int.from_bytes(answer[at : at + 3]), answer[at + 3]
        kinds.append(f"{kind}.{answer[at + 4]}")
        if kind in (3, 7):
            code = int.from_bytes(answer[at + 9 : at + 9 + length][-4 if kind == 3 else 4 :][:4])
        at += 9 + length
    return f"{' '.join(kinds[2:8])} {code}"


def as_client(data: bytes) -> str:
    """`data` is what a client sends, in two pieces; the endpoint speaks HTTP/1."""
    place = arena(s.Protocol.HTTP1)
    client = place.client()
    cut = sum(data) % (len(data) + 1)
    answer = b""
    for piece in (data[:cut], data[cut:]):
        send(client, piece)
        for _ in range(3):
            place.turn()
            for sock in place.upstream:
                if b"\r\n\r\n" in receive(sock):
                    send(sock, ANSWER)
        answer += receive(client)
    place.end(client)
    return outline(answer)


def as_endpoint(data: bytes) -> str:
    """`data` is what an endpoint sends, in two pieces, to two requests of a client that speaks HTTP/1."""
    place = arena(s.Protocol.HTTP2)
    client = place.client()
    send(client, REQUEST + REQUEST)
    for _ in range(3):
        place.turn()
    cut = sum(data) % (len(data) + 1)
    answer = heard = b""
    for piece in (data[:cut], data[cut:]):
        for sock in place.upstream:
            send(sock, piece)
        for _ in range(2):
            place.turn()
        answer += receive(client)
        for sock in place.upstream:
            heard += receive(sock)
    place.end(client)
    return f"{answer[9:12].decode('latin-1')} {answer.count(b'HTTP/1.1')} {outline(heard[24:])}"
