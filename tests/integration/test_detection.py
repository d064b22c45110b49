"""Listeners that find out what a connection speaks: HTTP, TLS by its server name, or neither."""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from collections.abc import Iterator
from typing import Any

import h2.config
import h2.connection
import h2.events
import msgspec
import pytest
import trustme

from fastmesh import snapshot as s
from fastmesh._core import reason
from tests.engine import Client, EngineThread, ScriptedUpstream, make_snapshot, reply, wait_until

PATIENT = {"detect_timeout_ms": 60_000}  # where no silence is meant, none may be heard
HELLO = b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"
REDIS = b"*1\r\n$4\r\nPING\r\n"


def answer_http(client: Client, number: int) -> None:
    while True:
        client.until(b"\r\n\r\n")
        client.send(reply(b"http"))


def greet(client: Client, number: int) -> None:
    """Speaks first, then echoes."""
    client.send(b"tcp:")
    while data := client.receive():
        client.send(data)


def make_two(
    web_port: int, raw_port: int, listener: dict[str, Any], certificates: tuple[s.Certificate, ...] = ()
) -> s.Snapshot:
    """A listener that detects: HTTP goes to the first service, everything else to the second."""
    route = s.TcpRoute("raw", (), (s.Destination(1, 0, 1, (3,)),))
    fields = {"protocol": s.Protocol.DETECT, "tcp_routes": (route,), **PATIENT, **listener}
    base = make_snapshot([web_port], listener=fields, certificates=certificates)
    endpoint = s.Endpoint(id=9, host="127.0.0.1", port=raw_port)
    second = msgspec.structs.replace(base.services[0], id=2, name="raw", endpoints=(endpoint,))
    return msgspec.structs.replace(base, services=(*base.services, second))


@contextlib.contextmanager
def detecting(**listener: Any) -> Iterator[EngineThread]:
    web, raw = ScriptedUpstream(answer_http), ScriptedUpstream(greet)
    engine = EngineThread(make_two(web.port, raw.port, listener))
    try:
        yield engine
    finally:
        web.close()
        raw.close()
        engine.close()


def test_http_is_http() -> None:
    with detecting() as engine:
        client = engine.connect()
        for _ in range(3):
            client.send(HELLO)
            assert client.response().body == b"http"
        client.close()


def test_http_may_come_byte_by_byte() -> None:
    with detecting() as engine:
        client = engine.connect()
        client.send(*[HELLO[i : i + 1] for i in range(len(HELLO))], pause_s=0.002)
        assert client.response().body == b"http"
        client.close()


def test_a_request_line_may_stop_in_the_middle() -> None:
    with detecting(detect_timeout_ms=30) as engine:
        client = engine.connect()
        client.send(HELLO[:7], pause_s=0.1)
        client.send(HELLO[7:])
        assert client.response().body == b"http"
        client.close()


def test_http_with_a_long_target() -> None:
    with detecting() as engine:
        client = engine.connect()
        client.send(b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.response().status == 414
        client.close()


@pytest.mark.parametrize(
    "data",
    [
        REDIS,
        b"EHLO example.org\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\0\0\0\x08\x04\xd2\x16\x2f",
        b"get /key\r\n",
        b"\x16ab",
    ],
)
@pytest.mark.parametrize("pause_s", [0.0, 0.001])
def test_other_bytes_are_tcp(data: bytes, pause_s: float) -> None:
    with detecting() as engine:
        client = engine.connect()
        pieces = [data[i : i + 1] for i in range(len(data))] if pause_s else [data]
        client.send(*pieces, pause_s=pause_s)
        assert client.exactly(4 + len(data)) == b"tcp:" + data
        client.close()


def test_a_word_that_waits_for_an_answer_is_tcp() -> None:
    with detecting(detect_timeout_ms=100) as engine:
        client = engine.connect()
        client.send(b"AUTH")
        assert client.exactly(8) == b"tcp:AUTH"
        client.close()


def test_silence_is_tcp() -> None:
    with detecting(detect_timeout_ms=100) as engine:
        begun = time.monotonic()
        client = engine.connect()
        assert client.exactly(4) == b"tcp:"
        assert time.monotonic() - begun > 0.05  # not at once, or what is said next would have no chance
        client.send(HELLO)
        assert client.exactly(len(HELLO)) == HELLO
        client.close()


def test_silence_is_no_protocol_where_the_client_speaks_first() -> None:
    with detecting(protocol=s.Protocol.HTTP, detect_timeout_ms=10) as engine:
        client = engine.connect()
        time.sleep(0.1)
        client.send(HELLO)
        assert client.response().body == b"http"
        client.close()


def test_an_end_without_a_byte_is_tcp() -> None:
    with detecting() as engine:
        client = engine.connect()
        client.sock.shutdown(socket.SHUT_WR)
        assert client.to_end() == b"tcp:"


def test_detection_behind_a_proxy() -> None:
    with detecting(proxy_protocol_from=("127.0.0.1/32",), detect_timeout_ms=1000) as engine:
        header = b"PROXY TCP4 203.0.113.7 192.0.2.1 5678 80\r\n"
        for rest, expected in ((HELLO, b"HTTP/1.1 200 OK\r\n"), (REDIS, b"tcp:" + REDIS)):
            client = engine.connect()
            client.send(header + rest)
            assert client.exactly(len(expected)) == expected
            client.close()
        client = engine.connect()
        client.send(header)
        assert client.exactly(4) == b"tcp:"
        client.close()


# ---- TLS passed through, by its name


class TlsServer:
    """Answers each connection with its name and echoes; TLS ends here."""

    def __init__(self, authority: trustme.CA, name: str) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(name, "one.example.org", "two.example.org", "a.b.example.org").configure_cert(
            self._context
        )
        self._name = name
        self.upstream = ScriptedUpstream(self._serve)

    def _serve(self, client: Client, number: int) -> None:
        with self._context.wrap_socket(client.sock, server_side=True) as secured:
            secured.sendall(self._name.encode())
            while data := secured.recv(65536):
                secured.sendall(data)


@contextlib.contextmanager
def by_name(protocol: s.Protocol, with_default: bool = True) -> Iterator[tuple[EngineThread, trustme.CA]]:
    authority = trustme.CA()
    names = ["one.example.org", "wild.example.org", "default.example.org"]
    servers = [TlsServer(authority, name) for name in names]
    patterns: list[tuple[str, ...]] = [("one.example.org", "other.test"), ("*.example.org",), ()]
    routes = tuple(
        s.TcpRoute(name, sni, (s.Destination(i, 0, 1, (i + 3,)),))
        for i, (name, sni) in enumerate(zip(names, patterns, strict=True))
    )
    fields = {"protocol": protocol, "tcp_routes": routes if with_default else routes[:2], **PATIENT}
    base = make_snapshot([], listener=fields)
    services = tuple(
        msgspec.structs.replace(
            base.services[0],
            id=i + 1,
            name=names[i],
            endpoints=(s.Endpoint(id=i + 1, host="127.0.0.1", port=server.upstream.port),),
        )
        for i, server in enumerate(servers)
    )
    engine = EngineThread(msgspec.structs.replace(base, services=services))
    try:
        yield engine, authority
    finally:
        for server in servers:
            server.upstream.close()
        engine.close()


def ask(engine: EngineThread, authority: trustme.CA, name: str | None) -> str:
    """The name that the server has."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(context)
    context.check_hostname = False
    client = engine.connect()
    with context.wrap_socket(client.sock, server_hostname=name) as secured:
        answer = secured.recv(100).decode()
        data = bytes(range(256)) * 256
        for _ in range(4):
            secured.sendall(data)
            got = b""
            while len(got) < len(data):
                got += secured.recv(65536)
            assert got == data
        return answer


@pytest.mark.parametrize("protocol", [s.Protocol.TCP, s.Protocol.DETECT])
@pytest.mark.parametrize(
    ("name", "server"),
    [
        ("one.example.org", "one"),
        ("ONE.example.org", "one"),
        ("two.example.org", "wild"),
        ("a.b.example.org", "wild"),
        ("example.org", "default"),
        ("elsewhere.test", "default"),
        (None, "default"),
    ],
)
def test_tls_goes_where_its_name_says(protocol: s.Protocol, name: str | None, server: str) -> None:
    with by_name(protocol) as (engine, authority):
        assert ask(engine, authority, name) == f"{server}.example.org"


def test_a_name_that_no_route_takes() -> None:
    with by_name(s.Protocol.TCP, with_default=False) as (engine, authority):
        with pytest.raises(OSError):
            ask(engine, authority, "elsewhere.test")
        assert ask(engine, authority, "one.example.org") == "one.example.org"
        engine.settle()
        stats = engine.call(lambda _: engine.shared.series(1))
        assert stats.reasons[reason.NAMES.index("no_route")] == 1


def hello_of(name: str) -> bytes:
    """A real ClientHello."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname=name)
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


@pytest.mark.parametrize("protocol", [s.Protocol.TCP, s.Protocol.DETECT])
def test_a_hello_may_come_byte_by_byte(protocol: s.Protocol) -> None:
    with by_name(protocol) as (engine, _):
        hello = hello_of("two.example.org")
        client = engine.connect()
        client.send(*[hello[i : i + 1] for i in range(len(hello))], pause_s=0.0005)
        assert client.exactly(1) == b"\x16"  # of ServerHello
        client.close()
        engine.settle()
        stats = engine.call(lambda _: engine.shared.series(4))
        assert stats.bytes_in == len(hello)


@pytest.mark.parametrize("protocol", [s.Protocol.TCP, s.Protocol.DETECT])
def test_a_hello_that_stops_is_refused_in_time(protocol: s.Protocol) -> None:
    with by_name(protocol) as (engine, _):
        snapshot = make_snapshot([], listener={"protocol": protocol, "head_timeout_ms": 150})
        route = s.TcpRoute("named", ("a.test",), (s.Destination(0, 0, 1, (3,)),))
        listener = msgspec.structs.replace(snapshot.listeners[0], tcp_routes=(route,))
        engine.install(msgspec.structs.replace(snapshot, listeners=(listener,)))
        hello = hello_of("a.test")
        client = engine.connect()
        client.send(hello[:50])
        with pytest.raises(ConnectionResetError):
            client.to_end()
        wait_until(
            lambda: engine.call(lambda _: engine.shared.series(1)).reasons[reason.NAMES.index("head_timeout")] == 1
        )


def test_a_hello_that_makes_no_sense_takes_the_default_route() -> None:
    with by_name(s.Protocol.TCP) as (engine, _):
        client = engine.connect()
        client.send(b"\x16\x03\x01\x00\x04garbage")
        with contextlib.suppress(ConnectionResetError):
            client.to_end()
        engine.settle()
        wait_until(lambda: engine.call(lambda _: engine.shared.series(5)).bytes_in == 12)


def test_silence_where_a_name_is_needed_ends() -> None:
    with by_name(s.Protocol.TCP) as (engine, _):
        base = make_snapshot([], listener={"protocol": s.Protocol.TCP, "head_timeout_ms": 100})
        route = s.TcpRoute("named", ("a.test",), (s.Destination(0, 0, 1, (3,)),))
        listener = msgspec.structs.replace(base.listeners[0], tcp_routes=(route,))
        engine.install(msgspec.structs.replace(base, listeners=(listener,)))
        client = engine.connect()
        assert client.to_end() == b""


# ---- HTTP/2


class Http2Client:
    """A client of one request at a time, on h2."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration())

    def hello(self) -> bytes:
        """What a request without a body begins the connection with."""
        self._h2.initiate_connection()
        self._h2.send_headers(
            1, [(":method", "GET"), (":path", "/"), (":scheme", "http"), (":authority", "a")], end_stream=True
        )
        return self._h2.data_to_send()

    def body(self) -> bytes:
        body = b""
        while True:
            for event in self._h2.receive_data(self._client.receive()):
                if isinstance(event, h2.events.DataReceived):
                    body += event.data
                elif isinstance(event, h2.events.StreamEnded):
                    return body


@pytest.mark.parametrize("protocol", [s.Protocol.DETECT, s.Protocol.HTTP, s.Protocol.HTTP2])
@pytest.mark.parametrize("pause_s", [0.0, 0.001])
def test_http2_by_prior_knowledge(protocol: s.Protocol, pause_s: float) -> None:
    with detecting(protocol=protocol) as engine:
        client = engine.connect()
        http2 = Http2Client(client)
        hello = http2.hello()
        client.send(*([hello[i : i + 1] for i in range(len(hello))] if pause_s else [hello]), pause_s=pause_s)
        assert http2.body() == b"http"
        client.close()


def test_a_preface_that_stops_in_the_middle_is_http2() -> None:
    with detecting(detect_timeout_ms=30) as engine:
        client = engine.connect()
        http2 = Http2Client(client)
        hello = http2.hello()
        client.send(hello[:16], pause_s=0.1)
        client.send(hello[16:])
        assert http2.body() == b"http"
        client.close()


def test_http1_where_only_http2_is_spoken() -> None:
    with detecting(protocol=s.Protocol.HTTP2) as engine:
        client = engine.connect()
        client.send(HELLO)
        with contextlib.suppress(ConnectionResetError):
            assert b"HTTP/1" not in client.to_end()
        client.close()


def test_http2_behind_a_proxy() -> None:
    with detecting(proxy_protocol_from=("127.0.0.1/32",)) as engine:
        client = engine.connect()
        http2 = Http2Client(client)
        client.send(b"PROXY TCP4 203.0.113.7 192.0.2.1 5678 80\r\n" + http2.hello())
        assert http2.body() == b"http"
        client.close()
