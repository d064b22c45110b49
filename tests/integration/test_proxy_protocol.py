"""The PROXY protocol: whose it is believed, and what is said to endpoints."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from typing import Any

import h2.config
import h2.connection
import h2.events
import pytest

from fastmesh import snapshot as s
from fastmesh._core import proxy_protocol, reason
from tests.engine import Client, EngineThread, ScriptedUpstream, make_snapshot, reply, serve, wait_until

LOOPBACK = ("127.0.0.0/8",)
HELLO = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
V1 = b"PROXY TCP4 203.0.113.7 192.0.2.1 5678 80\r\n"
V2 = proxy_protocol.write_v2(b"2001:db8::7", 5678, b"2001:db8::1", 80)
V2_LOCAL = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00"
TCP = {"protocol": s.Protocol.TCP, "tcp_routes": (s.TcpRoute("raw", (), (s.Destination(0, 0, 1, (3,)),)),)}


def echo_head(client: Client, number: int) -> None:
    """Answers each request with its head."""
    while True:
        client.send(reply(client.until(b"\r\n\r\n")))


@contextlib.contextmanager
def behind_proxies(networks: tuple[str, ...] = LOOPBACK, **listener: Any) -> Iterator[EngineThread]:
    upstream = ScriptedUpstream(echo_head)
    engine = EngineThread(make_snapshot([upstream.port], listener={"proxy_protocol_from": networks, **listener}))
    try:
        yield engine
    finally:
        upstream.close()
        engine.close()


def client_of(client: Client) -> str:
    """X-Forwarded-For as the upstream saw it."""
    head = client.response().body.decode().lower()
    return next(line.split(": ")[1] for line in head.split("\r\n") if line.startswith("x-forwarded-for"))


@pytest.mark.parametrize(("header", "address"), [(V1, "203.0.113.7"), (V2, "2001:db8::7")])
def test_a_trusted_header_tells_the_client(header: bytes, address: str) -> None:
    with behind_proxies() as engine:
        client = engine.connect()
        client.send(header + HELLO)
        assert client_of(client) == address
        client.send(HELLO)
        assert client_of(client) == address
        client.close()


@pytest.mark.parametrize("header", [V1, V2])
def test_a_header_may_come_byte_by_byte(header: bytes) -> None:
    with behind_proxies() as engine:
        client = engine.connect()
        client.send(*[header[i : i + 1] for i in range(len(header))], pause_s=0.001)
        client.send(HELLO)
        assert client_of(client) in ("203.0.113.7", "2001:db8::7")
        client.close()


@pytest.mark.parametrize("header", [V2_LOCAL, b"PROXY UNKNOWN\r\n", b"PROXY UNKNOWN ::1 ::1 1 2\r\n"])
def test_without_an_address_it_is_the_sockets(header: bytes) -> None:
    with behind_proxies() as engine:
        client = engine.connect()
        client.send(header, HELLO)
        assert client_of(client) == "127.0.0.1"
        client.close()


def refusals(engine: EngineThread, name: str) -> int:
    stats = engine.call(lambda _: engine.shared.series(1))
    return int(stats.reasons[reason.NAMES.index(name)])


def ends(client: Client) -> bool:
    with contextlib.suppress(ConnectionResetError):
        assert client.to_end() == b""
    return True


@pytest.mark.parametrize(
    "start",
    [
        HELLO,
        b"PROXY TCP4 203.0.113.7 192.0.2.1 5678\r\n" + HELLO,
        b"PROXY TCP4 " + b"1" * 200,
        b"\r\n\r\n\0\r\nQUIT\n\x99",
    ],
    ids=["missing", "malformed", "endless", "version"],
)
def test_who_must_send_one_and_does_not_is_refused(start: bytes) -> None:
    with behind_proxies() as engine:
        client = engine.connect()
        client.send(start + bytes(20))
        assert ends(client)
        wait_until(lambda: refusals(engine, "proxy_header") == 1)


def test_a_header_that_stops_is_refused_in_time() -> None:
    with behind_proxies(head_timeout_ms=150) as engine:
        client = engine.connect()
        client.send(V1[:20])
        assert ends(client)
        wait_until(lambda: refusals(engine, "head_timeout") == 1)


def test_a_header_that_ends_is_refused() -> None:
    with behind_proxies() as engine:
        client = engine.connect()
        client.send(V1[:20])
        client.sock.shutdown(socket.SHUT_WR)
        assert ends(client)
        wait_until(lambda: refusals(engine, "proxy_header") == 1)


def test_a_probe_that_says_nothing_is_no_refusal() -> None:
    with behind_proxies() as engine:
        client = engine.connect()
        client.sock.shutdown(socket.SHUT_WR)
        assert ends(client)
        engine.settle()
        assert refusals(engine, "proxy_header") == 0


def test_from_a_stranger_it_is_just_bytes() -> None:
    with behind_proxies(("10.0.0.0/8", "2001:db8::/32", "127.0.0.2/32")) as engine:
        client = engine.connect()
        client.send(HELLO)
        assert client_of(client) == "127.0.0.1"
        client.send(V1 + HELLO)
        assert client.response().status == 400
        client.close()


def test_networks_are_compared_bit_by_bit() -> None:
    for network, trusted in (("127.0.0.0/31", True), ("127.0.0.2/31", False), ("0.0.0.0/0", True), ("::/0", True)):
        with behind_proxies((network,)) as engine:
            client = engine.connect()
            client.send(V1 + HELLO)
            assert (client.response().status == 200) is trusted
            client.close()


def test_an_idle_client_behind_a_proxy_is_drained() -> None:
    with behind_proxies() as engine:
        client = engine.connect()
        client.send(b"P")
        engine.call(lambda core: core.remove_listener(1, 50))
        assert ends(client)


# ---- towards endpoints


def read_header(client: Client, version: int) -> tuple[Any, ...]:
    """Not a byte of what follows."""
    data = client.sock.recv(28, socket.MSG_WAITALL)
    while version == 1 and not data.endswith(b"\r\n"):
        data += client.sock.recv(1)
    result, *header = proxy_protocol.read(data)
    assert result == len(data)
    return tuple(header)


@pytest.mark.parametrize("version", [1, 2])
def test_tcp_to_an_endpoint_begins_with_it(version: int) -> None:
    headers: list[tuple[Any, ...]] = []

    def script(client: Client, number: int) -> None:
        headers.append(read_header(client, version))
        while data := client.receive():
            client.send(data)

    upstream = ScriptedUpstream(script)
    engine = EngineThread(make_snapshot([upstream.port], listener=TCP, service={"proxy_protocol_version": version}))
    client = engine.connect()
    client.send(b"hello")
    assert client.exactly(5) == b"hello"
    assert headers == [(4, *client.sock.getsockname(), *client.sock.getpeername())]
    client.close()
    upstream.close()
    engine.close()


def test_http_connections_with_it_are_not_shared() -> None:
    headers: list[tuple[Any, ...]] = []

    def script(client: Client, number: int) -> None:
        headers.append(read_header(client, 2))
        serve(reply())(client, number)

    upstream = ScriptedUpstream(script)
    engine = EngineThread(make_snapshot([upstream.port], service={"proxy_protocol_version": 2}))
    clients = [engine.connect(), engine.connect()]
    for client in clients * 2:
        client.send(HELLO)
        assert client.response().status == 200
    ports = [client.sock.getsockname()[1] for client in clients]
    assert [header[2] for header in headers] == ports * 2
    for client in clients:
        client.close()
    upstream.close()
    engine.close()


def test_http2_connections_with_it_are_not_shared() -> None:
    """Each exchange has its own, which ends with it."""
    headers: list[tuple[Any, ...]] = []

    def script(client: Client, number: int) -> None:
        headers.append(read_header(client, 2))
        connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        connection.initiate_connection()
        client.send(connection.data_to_send())
        while received := client.receive():
            for event in connection.receive_data(received):
                if isinstance(event, h2.events.RequestReceived):
                    connection.send_headers(event.stream_id, [(":status", "200")])
                    connection.send_data(event.stream_id, b"ok", end_stream=True)
            client.send(connection.data_to_send())

    upstream = ScriptedUpstream(script)
    service = {"proxy_protocol_version": 2, "protocol": s.Protocol.HTTP2}
    engine = EngineThread(make_snapshot([upstream.port], service=service))
    clients = [engine.connect(), engine.connect()]
    for client in clients * 2:
        client.send(HELLO)
        assert client.response().body == b"ok"
    ports = [client.sock.getsockname()[1] for client in clients]
    assert [header[2] for header in headers] == ports * 2
    wait_until(lambda: engine.live()["upstream"] == 0)
    for client in clients:
        client.close()
    upstream.close()
    engine.close()


def test_what_came_in_goes_out() -> None:
    headers: list[tuple[Any, ...]] = []

    def script(client: Client, number: int) -> None:
        headers.append(read_header(client, 1))
        client.to_end()

    upstream = ScriptedUpstream(script)
    listener = {**TCP, "proxy_protocol_from": LOOPBACK}
    engine = EngineThread(make_snapshot([upstream.port], listener=listener, service={"proxy_protocol_version": 1}))
    client = engine.connect()
    client.send(V1)
    wait_until(lambda: headers)
    assert headers[0][:3] == (4, "203.0.113.7", 5678)
    client.close()
    upstream.close()
    engine.close()


def test_the_log_tells_the_client_and_the_refusal() -> None:
    reading, writing = os.pipe()
    snapshot = make_snapshot([], listener={"proxy_protocol_from": LOOPBACK})
    engine = EngineThread(
        s.Snapshot("01", snapshot.listeners, snapshot.services, snapshot.routes, (), s.AccessLog(enabled=True))
    )
    engine.call(lambda core: core.set_access_log(writing))
    client = engine.connect()
    client.send(V1 + HELLO)
    assert client.response().status == 503
    client.close()
    client = engine.connect()
    client.send(HELLO)
    assert ends(client)
    engine.close()
    lines = [json.loads(line) for line in os.read(reading, 65536).splitlines()]
    os.close(reading)
    assert [line["client"].split(":")[0] for line in lines] == ["203.0.113.7", "127.0.0.1"]
    assert lines[1]["reason"] == "proxy_header"
    assert lines[1]["detail"] == "there is none"
