"""What the chaos test is made of: a TCP relay that breaks connections at random, and endpoints that misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import threading
import time
from collections.abc import Callable

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings

from fastmesh._core import websocket
from tests.engine import Client, reply
from tests.http2_peers import Http2Endpoint, Request

STALL_S = 0.5  # longer than the timeouts of the mesh
RESET = struct.pack("ii", 1, 0)
SIZES = (0, 1, 100, 5000, 70_000, 200 * 1024)
FAULTS = ("none", "none", "none", "split", "delay", "reset", "truncate", "half", "stall")


class Relay:
    """Passes bytes on to a port, each connection with a fault of its own."""

    def __init__(self, port: int, seed: str) -> None:
        self._target = port
        self._chance = random.Random(seed)
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self._listening.setblocking(False)
        self.port: int = self._listening.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Everything that is still open is reset."""
        self._loop.call_soon_threadsafe(self._main.cancel)
        self._thread.join(10)
        self._listening.close()

    def _run(self) -> None:
        self._main = self._loop.create_task(self._accept())
        with contextlib.suppress(asyncio.CancelledError):
            self._loop.run_until_complete(self._main)
        while tasks := asyncio.all_tasks(self._loop):
            for task in tasks:
                task.cancel()
            self._loop.run_until_complete(asyncio.wait(tasks))
        self._loop.close()

    async def _accept(self) -> None:
        connections = set()
        while True:
            near, _ = await self._loop.sock_accept(self._listening)
            near.setblocking(False)
            task = self._loop.create_task(self._relay(near, random.Random(self._chance.random())))
            connections.add(task)
            task.add_done_callback(connections.discard)

    async def _relay(self, near: socket.socket, chance: random.Random) -> None:
        far = socket.socket()
        far.setblocking(False)
        for one in (near, far):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Faults of both directions are counted in bytes: soon, in the midst of a body, or never.
        left = [chance.choice((0, 1, 50, 300, 3000, 100_000)) + chance.randrange(1 + 2000) for _ in range(2)]
        kinds = [chance.choice(FAULTS) for _ in range(2)]
        try:
            await self._loop.sock_connect(far, ("127.0.0.1", self._target))
            await asyncio.gather(
                self._pump(near, far, kinds[0], left[0], chance), self._pump(far, near, kinds[1], left[1], chance)
            )
        except (OSError, _Broken):
            with contextlib.suppress(OSError):
                near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        except _Ended:
            pass
        finally:
            near.close()
            far.close()

    async def _pump(
        self, source: socket.socket, sink: socket.socket, kind: str, left: int, chance: random.Random
    ) -> None:
        while data := await self._loop.sock_recv(source, 16384):
            if kind == "delay":
                await asyncio.sleep(chance.random() * 0.01)
            elif kind == "split" and left > 0:
                await self._send_pieces(sink, data[:left], chance)
                data = data[left:]
            elif kind not in ("none", "split") and len(data) > left:
                await self._loop.sock_sendall(sink, data[:left])
                await self._break(kind)
                if kind == "half":
                    break
                data, kind = data[left:], "none"
            left = max(0, left - len(data))
            await self._loop.sock_sendall(sink, data)
        sink.shutdown(socket.SHUT_WR)

    async def _send_pieces(self, sink: socket.socket, data: bytes, chance: random.Random) -> None:
        at = 0
        for _ in range(40):
            size = chance.choice((1, 1, 2, 9, 20))
            await self._loop.sock_sendall(sink, data[at : at + size])
            await asyncio.sleep(0)
            at += size
        await self._loop.sock_sendall(sink, data[at:])

    async def _break(self, kind: str) -> None:
        if kind == "reset":
            raise _Broken
        if kind == "truncate":
            raise _Ended
        if kind == "stall":
            await asyncio.sleep(STALL_S)


class _Broken(Exception):
    pass


class _Ended(Exception):
    pass


# ---- endpoints


def _tunnel1(client: Client, chance: random.Random, head: bytes) -> None:
    if head.startswith(b"CONNECT"):
        client.send(b"HTTP/1.1 200 OK\r\n\r\n")
    else:
        key = next((line[18:] for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key:")), b"")
        client.send(
            b"HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: %s\r\n\r\n"
            % websocket.accept(key.strip())
        )
    for _ in range(chance.randrange(1, 20)):
        data = client.receive()
        if not data:
            return
        client.send(data)
    if chance.random() < 0.3:
        client.reset()
    elif chance.random() < 0.5:
        client.sock.shutdown(socket.SHUT_WR)
        client.to_end()


def http1_endpoint(seed: str) -> Callable[[Client, int], None]:
    """A script: it answers somehow, from each connection's own chance."""

    def script(client: Client, number: int) -> None:
        chance = random.Random(f"{seed} {number}")
        while True:
            head = client.until(b"\r\n\r\n")
            lower = head.lower()
            if head.startswith(b"CONNECT") or b"upgrade: websocket" in lower:
                _tunnel1(client, chance, head)
                return
            answers_early = chance.random() < 0.05
            body = b""
            if not answers_early and b"transfer-encoding: chunked" in lower:
                body = client._chunked()
            elif not answers_early and b"content-length: " in lower:
                body = client.exactly(int(lower.split(b"content-length: ")[1].split(b"\r\n")[0]))
            if not _answer1(client, chance, body, head.startswith(b"HEAD")):
                return

    return script


def _answer1(client: Client, chance: random.Random, body: bytes, is_head: bool) -> bool:
    body = body or b"x" * chance.choice(SIZES)
    kind = chance.randrange(14)
    if is_head:
        client.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
    elif kind == 0:
        client.send(reply(body)[: len(body) // 2])
        client.reset()
        return False
    elif kind == 1:
        client.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (len(body) + 1) + body)
        return False
    elif kind == 2:
        time.sleep(STALL_S)
    elif kind < 6:
        client.send(
            b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        for at in range(0, len(body), 30_000):
            piece = body[at : at + 30_000]
            client.send(b"%x\r\n%s\r\n" % (len(piece), piece))
        client.send(b"0\r\nX-End: 1\r\n\r\n")
    elif kind == 6:
        client.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + body)
        return False
    else:
        client.send(reply(body, status=chance.choice((b"200 OK", b"200 OK", b"503 Busy", b"404 No"))))
    return True


class ChaosEndpoint(Http2Endpoint):
    """Over HTTP/2."""

    def __init__(self, client: Client, number: int, chance: random.Random) -> None:
        super().__init__(client, number)
        codes = h2.settings.SettingCodes
        values = {
            codes.ENABLE_CONNECT_PROTOCOL: 1,
            codes.MAX_CONCURRENT_STREAMS: chance.choice((1, 10, 100)),
            codes.INITIAL_WINDOW_SIZE: chance.choice((100, 65535, 1 << 20)),
        }
        self.h2.local_settings = h2.settings.Settings(client=False, initial_values=values)
        self.chance = chance
        self.tunnels: set[int] = set()
        self.on_request = self.answer
        self.on_event = self.look

    def look(self, _: Http2Endpoint, event: h2.events.Event) -> bool:
        stream_id = getattr(event, "stream_id", 0)
        if isinstance(event, h2.events.RequestReceived):
            headers = dict(event.headers)
            if headers.get(":protocol") or headers[":method"] == "CONNECT":
                self.tunnels.add(stream_id)
                self.h2.send_headers(stream_id, [(":status", "200")])
                return True
            if self.chance.random() < 0.05:
                self.reset(stream_id)
                return True
        elif isinstance(event, h2.events.StreamReset):
            self.tunnels.discard(stream_id)
            self.requests.pop(stream_id or 0, None)
        elif isinstance(event, h2.events.DataReceived) and stream_id not in self.requests:
            if event.flow_controlled_length:
                self.h2.acknowledge_received_data(event.flow_controlled_length, stream_id)
            if stream_id in self.tunnels:
                self.echo(stream_id, event.data)
            return True
        elif isinstance(event, h2.events.StreamEnded) and stream_id not in self.requests:
            if stream_id in self.tunnels:
                with contextlib.suppress(h2.exceptions.ProtocolError):
                    self.h2.end_stream(stream_id)
            return True
        elif isinstance(event, h2.events.TrailersReceived):
            return stream_id not in self.requests
        return False

    def echo(self, stream_id: int, data: bytes) -> None:
        room = min(self.h2.local_flow_control_window(stream_id), self.h2.max_outbound_frame_size)
        if data[:room]:
            self.h2.send_data(stream_id, data[:room])
        if self.chance.random() < 0.1:
            self.tunnels.discard(stream_id)
            self.h2.end_stream(stream_id)
            if self.chance.random() < 0.5:
                self.reset(stream_id)

    def reset(self, stream_id: int) -> None:
        self.tunnels.discard(stream_id)
        with contextlib.suppress(h2.exceptions.ProtocolError):
            self.h2.reset_stream(stream_id, self.chance.choice((0, 1, 2, 7, 8)))

    def answer(self, _: Http2Endpoint, request: Request) -> None:
        stream_id, chance = request.stream_id, self.chance
        body = request.body or b"x" * chance.choice(SIZES)
        if request.header(":method") == "HEAD":
            self.h2.send_headers(stream_id, [(":status", "200")])
            self.flush()
            self.h2.end_stream(stream_id)
            return
        kind = chance.randrange(20)
        if kind == 0:
            self.reset(stream_id)
        elif kind == 1:
            self.h2.send_headers(stream_id, [(":status", "200")])
            self.h2.send_data(stream_id, b"part")
            self.reset(stream_id)
        elif kind == 2:
            self.h2.close_connection(last_stream_id=max(0, stream_id - 2 * chance.randrange(3)))
            self.flush()
            raise EOFError
        elif kind == 3:
            return  # no answer at all
        elif kind == 4:
            self.h2.send_headers(stream_id, [(":status", "103"), ("link", "<a>")])
            self.reply(stream_id, body)
        elif kind == 5:
            self.reply(stream_id, body, ("content-length", str(len(body) + 1)))
        else:
            trailers = [("x-end", "1")] if kind < 10 else None
            self.reply(stream_id, body, status=chance.choice((200, 200, 503, 404)), trailers=trailers)


def http2_endpoint(seed: str) -> Callable[[Client, int], None]:
    def script(client: Client, number: int) -> None:
        with contextlib.suppress(h2.exceptions.ProtocolError, h2.exceptions.H2Error, KeyError):
            ChaosEndpoint(client, number, random.Random(f"{seed} {number}")).serve()

    return script
