"""Clients and endpoints that break off, stall and talk rubbish at random while the configuration changes.

Afterwards nothing is left alive, every exchange is accounted for, and who behaves is still served.
"""

from __future__ import annotations

import gc
import os
import random
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

import pytest
from prometheus_client.parser import text_string_to_metric_families

from fastmesh import snapshot as s
from fastmesh._core.reason import NAMES, STATUSES
from tests.engine import Client, EngineThread, ScriptedUpstream, make_snapshot, reply
from tests.http2_peers import Http2Client, get, http2_endpoint
from tests.integration.test_tls import client_settings, issue, listener_tls, server_settings, service_tls
from tests.mesh import Mesh, wait_until

DURATION_S = 7.0
CLIENTS = 12
SEED = 20_260
RELOAD_PAUSE_S = 0.05
TIMEOUTS = {"request_timeout_ms": 150, "idle_timeout_ms": 200}
GET = b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n"
UPGRADE = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n"
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n"


# ---- endpoints


def _whole_request(client: Client) -> bytes:
    """Its head."""
    head = client.until(b"\r\n\r\n").lower()
    if b"transfer-encoding: chunked" in head:
        client._chunked()
    elif b"content-length: " in head:
        client.exactly(int(head.split(b"content-length: ")[1].split(b"\r\n")[0]))
    return head


def _tunnel(client: Client, chance: random.Random) -> None:
    """Echo for a while, then end it one way or another."""
    client.send(SWITCHING + b"welcome")
    for _ in range(chance.randrange(6)):
        data = client.receive()
        if not data:
            return
        client.send(data)
    if chance.random() < 0.5:
        client.reset()


def _answer(client: Client, chance: random.Random) -> bool:
    """Answer somehow; whether the connection goes on."""
    size = chance.choice((0, 1, 1000, 300_000))
    body = b"x" * size
    match chance.randrange(12):
        case 0:
            client.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (size + 1) + body)
            return False
        case 1:
            client.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % (size + 1) + body)
            return False
        case 2:
            client.send(
                chance.choice((b"\x00\xff\r\n\r\n", b"HTTP/1.1 99 Odd\r\n\r\n", b"SSH-2.0-x\r\n", b"HTTP/1.1 200\n"))
            )
            return False
        case 3:
            client.send(reply(body)[: chance.randrange(60)])
            time.sleep(0.4)  # longer than the timeouts
            return False
        case 4:
            client.reset()
            return False
        case 5:
            return False
        case 6:
            client.send(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n", reply(body))
        case 7:
            client.send(reply(body) + b"more than was asked for")
        case 8:
            client.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for at in range(0, size, 50_000):
                piece = body[at : at + 50_000]
                client.send(b"%x\r\n%s\r\n" % (len(piece), piece))
            client.send(b"0\r\nX-End: 1\r\n\r\n")
        case 9:
            client.send(b"HTTP/1.0 200 OK\r\n\r\n" + body)
            return False
        case _:
            client.send(reply(body, status=chance.choice((b"200 OK", b"503 Busy", b"404 Not Found"))))
    return True


def misbehave(client: Client, number: int) -> None:
    """The script of an endpoint."""
    chance = random.Random(SEED + number)
    while True:
        if chance.random() < 0.05:
            client.until(b"\r\n")  # it does not even wait for the end of the head
            client.reset()
            return
        # Sometimes it answers before it has read the body.
        head = _whole_request(client) if chance.random() < 0.9 else client.until(b"\r\n\r\n").lower()
        if b"upgrade: echo" in head and chance.random() < 0.8:
            _tunnel(client, chance)
            return
        if not _answer(client, chance):
            return


# ---- clients


class Clients:
    """Clients that break off at random; they count what they sent and what was answered."""

    def __init__(self, connect: Callable[[], Client]) -> None:
        self.begun = 0  # heads of which at least one byte was sent
        self.answered: Counter[int] = Counter()  # whole responses by status
        self.refused = 0
        self._connect = connect
        self._lock = threading.Lock()
        self._until_s = time.monotonic() + DURATION_S
        self._threads = [threading.Thread(target=self._run, args=(i,), daemon=True) for i in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(DURATION_S + 30)
            assert not thread.is_alive(), "a client was left without an answer"

    @property
    def go_on(self) -> bool:
        return time.monotonic() < self._until_s

    def _run(self, number: int) -> None:
        chance = random.Random(SEED + 1000 * number)
        while self.go_on:
            client = self._connect()
            with suppress(OSError, EOFError):
                while self.go_on and self._misbehave(client, chance):
                    pass
            client.close()

    def _count(self, begun: int = 0, answered: int = 0) -> None:
        with self._lock:
            self.begun += begun
            if answered:
                self.answered[answered] += 1

    def _read(self, client: Client) -> bool:
        """The final response, whole; whether the connection goes on."""
        status = 100
        while status < 200 and status != 101:
            response = client.response()
            status = response.status
        self._count(answered=status)
        return response.headers.get("connection") != "close"

    def _misbehave(self, client: Client, chance: random.Random) -> bool:
        """One request, or the beginning of one; whether the connection goes on."""
        body = b"y" * chance.choice((1, 100, 100_000))
        post = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        chunked = b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (
            len(body),
            body,
        )
        request = chance.choice((GET % 1, post, chunked))
        match chance.randrange(11):
            case 10:
                self._count(begun=1)
                client.send(UPGRADE, body)  # perhaps more than the endpoint wants to know
                self._read(client)
                client.send(body)
                if chance.random() < 0.5:
                    client.sock.shutdown(socket.SHUT_WR)
                    client.to_end()
                else:
                    client.reset()
                return False
            case 0:
                self._count(begun=1)
                client.send(request[: chance.randrange(1, len(request))])
                client.reset()
                return False
            case 1:
                self._count(begun=1)
                client.send(request)
                time.sleep(chance.random() * 0.01)
                client.reset()
                return False
            case 2:
                self._count(begun=1)
                client.send(request)
                client.receive()
                client.reset()
                return False
            case 3:
                count = chance.randrange(2, 20)
                self._count(begun=count)
                client.send(GET % 2 * count)
                return all(self._read(client) for _ in range(chance.randrange(count)))
            case 4:
                self._count(begun=1)
                client.send(chance.choice((b"\x16\x03\x01\r\n\r\n", b"GET / HTTP/1.1\r\nHost : a\r\n\r\n")))
                return self._read(client)
            case 5:
                self._count(begun=1)
                client.send(request)
                client.sock.shutdown(socket.SHUT_WR)
                return self._read(client)
            case _:
                self._count(begun=1)
                client.send(request)
                return self._read(client)


def check_classes(clients: Clients, by_class: list[int]) -> None:
    """By status class, 0 for those that ended without a status: as many as clients saw, no more than they sent."""
    assert sum(clients.answered.values()) > 20 * CLIENTS, "hardly anything was asked"
    for status_class in (1, 2, 4, 5):
        seen = sum(count for status, count in clients.answered.items() if status // 100 == status_class)
        assert by_class[status_class] >= seen > 0
    assert sum(clients.answered.values()) <= sum(by_class) <= clients.begun


# ---- in this process


def test_engine() -> None:
    upstreams = [ScriptedUpstream(misbehave) for _ in range(3)]
    ports = [upstream.port for upstream in upstreams]
    engine = EngineThread(make_snapshot(ports, service=TIMEOUTS))
    clients = Clients(lambda: engine.connect(20))
    version = 1
    while clients.go_on:
        version += 1
        engine.install(
            make_snapshot(
                ports[: 1 + version % 3],
                service={**TIMEOUTS, "pool_age_max_ms": 100 * (version % 2)},
                version=f"{version:02x}",
            )
        )
        time.sleep(RELOAD_PAUSE_S)
    clients.join()
    engine.settle()
    assert version > 20
    for upstream in upstreams:
        upstream.close()
    live = engine.live()
    assert (live["exchange"], live["downstream"], live["tables"]) == (0, 0, 1)

    routed, unrouted, service = engine.shared.series(2), engine.shared.series(1), engine.shared.service(1)
    endpoints = engine.shared.endpoints(range(1, 4))
    by_class = [one + other for one, other in zip(routed.requests, unrouted.requests, strict=True)]
    check_classes(clients, by_class)
    assert sum(service.duration_us) == sum(routed.requests), "a routed request without its duration, or two"
    assert endpoints.requests == sum(routed.requests) + service.retries, "an attempt without its request"
    assert (service.active, endpoints.active) == (0, 0)
    reasons = Counter(dict(zip(NAMES, map(sum, zip(routed.reasons, unrouted.reasons, strict=True)), strict=False)))
    without_status = [name for name, status in zip(NAMES, STATUSES, strict=True) if not status]
    assert by_class[0] <= sum(reasons[name] for name in without_status)
    for reason in ("upstream_reset", "upstream_malformed", "upstream_truncated", "request_timeout", "bad_request"):
        assert reasons[reason] > 0, f"{reason} never came about"
    engine.close()


# ---- TLS and HTTP/2, in this process


ROUNDS = 12
ROUND_CONNECTIONS = 25
ROUND_STREAMS = 8
GROWTH_MAX_BYTES = 1 << 20  # a leak of 1 KiB a stream would be 2.4 MB


def _resident_bytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _secured(port: int, certificate: s.Certificate, version: int) -> s.Snapshot:
    return make_snapshot(
        [port],
        {"tls": listener_tls(alpn=("h2", "http/1.1"))},
        {"tls": service_tls(), "protocol": s.Protocol.HTTP2, "pool_age_max_ms": 20},
        version=f"{version:02x}",
        certificates=(certificate,),
    )


def _round(engine: EngineThread, settings: ssl.SSLContext) -> None:
    for _ in range(ROUND_CONNECTIONS):
        sock = socket.create_connection(("127.0.0.1", engine.port), timeout=10)
        client = Http2Client(settings.wrap_socket(sock, server_hostname="example.org"))
        streams = [client.request(get(), b"x" * 1000) for _ in range(ROUND_STREAMS)]
        assert [client.answer(stream_id).status for stream_id in streams] == [200] * ROUND_STREAMS
        client.close()
    engine.settle()


@pytest.mark.skipif("LD_PRELOAD" in os.environ, reason="sanitizers keep memory of their own")
def test_memory_does_not_grow_with_handshakes_streams_and_certificates() -> None:
    to_endpoint, from_client = server_settings(), client_settings()
    to_endpoint.set_alpn_protocols(["h2"])
    from_client.set_alpn_protocols(["h2"])
    upstream = ScriptedUpstream(http2_endpoint(), to_endpoint)
    engine = EngineThread(_secured(upstream.port, issue("example.org"), 1))
    sizes = []
    for number in range(2 * ROUNDS):
        engine.install(_secured(upstream.port, issue("example.org"), 2 + number))
        _round(engine, from_client)
        if number % ROUNDS == ROUNDS - 1:
            gc.collect()
            sizes.append(_resident_bytes())
    assert engine.live()["tables"] == 1
    assert engine.shared.series(2).requests[2] == 2 * ROUNDS * ROUND_CONNECTIONS * ROUND_STREAMS
    assert sizes[1] - sizes[0] < GROWTH_MAX_BYTES, sizes
    upstream.close()
    engine.close()


# ---- a whole mesh


def descriptors(mesh: Mesh) -> dict[int, int]:
    """Of each process; the least of several looks, since our own questions to the admin API take one for a moment."""
    least: dict[int, int] = {}
    for _ in range(10):
        for pid in mesh.family():
            count = len(os.listdir(f"/proc/{pid}/fd"))
            least[pid] = min(count, least.get(pid, count))
        time.sleep(0.02)
    return least


def samples(mesh: Mesh, name: str) -> list[tuple[dict[str, str], float]]:
    found = text_string_to_metric_families(mesh.admin("/metrics").text)
    return [(sample.labels, sample.value) for family in found for sample in family.samples if sample.name == name]


def live(mesh: Mesh) -> Counter[str]:
    """Live objects by kind, in all workers."""
    found: Counter[str] = Counter()
    for labels, value in samples(mesh, "fastmesh_worker_live_objects"):
        found[labels["kind"]] += int(value)
    return found


def configure(mesh: Mesh, upstreams: list[ScriptedUpstream], version: int) -> None:
    addresses = [f"127.0.0.1:{upstream.port}" for upstream in upstreams]
    mesh.serve(
        *addresses[: 1 + version % len(addresses)],
        hello=f"timeouts: {{request: 150ms, idle: 200ms}}\npool: {{idle: {1000 + version}ms}}",
    )


def test_mesh(mesh: Mesh) -> None:
    upstreams = [ScriptedUpstream(misbehave) for _ in range(3)]
    configure(mesh, upstreams, 0)
    mesh.start(workers=2)
    wait_until(lambda: live(mesh)["tables"] == 2, "both workers")
    before, live_before = descriptors(mesh), live(mesh)
    clients = Clients(lambda: Client(socket.create_connection(("127.0.0.1", mesh.port), timeout=20)))
    version = 0
    while clients.go_on:
        version += 1
        configure(mesh, upstreams, version)
        time.sleep(4 * RELOAD_PAUSE_S)
    clients.join()
    configure(mesh, upstreams, 0)
    for upstream in upstreams:
        upstream.close()  # what is pooled ends, too
    wait_until(lambda: live(mesh) == live_before, f"nothing to be left; {live_before} before")
    wait_until(lambda: descriptors(mesh) == before, f"descriptors to be as before: {before}")
    assert [worker["restarts"] for worker in mesh.status()["workers"]] == [0, 0]

    by_class = [0] * 6
    classes = ("none", "1xx", "2xx", "3xx", "4xx", "5xx")
    for labels, value in samples(mesh, "fastmesh_requests_total"):
        by_class[classes.index(labels["status_class"])] += int(value)
    check_classes(clients, by_class)
    assert sum(value for _, value in samples(mesh, "fastmesh_requests_active")) == 0
    assert sum(value for _, value in samples(mesh, "fastmesh_connections")) == 0
    assert mesh.end() == 0
