"""Thousands of idle, slow and unwilling clients, and one quick one among them that notices nothing."""

from __future__ import annotations

import re
import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.engine import Client
from tests.mesh import Mesh, wait_until
from tests.upstream import Upstream

IDLE_MAX = 5000
SPARE_DESCRIPTORS = 600  # for pytest itself, the slow clients and the upstream's connections
SLOW = 100
UNREAD = 30
QUICK_REQUESTS = 500
IDLE_MAX_BYTES = 4096
LARGE = 4_000_000
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def pss(pid: int) -> int:
    """Bytes of memory, shared pages by their share."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no Pss")


def memory(mesh: Mesh) -> int:
    return sum(pss(worker["pid"]) for worker in mesh.status()["workers"])


def live(mesh: Mesh) -> int:
    """Open client connections."""
    listener: int = mesh.status()["listeners"][0]["connections"]
    return listener


def connect(mesh: Mesh, stack: ExitStack) -> Client:
    sock = stack.enter_context(socket.create_connection(("127.0.0.1", mesh.port), timeout=20))
    return Client(sock)


@pytest.fixture
def idle_count() -> Iterator[int]:
    """As many as the descriptor limit of this process, and of a worker, allows."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft = limits[1] if limits[1] != resource.RLIM_INFINITY else IDLE_MAX + SPARE_DESCRIPTORS
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, limits[0]), limits[1]))
    yield min(IDLE_MAX, max(soft, limits[0]) - SPARE_DESCRIPTORS)
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def quick_client_is_served(mesh: Mesh) -> None:
    with ExitStack() as stack:
        kept = connect(mesh, stack)
        for i in range(QUICK_REQUESTS):
            if i % 50 == 0:
                kept = connect(mesh, stack)
            kept.send(GET)
            assert kept.response().body == b"upstream"


def test_idle_clients_cost_little_and_slow_ones_hold_nobody_up(idle_count: int, mesh: Mesh, upstream: Upstream) -> None:
    long = "head: 5m, idle: 5m"
    mesh.serve(upstream.address, web=f"timeouts: {{{long}}}", hello="timeouts: {idle: 5m, request: 5m}")
    mesh.start(workers=2)
    with ExitStack() as stack:
        quick_client_is_served(mesh)
        before = memory(mesh)
        idle = [connect(mesh, stack) for _ in range(idle_count)]
        for client in idle:  # idle between two requests, not before the first
            client.send(GET)
            assert client.response().status == 200
        wait_until(lambda: live(mesh) == idle_count, "all idle clients")
        each = (memory(mesh) - before) / idle_count
        assert each < IDLE_MAX_BYTES, f"{each:.0f} bytes for an idle client"

        slow_heads = [connect(mesh, stack) for _ in range(SLOW)]
        slow_bodies = [connect(mesh, stack) for _ in range(SLOW)]
        slow_readers = [connect(mesh, stack) for _ in range(UNREAD)]
        for client in slow_heads:
            client.send(GET[:-1])
        for client in slow_bodies:
            client.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345")
        for client in slow_readers:
            client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
            client.send(b"GET /bytes/%d HTTP/1.1\r\nHost: a\r\n\r\n" % LARGE)
        wait_until(lambda: live(mesh) == idle_count + 2 * SLOW + UNREAD, "all slow clients")
        quick_client_is_served(mesh)
        # A response that nobody reads is not held by the mesh: what it has in hand does not grow with the body.
        assert sum(worker["buffer_bytes"] for worker in mesh.status()["workers"]) < UNREAD * LARGE / 10

        for client in slow_heads:
            client.send(GET[-1:])
            assert client.response().body == b"upstream"
        for client in slow_bodies:
            client.send(b"67890")
            assert client.response().body == b"1234567890"
        assert slow_readers[0].response().body == b"x" * LARGE
        for client in idle[:: max(1, idle_count // 100)]:  # they are still served
            client.send(GET)
            assert client.response().status == 200
    wait_until(lambda: live(mesh) == 0, "all clients to be gone")
    assert [worker["restarts"] for worker in mesh.status()["workers"]] == [0, 0]
    assert mesh.get().status == 200


def test_a_listener_that_is_full_refuses_and_recovers(mesh: Mesh, upstream: Upstream) -> None:
    """The limit is one of all workers together; its clients go on."""
    mesh.serve(upstream.address, web="limits: {connections: 50}")
    mesh.start(workers=2)
    with ExitStack() as stack:
        clients = [connect(mesh, stack) for _ in range(50)]
        for client in clients:
            client.send(GET)
            assert client.response().status == 200
        for _ in range(20):
            refused = connect(mesh, stack)
            with suppress(ConnectionResetError):
                assert refused.receive() == b""
        for client in clients:
            client.send(GET)
            assert client.response().status == 200
    wait_until(lambda: live(mesh) == 0, "all clients to be gone")
    assert mesh.get().status == 200
    assert 'fastmesh_connections_refused_total{listener="web"} 20' in mesh.admin("/metrics").text


def test_workers_share_the_clients(mesh: Mesh, upstream: Upstream) -> None:
    mesh.serve(upstream.address)
    mesh.start(workers=2)
    with ExitStack() as stack:
        for _ in range(64):
            client = connect(mesh, stack)
            client.send(GET)
            assert client.response().status == 200
        counts = re.findall(
            r'fastmesh_worker_live_objects{worker="\d",kind="downstream"} (\d+)', mesh.admin("/metrics").text
        )
    assert sum(map(int, counts)) == 64
    assert min(map(int, counts)) >= 24
