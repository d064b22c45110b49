"""Connections that are reset, stalled, cut and split at random on both sides, in all pairings of protocols.

Afterwards nothing is left alive, every gauge is zero, and every request is accounted for: logged once, by the status
that its client saw. `FASTMESH_CHAOS_S` makes it longer, `FASTMESH_CHAOS_SEED` repeats one.
"""

from __future__ import annotations

import json
import os
import random
import socket
import ssl
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import h2.exceptions
import msgspec
import pytest

from fastmesh import snapshot as s
from fastmesh._core.reason import NAMES
from tests.engine import Client, EngineThread, ScriptedUpstream, make_snapshot
from tests.http2_peers import Http2Client, get
from tests.integration.chaos import RESET, SIZES, Relay, http1_endpoint, http2_endpoint
from tests.integration.test_tcp import TCP_ROUTE
from tests.integration.test_tls import SITE, client_settings, listener_tls, server_settings, service_tls

DURATION_S = float(os.environ.get("FASTMESH_CHAOS_S", "6"))
SEED = os.environ.get("FASTMESH_CHAOS_SEED") or str(random.SystemRandom().randrange(10**9))
CLIENTS = 8
ANSWERED_MIN = 40
EXTRA_S = 15.0
CLIENT_TIMEOUT_S = 1.0
TIMEOUTS = {"request_timeout_ms": 250, "idle_timeout_ms": 300, "connect_timeout_ms": 400, "pool_idle_timeout_ms": 300}
PLAIN_AND_TLS = [False, True]
HTTP_CASES = [
    (protocol, down, up)
    for protocol in (s.Protocol.HTTP1, s.Protocol.HTTP2)
    for down in PLAIN_AND_TLS
    for up in PLAIN_AND_TLS
]
TCP_CASES = [(s.Protocol.TCP, down, up) for down, up in ((False, False), (True, True))]
SHARE_S = DURATION_S / (len(HTTP_CASES) + len(TCP_CASES))


class Clients:
    """Threads that ask and break off; what they sent and what was answered, by the number in the path."""

    def __init__(self, port: int, tls: bool, seed: str, protocols: tuple[str, ...]) -> None:
        self.begun: set[int] = set()
        self.answered: dict[int, int] = {}
        self.faults: list[BaseException] = []
        self._port = port
        self._tls = client_settings() if tls else None
        self._lock = threading.Lock()
        self._number = 0
        self._is_tcp = "tcp" in protocols
        self._until_s = time.monotonic() + SHARE_S
        self._threads = [
            threading.Thread(target=self._run, args=(protocols[i % len(protocols)], f"{seed} {i}"), daemon=True)
            for i in range(CLIENTS)
        ]
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(SHARE_S + 30)
            assert not thread.is_alive(), "a client hangs"
        assert not self.faults, self.faults

    @property
    def _goes_on(self) -> bool:
        """For its time, and longer where the machine was too busy for much to happen."""
        has_enough = len(self.answered) >= ANSWERED_MIN or self._is_tcp
        return time.monotonic() < self._until_s + (0 if has_enough else EXTRA_S)

    def _next(self) -> int:
        with self._lock:
            self._number += 1
            self.begun.add(self._number)
            return self._number

    def _run(self, protocol: str, seed: str) -> None:
        chance = random.Random(seed)
        while self._goes_on:
            client = None
            try:
                client = self._connect(protocol)
                while self._goes_on and getattr(self, f"_{protocol}")(client, chance):
                    pass
            except (OSError, EOFError, h2.exceptions.H2Error):
                pass
            except BaseException as error:
                self.faults.append(error)
                return
            finally:
                if client is not None:
                    with suppress(OSError):
                        if chance.random() < 0.3:
                            client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                        client.close()

    def _connect(self, protocol: str) -> Client:
        sock = socket.create_connection(("127.0.0.1", self._port), timeout=CLIENT_TIMEOUT_S)
        if self._tls is not None:
            if protocol == "http2":
                settings = client_settings()
                settings.set_alpn_protocols(["h2"])
            else:
                settings = self._tls
            try:
                sock = settings.wrap_socket(sock, server_hostname="example.org")
            except (OSError, ssl.SSLError):
                sock.close()
                raise
        return Http2Client(sock) if protocol == "http2" else Client(sock)

    # ---- HTTP/1.1: one request, or the beginning of one; whether the connection goes on

    def _http1(self, client: Client, chance: random.Random) -> bool:
        number = self._next()
        body = b"y" * chance.choice(SIZES)
        kind = chance.randrange(12)
        if kind == 0:
            return self._tunnel1(client, chance, number)
        method = chance.choice((b"GET", b"HEAD")) if kind < 5 else b"POST"
        head = b"%s /%d HTTP/1.1\r\nHost: a\r\n" % (method, number)
        if kind < 5:
            request = head + b"\r\n"
        elif kind < 9:
            request = head + b"Content-Length: %d\r\n\r\n" % len(body) + body
        else:
            request = head + b"Transfer-Encoding: chunked\r\n\r\n"
            request += b"%x\r\n%s\r\n" % (len(body), body) if body else b""
            request += b"0\r\nX-Sum: 1\r\n\r\n"
        if chance.random() < 0.1:
            client.send(request[: chance.randrange(1, len(request))])
            return False
        client.send(request)
        if chance.random() < 0.1:
            return False
        response = client.response(method.decode())
        while response.status < 200:
            response = client.response(method.decode())
        self.answered[number] = response.status
        return response.headers.get("connection") != "close"

    def _tunnel1(self, client: Client, chance: random.Random, number: int) -> bool:
        if chance.random() < 0.5:
            client.send(b"CONNECT a:%d HTTP/1.1\r\nHost: a:%d\r\n\r\n" % (number, number))
        else:
            client.send(
                b"GET /%d HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n" % number
                + b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            )
        if not client.until(b"\r\n\r\n").startswith((b"HTTP/1.1 101", b"HTTP/1.1 200")):
            return False
        for _ in range(chance.randrange(10)):
            client.send(b"z" * chance.choice((1, 100, 5000)))
            client.receive()
        if chance.random() < 0.5:
            client.sock.shutdown(socket.SHUT_WR)
            client.to_end()
        return False

    # ---- HTTP/2: several streams at a time

    def _http2(self, client: Http2Client, chance: random.Random) -> bool:
        numbers: dict[int, int] = {}
        for _ in range(chance.choice((1, 2, 5, 10))):
            self._stream(client, chance, numbers)
        if chance.random() < 0.1:
            return False
        for stream_id, number in numbers.items():
            client.wait(lambda answer=client.answers[stream_id]: answer.ended or answer.reset is not None)
            answer = client.answers.pop(stream_id)
            if answer.ended and answer.status:
                self.answered[number] = answer.status
        return not client.goaways

    def _stream(self, client: Http2Client, chance: random.Random, numbers: dict[int, int]) -> None:
        number = self._next()
        path = f"/{number}"
        kind = chance.randrange(12)
        if kind == 0:
            headers = get(path, method="CONNECT")
            headers.insert(1, (":protocol", "websocket"))
            if chance.random() < 0.3:
                headers = [(":method", "CONNECT"), (":authority", f"a:{number}")]
            stream_id = client.request(headers, ends=False)
            client.wait(lambda: client.answers[stream_id].status or client.answers[stream_id].reset is not None)
            for _ in range(chance.randrange(8)):
                client.send_body(stream_id, b"z" * chance.choice((1, 100, 5000)), ends=False)
                client.take()
            if chance.random() < 0.7:
                client.send_body(stream_id, b"", ends=True)
            else:
                client.h2.reset_stream(stream_id, 8)
                client.flush()
        elif kind < 5:
            numbers[client.request(get(path, method=chance.choice(("GET", "HEAD"))))] = number
        elif kind == 5:
            stream_id = client.request(get(path, method="POST"), b"y" * 100, ends=False)
            client.h2.reset_stream(stream_id, chance.choice((0, 8)))
            client.flush()
        else:
            trailers = [("x-sum", "1")] if kind > 9 else None
            numbers[client.request(get(path, method="POST"), b"y" * chance.choice(SIZES), trailers)] = number

    # ---- TCP

    def _tcp(self, client: Client, chance: random.Random) -> bool:
        self._next()
        client.send(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n")
        client.send(b"POST / HTTP/1.1\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100_000)
        if chance.random() < 0.5:
            client.sock.shutdown(socket.SHUT_WR)
        for _ in range(chance.randrange(50)):
            if not client.receive():
                break
        return False


def make(protocol: s.Protocol, down_tls: bool, up_tls: bool, ports: list[int]) -> s.Snapshot:
    listener: dict[str, Any] = {"tls": listener_tls(alpn=("h2", "http/1.1"))} if down_tls else {}
    service: dict[str, Any] = {**TIMEOUTS, "tls": service_tls() if up_tls else None, "pool_connections_max": 64}
    if protocol == s.Protocol.TCP:
        listener |= {"protocol": protocol, "tcp_routes": (TCP_ROUTE,), "tcp_idle_timeout_ms": 300}
    else:
        service |= {"protocol": protocol}
    snapshot = make_snapshot(
        ports, {**listener, "head_timeout_ms": 500}, service, {"allows_connect": True}, certificates=(SITE,)
    )
    return msgspec.structs.replace(snapshot, access_log=s.AccessLog(enabled=True))


@pytest.mark.parametrize(("protocol", "down_tls", "up_tls"), HTTP_CASES + TCP_CASES)
def test_chaos(protocol: s.Protocol, down_tls: bool, up_tls: bool, tmp_path: Path) -> None:
    seed = f"{SEED} {protocol} {down_tls} {up_tls}"
    print(f"FASTMESH_CHAOS_SEED={SEED}")
    settings = server_settings() if up_tls else None
    if settings is not None and protocol == s.Protocol.HTTP2:
        settings.set_alpn_protocols(["h2"])
    script = http2_endpoint(seed) if protocol == s.Protocol.HTTP2 else http1_endpoint(seed)
    endpoints = [ScriptedUpstream(script, settings) for _ in range(2)]
    behind = [Relay(endpoint.port, f"{seed} behind {i}") for i, endpoint in enumerate(endpoints)]
    engine = EngineThread(make(protocol, down_tls, up_tls, [relay.port for relay in behind]))
    log = os.open(tmp_path / "log", os.O_CREAT | os.O_WRONLY)
    engine.call(lambda it: it.set_access_log(log))
    before = Relay(engine.port, f"{seed} before")
    kinds = ("tcp",) if protocol == s.Protocol.TCP else ("http1", "http2")
    clients = Clients(before.port, down_tls, seed, kinds)
    clients.join()
    before.close()
    engine.settle()
    for one in (*behind, *endpoints):
        one.close()
    shared = engine.shared
    engine.close()  # every counter of live objects is zero
    check_accounts(shared, clients, tmp_path / "log", is_tcp=protocol == s.Protocol.TCP)


def check_accounts(shared: Any, clients: Clients, log: Path, is_tcp: bool) -> None:
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    every = [shared.series(series_id) for series_id in (1, 2, 3)]
    requests = sum(sum(one.requests) for one in every)
    assert shared.workers()[0].log_dropped == 0
    assert len(lines) == requests, "an exchange without its line, or a line too many"
    service, endpoints, listener = shared.service(1), shared.endpoints((1, 2)), shared.listener(1)
    assert (service.active, endpoints.active, endpoints.connections, endpoints.idle) == (0, 0, 0, 0)
    assert listener.connections == 0
    routed = sum(sum(one.requests) for one in every[1:])
    assert sum(service.duration_us) == routed, "a routed request without its duration, or two"
    assert endpoints.requests == routed + service.retries, "a try without its request"
    if is_tcp:
        assert 0 < requests <= listener.accepted
        return
    status: dict[int, int] = {}
    nameless: Counter[int] = Counter()  # heads that were refused before their path was read
    for line in lines:
        if line.get("path", "").startswith("/"):
            number = int(line["path"][1:])
            assert number not in status, f"request {number} is logged twice"
            status[number] = line["status"]
        else:
            nameless[line["status"]] += 1
    assert set(status) <= clients.begun
    for number, seen in clients.answered.items():
        if number in status:
            assert status[number] == seen, f"request {number}: its client saw {seen}, the log says {status[number]}"
        else:
            nameless[seen] -= 1
            assert nameless[seen] >= 0, f"request {number}: its client saw {seen}, and the log says nothing"
    reasons = Counter({name: sum(one.reasons[i] for one in every) for i, name in enumerate(NAMES)})
    assert len(clients.answered) >= ANSWERED_MIN, "hardly anything was answered"
    assert sum(reasons.values()) > 2, f"hardly anything went wrong: {+reasons}"
