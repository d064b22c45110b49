"""TCP listeners: a connection is one exchange, bytes to bytes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fastmesh import snapshot as s
from fastmesh._core import reason
from tests.engine import TIMEOUT_S, Client, EngineThread, ScriptedUpstream, make_snapshot, wait_until

MIB = 1 << 20
TCP_ROUTE = s.TcpRoute(name="raw", sni=(), destinations=(s.Destination(0, 0, 1, (3,)),))


def tcp_snapshot(ports: list[int], listener: dict[str, Any] | None = None, **more: Any) -> s.Snapshot:
    fields = {"protocol": s.Protocol.TCP, "tcp_routes": (TCP_ROUTE,), **(listener or {})}
    return make_snapshot(ports, listener=fields, **more)


@contextlib.contextmanager
def relayed(script: Callable[[Client, int], None], **more: Any) -> Iterator[tuple[EngineThread, ScriptedUpstream]]:
    """A TCP listener in front of a scripted upstream; at the end nothing may be left alive."""
    upstream = ScriptedUpstream(script)
    engine = EngineThread(tcp_snapshot([upstream.port], **more))
    try:
        yield engine, upstream
    finally:
        upstream.close()
        engine.close()


def echo(client: Client, number: int) -> None:
    while data := client.receive():
        client.send(data)


def reset_of(client: Client) -> bool:
    """Whether the connection ends with a reset rather than an end."""
    try:
        client.to_end()
    except ConnectionResetError:
        return True
    return False


def reset_at_once(engine: EngineThread) -> bool:
    """Whether a new connection is reset, be it before the client knows that it was accepted."""
    try:
        return reset_of(engine.connect())
    except ConnectionResetError:
        return True


def series(engine: EngineThread, series_id: int = 3) -> Any:
    return engine.call(lambda _: engine.shared.series(series_id))


def reason_count(engine: EngineThread, name: str, series_id: int = 3) -> int:
    return int(series(engine, series_id).reasons[reason.NAMES.index(name)])


def test_bytes_go_both_ways() -> None:
    with relayed(echo) as (engine, _):
        client = engine.connect()
        for size in (1, 100, 5000, 70_000):
            data = os.urandom(size)
            client.send(data)
            assert client.exactly(size) == data
        client.sock.shutdown(socket.SHUT_WR)
        assert client.to_end() == b""
        engine.settle()
        assert series(engine).bytes_in == series(engine).bytes_out == 75_101


def test_the_server_may_speak_first() -> None:
    def greet(client: Client, number: int) -> None:
        client.send(b"220 hello\r\n")
        assert client.until(b"\n") == b"QUIT\r\n"
        client.send(b"221 bye\r\n")

    with relayed(greet) as (engine, _):
        client = engine.connect()
        assert client.until(b"\n") == b"220 hello\r\n"
        client.send(b"QUIT\r\n")
        assert client.to_end() == b"221 bye\r\n"
        client.close()


def test_the_client_may_end_first() -> None:
    def answer_at_the_end(client: Client, number: int) -> None:
        client.send(b"got " + hashlib.sha256(client.to_end()).hexdigest().encode())

    with relayed(answer_at_the_end) as (engine, _):
        client = engine.connect()
        data = os.urandom(3 * MIB)
        client.send(data)
        client.sock.shutdown(socket.SHUT_WR)
        assert client.to_end() == b"got " + hashlib.sha256(data).hexdigest().encode()


def test_the_server_may_end_first() -> None:
    heard: list[bytes] = []

    def end_first(client: Client, number: int) -> None:
        client.send(b"all I have")
        client.sock.shutdown(socket.SHUT_WR)
        heard.append(client.to_end())

    with relayed(end_first) as (engine, _):
        client = engine.connect()
        assert client.to_end() == b"all I have"
        client.send(b"still ", b"here")
        client.sock.shutdown(socket.SHUT_WR)
        wait_until(lambda: heard == [b"still here"])


def test_an_answer_that_waits_when_both_sides_have_ended() -> None:
    """Both FINs are there, and most of the answer is still to be read: the kernel calls that a hang-up."""
    data = os.urandom(5 * MIB)
    sent = threading.Event()

    def send_much(client: Client, number: int) -> None:
        client.to_end()
        client.send(data)
        client.close()
        sent.set()

    with relayed(send_much) as (engine, _):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        sock.settimeout(TIMEOUT_S)
        sock.connect(("127.0.0.1", engine.port))
        sock.shutdown(socket.SHUT_WR)
        sent.wait(1)  # or what the kernel takes at the most
        got = bytearray()
        while piece := sock.recv(65536):
            got += piece
        assert got == data
        sock.close()


def test_big_transfers_both_ways_at_once_with_slow_readers() -> None:
    size = 8 * MIB
    up, down = os.urandom(size), os.urandom(size)
    heard: list[bytes] = []

    def read_slowly(sock: socket.socket, expected: int) -> bytes:
        got = bytearray()
        while len(got) < expected and (piece := sock.recv(20_000)):
            got += piece
        return bytes(got)

    def both(client: Client, number: int) -> None:
        sender = threading.Thread(target=client.sock.sendall, args=(down,))
        sender.start()
        heard.append(read_slowly(client.sock, size))
        sender.join()

    with relayed(both) as (engine, _):
        client = engine.connect()
        sender = threading.Thread(target=client.sock.sendall, args=(up,))
        sender.start()
        assert read_slowly(client.sock, size) == down
        sender.join()
        wait_until(lambda: heard == [up])
        client.close()


def test_memory_is_bounded_when_nobody_reads() -> None:
    stop = threading.Event()

    def never_read(client: Client, number: int) -> None:
        stop.wait(TIMEOUT_S)

    with relayed(never_read) as (engine, _):
        client = engine.connect()
        client.sock.settimeout(0.3)
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < 256 * MIB:
                sent += client.sock.send(bytes(MIB))
        assert sent < 64 * MIB
        assert engine.call(lambda _: engine.shared.workers()[0]).buffer_bytes <= 2 * MIB
        client.reset()
        stop.set()


def test_resets_of_both_sides_in_one_round() -> None:
    """What waited for the endpoint is dropped, and nobody is left to be told."""
    leave, left = threading.Event(), threading.Event()

    def leave_unread(client: Client, number: int) -> None:
        leave.wait(TIMEOUT_S)
        client.reset()
        left.set()

    with relayed(leave_unread) as (engine, _):
        client = engine.connect()
        client.sock.settimeout(0.3)
        with contextlib.suppress(TimeoutError):
            while True:
                client.sock.send(bytes(MIB))

        def at_once(_: object) -> None:
            client.reset()
            leave.set()
            left.wait(TIMEOUT_S)

        engine.call(at_once)
        engine.settle()
        assert reason_count(engine, "downstream_closed") == 1


def test_what_came_before_the_upstream_was_connected_is_passed_on() -> None:
    with relayed(echo) as (engine, _):
        for _ in range(50):
            with contextlib.closing(engine.connect()) as client:
                client.send(b"early")
                client.sock.shutdown(socket.SHUT_WR)
                assert client.to_end() == b"early"


def test_an_idle_connection_ends() -> None:
    ended = threading.Event()

    def wait(client: Client, number: int) -> None:
        client.to_end()
        ended.set()

    with relayed(wait, listener={"tcp_idle_timeout_ms": 150}) as (engine, _):
        client = engine.connect()
        client.send(b"x")
        assert client.to_end() == b""
        assert ended.wait(TIMEOUT_S)


def test_a_connection_that_moves_is_not_idle() -> None:
    with relayed(echo, listener={"tcp_idle_timeout_ms": 300}) as (engine, _):
        client = engine.connect()
        for _ in range(12):
            client.send(b"ping", pause_s=0.05)
            assert client.exactly(4) == b"ping"
        client.close()


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


def test_where_nobody_listens_the_client_is_reset() -> None:
    engine = EngineThread(tcp_snapshot([closed_port()]))
    assert reset_at_once(engine)
    engine.settle()
    assert reason_count(engine, "connect_failed") == 1
    engine.close()


def test_another_endpoint_is_tried() -> None:
    upstream = ScriptedUpstream(echo)
    engine = EngineThread(tcp_snapshot([closed_port(), upstream.port]))
    for _ in range(6):
        with contextlib.closing(engine.connect()) as client:
            client.send(b"hello")
            assert client.exactly(5) == b"hello"
    upstream.close()
    engine.close()


def test_a_reset_of_the_upstream_is_passed_on() -> None:
    def reset(client: Client, number: int) -> None:
        client.exactly(2)
        client.send(b"no")
        client.reset()

    with relayed(reset) as (engine, _):
        client = engine.connect()
        client.send(b"go")
        assert reset_of(client)
        engine.settle()
        assert reason_count(engine, "upstream_reset") == 1


def test_a_reset_of_the_client_is_passed_on() -> None:
    ends: list[bool] = []

    def see(client: Client, number: int) -> None:
        client.send(b"ready")
        ends.append(reset_of(client))

    with relayed(see) as (engine, _):
        client = engine.connect()
        assert client.exactly(5) == b"ready"
        client.reset()
        wait_until(lambda: ends == [True])
        engine.settle()
        assert reason_count(engine, "downstream_closed") == 1


def test_an_upstream_that_closes_with_the_clients_bytes_unread() -> None:
    def leave(client: Client, number: int) -> None:
        client.exactly(1)
        client.send(b"bye")

    with relayed(leave) as (engine, _):
        client = engine.connect()
        client.send(b"1")
        assert client.exactly(3) == b"bye"
        assert client.receive() == b""
        with contextlib.suppress(ConnectionError):
            client.send(b"more", pause_s=0.05)
            client.send(b"and more")
            client.to_end()


def test_connections_are_limited() -> None:
    with relayed(echo, listener={"connections_max": 2}) as (engine, _):
        first, second, third = engine.connect(), engine.connect(), engine.connect()
        first.send(b"1")
        second.send(b"2")
        assert first.exactly(1) == b"1"
        assert second.exactly(1) == b"2"
        with contextlib.suppress(ConnectionResetError):
            assert third.receive() == b""
        first.close()
        second.close()


def test_connections_of_an_endpoint_are_limited() -> None:
    with relayed(echo, service={"pool_connections_max": 1}) as (engine, _):
        first = engine.connect()
        first.send(b"1")
        assert first.exactly(1) == b"1"
        assert reset_at_once(engine)
        first.close()
        engine.settle()
        assert reason_count(engine, "pool_exhausted") == 1


@pytest.mark.parametrize("place", ["listener", "service"])
def test_the_rate_is_limited(place: str) -> None:
    limits = (s.Limit(id=1, name="one", period_ns=3_600_000_000_000, burst_tokens=2),)
    with relayed(echo, limits=limits, **{place: {"limit_index": 0}}) as (engine, upstream):
        for _ in range(2):
            with contextlib.closing(engine.connect()) as client:
                client.send(b"x")
                assert client.exactly(1) == b"x"
        assert reset_at_once(engine)
        assert upstream.connections == 2
        engine.settle()
        assert reason_count(engine, "rate_limited", 1 if place == "listener" else 3) == 1


def test_without_a_route_the_client_is_reset() -> None:
    with relayed(echo, listener={"tcp_routes": ()}) as (engine, _):
        assert reset_at_once(engine)
        engine.settle()
        assert reason_count(engine, "no_route", 1) == 1


def test_connections_are_balanced_and_never_used_again() -> None:
    names = [f"{i}".encode() for i in range(3)]

    def name_of(name: bytes) -> Callable[[Client, int], None]:
        def script(client: Client, number: int) -> None:
            client.send(name)
            client.to_end()

        return script

    upstreams = [ScriptedUpstream(name_of(name)) for name in names]
    engine = EngineThread(tcp_snapshot([upstream.port for upstream in upstreams]))
    seen = []
    for _ in range(9):
        with contextlib.closing(engine.connect()) as client:
            seen.append(client.exactly(1))
            client.sock.shutdown(socket.SHUT_WR)
            assert client.to_end() == b""
    assert sorted(seen) == sorted(names * 3)
    assert [upstream.connections for upstream in upstreams] == [3, 3, 3]
    wait_until(lambda: engine.live()["upstream"] == 0)
    for upstream in upstreams:
        upstream.close()
    engine.close()


def test_a_removed_listener_lets_its_connections_end() -> None:
    with relayed(echo) as (engine, _):
        client = engine.connect()
        client.send(b"a")
        assert client.exactly(1) == b"a"
        engine.call(lambda core: core.remove_listener(1, 10_000))
        client.send(b"b")
        assert client.exactly(1) == b"b"
        client.close()


def test_a_removed_listener_ends_them_at_its_deadline() -> None:
    with relayed(echo) as (engine, _):
        client = engine.connect()
        client.send(b"a")
        assert client.exactly(1) == b"a"
        engine.call(lambda core: core.remove_listener(1, 50))
        assert reset_of(client)


def test_a_line_in_the_log() -> None:
    reading, writing = os.pipe()
    upstream = ScriptedUpstream(echo)
    snapshot = tcp_snapshot([upstream.port])
    engine = EngineThread(
        s.Snapshot(
            version="01",
            listeners=snapshot.listeners,
            services=snapshot.services,
            routes=(),
            limits=(),
            access_log=s.AccessLog(enabled=True),
        )
    )
    engine.call(lambda core: core.set_access_log(writing))
    client = engine.connect()
    client.send(b"hello")
    assert client.exactly(5) == b"hello"
    address = client.sock.getsockname()
    client.sock.shutdown(socket.SHUT_WR)
    assert client.to_end() == b""
    upstream.close()
    engine.close()
    line = json.loads(os.read(reading, 65536))
    os.close(reading)
    assert line["client"] == f"{address[0]}:{address[1]}"
    assert (line["listener"], line["route"], line["service"]) == ("web", "raw", "hello")
    assert line["endpoint"] == f"127.0.0.1:{upstream.port}"
    assert (line["bytes_in"], line["bytes_out"], line["status"]) == (5, 5, 0)
    assert "method" not in line or not line["method"]
    assert not line.get("reason")
