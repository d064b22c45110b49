"""TLS that ends or begins at a TCP listener, and listeners on which it is optional."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
from collections.abc import Iterator
from typing import Any

import pytest

from fastmesh import snapshot as s
from fastmesh._core import proxy_protocol
from tests.engine import Client, EngineThread, ScriptedUpstream, make_snapshot
from tests.integration.test_detection import HELLO, PATIENT, Http2Client, answer_http, greet, make_two
from tests.integration.test_tcp import echo, reset_of, tcp_snapshot
from tests.integration.test_tls import (
    SITE,
    client_settings,
    connect,
    listener_tls,
    server_settings,
    service_tls,
    wait_for_failure,
)

MIB = 1 << 20
TURN_BYTES = 65536
V1 = b"PROXY TCP4 203.0.113.7 192.0.2.1 5678 80\r\n"


@contextlib.contextmanager
def secured(
    listener: dict[str, Any] | None = None, service: dict[str, Any] | None = None, upstream_tls: bool = False
) -> Iterator[EngineThread]:
    """A TCP listener with the given sides secured, in front of an echo."""
    upstream = ScriptedUpstream(echo, server_settings() if upstream_tls else None)
    snapshot = tcp_snapshot([upstream.port], listener=listener, service=service, certificates=(SITE,))
    engine = EngineThread(snapshot)
    try:
        yield engine
    finally:
        upstream.close()
        engine.close()


def exchange_bytes(client: Client, size: int) -> None:
    """To and fro, in turns: no thread of its own, which ssl does not allow."""
    for _ in range(0, size, TURN_BYTES):
        data = os.urandom(min(size, TURN_BYTES))
        client.send(data)
        assert client.exactly(len(data)) == data


@pytest.mark.parametrize("upstream_tls", [False, True])
@pytest.mark.parametrize("client_tls", [False, True])
def test_tls_on_either_side(client_tls: bool, upstream_tls: bool) -> None:
    service = {"tls": service_tls()} if upstream_tls else None
    with secured({"tls": listener_tls() if client_tls else None}, service, upstream_tls) as engine:
        client = connect(engine) if client_tls else engine.connect()
        exchange_bytes(client, 10)
        client.close()


def test_an_end_inside_tls_is_passed_on() -> None:
    heard: list[bytes] = []

    def script(client: Client, number: int) -> None:
        client.send(b"go")
        heard.append(client.to_end())

    upstream = ScriptedUpstream(script)
    engine = EngineThread(tcp_snapshot([upstream.port], listener={"tls": listener_tls()}, certificates=(SITE,)))
    client = connect(engine)
    assert client.exactly(2) == b"go"
    client.send(b"x" * 100_000)
    client.sock.unwrap().close()  # type: ignore[attr-defined]
    engine.settle()
    assert heard == [b"x" * 100_000]
    upstream.close()
    engine.close()


def test_an_endpoint_whose_tls_fails_ends_in_a_reset() -> None:
    with secured(service={"tls": service_tls()}) as engine:  # the endpoint is plain
        client = engine.connect()
        assert reset_of(client)
        engine.settle()
        assert engine.shared.service(1).connect_failures >= 1


def test_the_proxy_header_comes_before_tls() -> None:
    seen: list[Any] = []
    settings = server_settings()

    def script(client: Client, number: int) -> None:
        seen.append(proxy_protocol.read(client.sock.recv(28, socket.MSG_WAITALL))[2])
        client.sock = settings.wrap_socket(client.sock, server_side=True)
        echo(client, number)

    upstream = ScriptedUpstream(script)
    service = {"tls": service_tls(), "proxy_protocol_version": 2}
    engine = EngineThread(tcp_snapshot([upstream.port], service=service))
    client = engine.connect()
    exchange_bytes(client, 1000)
    client.close()
    assert seen == ["127.0.0.1"]
    upstream.close()
    engine.close()


# ---- optional TLS


@pytest.mark.parametrize("protocol", [s.Protocol.TCP, s.Protocol.DETECT])
def test_where_tls_is_optional_tcp_may_be_either(protocol: s.Protocol) -> None:
    listener = {"protocol": protocol, "tls": listener_tls(is_optional=True), **PATIENT}
    with secured(listener) as engine:
        for client in (connect(engine), engine.connect()):
            exchange_bytes(client, 5000)
            client.close()


def test_silence_where_tls_is_optional_is_plain_tcp() -> None:
    listener = {"protocol": s.Protocol.TCP, "tls": listener_tls(is_optional=True), "detect_timeout_ms": 30}
    upstream = ScriptedUpstream(greet)
    engine = EngineThread(tcp_snapshot([upstream.port], listener=listener, certificates=(SITE,)))
    client = engine.connect()
    assert client.exactly(4) == b"tcp:"
    client.close()
    upstream.close()
    engine.close()


def test_where_tls_is_optional_http_may_be_either() -> None:
    upstream = ScriptedUpstream(answer_http)
    listener = {"tls": listener_tls(is_optional=True)}
    engine = EngineThread(make_snapshot([upstream.port], listener, certificates=(SITE,)))
    for client in (connect(engine), engine.connect()):
        for _ in range(2):
            client.send(HELLO)
            assert client.response().body == b"http"
        client.close()
    client = engine.connect()
    client.send(*[HELLO[i : i + 1] for i in range(len(HELLO))], pause_s=0.001)
    assert client.response().body == b"http"
    client.close()
    upstream.close()
    engine.close()


# ---- detection with TLS


@contextlib.contextmanager
def detecting_tls(**listener: Any) -> Iterator[EngineThread]:
    web, raw = ScriptedUpstream(answer_http), ScriptedUpstream(greet)
    tls = listener_tls(is_optional=True)
    engine = EngineThread(make_two(web.port, raw.port, {"tls": tls, **listener}, (SITE,)))
    try:
        yield engine
    finally:
        web.close()
        raw.close()
        engine.close()


@pytest.mark.parametrize("alpn", [["http/1.1"], []])
def test_http_inside_tls(alpn: list[str]) -> None:
    settings = client_settings()
    if alpn:
        settings.set_alpn_protocols(alpn)
    with detecting_tls() as engine:
        client = connect(engine, settings)
        for _ in range(2):
            client.send(HELLO)
            assert client.response().body == b"http"
        client.close()


@pytest.mark.parametrize("alpn", [["h2"], []])
@pytest.mark.parametrize("protocol", [s.Protocol.DETECT, s.Protocol.HTTP, s.Protocol.HTTP2])
def test_http2_inside_tls(alpn: list[str], protocol: s.Protocol) -> None:
    settings = client_settings()
    if alpn:
        settings.set_alpn_protocols(alpn)
    with detecting_tls(protocol=protocol, tls=listener_tls(alpn=("h2", "http/1.1"))) as engine:
        client = connect(engine, settings)
        http2 = Http2Client(client)
        client.send(http2.hello())
        assert http2.body() == b"http"
        client.close()


def test_http_inside_tls_byte_by_byte() -> None:
    with detecting_tls() as engine:
        client = connect(engine)
        client.send(*[HELLO[i : i + 1] for i in range(len(HELLO))], pause_s=0.001)
        assert client.response().body == b"http"
        client.close()


@pytest.mark.parametrize("data", [b"EHLO a\r\n", b"\0\1\2"])
def test_other_bytes_inside_tls_are_tcp(data: bytes) -> None:
    with detecting_tls() as engine:
        client = connect(engine)
        client.send(data)
        assert client.exactly(4 + len(data)) == b"tcp:" + data
        client.close()


def test_silence_inside_tls_is_tcp() -> None:
    with detecting_tls(tls=listener_tls(), detect_timeout_ms=50) as engine:
        client = connect(engine)
        assert client.exactly(4) == b"tcp:"
        client.close()


def test_bytes_and_their_end_inside_tls() -> None:
    with detecting_tls() as engine:
        client = connect(engine)
        client.send(b"AUTH")
        with contextlib.suppress(ssl.SSLError):  # what is still received is no close_notify
            client.sock.settimeout(2)
            client.sock.unwrap()  # type: ignore[attr-defined]
        client.close()
        engine.settle()
        assert engine.shared.series(3).bytes_in == 4


def test_plain_bytes_beside_tls() -> None:
    with detecting_tls() as engine:
        client = engine.connect()
        client.send(HELLO)
        assert client.response().body == b"http"
        client.close()
        client = engine.connect()
        client.send(b"EHLO a\r\n")
        assert client.exactly(12) == b"tcp:EHLO a\r\n"
        client.close()


def test_a_handshake_behind_a_proxy_header() -> None:
    with detecting_tls(proxy_protocol_from=("127.0.0.0/8",)) as engine:
        client = engine.connect()
        client.sock.sendall(V1)
        client.sock = client_settings().wrap_socket(client.sock, server_hostname="example.org")
        client.send(HELLO)
        assert client.response().body == b"http"
        client.close()


def test_a_stalled_handshake_ends_where_tls_is_optional() -> None:
    with detecting_tls(tls=listener_tls(is_optional=True, handshake_timeout_ms=100)) as engine:
        client = engine.connect()
        client.send(b"\x16\x03\x01")
        assert client.to_end() == b""
        client.close()
        wait_for_failure(engine, "timeout")


def test_big_transfers_with_tls_on_both_sides() -> None:
    with secured({"tls": listener_tls()}, {"tls": service_tls()}, upstream_tls=True) as engine:
        client = connect(engine)
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        exchange_bytes(client, 4 * MIB)
        client.close()
