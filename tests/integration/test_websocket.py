"""WebSocket in every pairing of HTTP/1.1 and HTTP/2, plain and with TLS; the frames are the `websockets` library's."""

from __future__ import annotations

import json
import os
import ssl
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, InvalidStatus
from websockets.sync.client import connect

from fastmesh import snapshot as s
from tests.engine import Client, EngineThread, ScriptedUpstream, make_snapshot, wait_until
from tests.mesh import Mesh, free_port
from tests.mesh import wait_until as mesh_wait_until
from tests.secure import MUTUAL, NAME, PLAIN, Authority, Mode
from tests.websocket_peers import (
    CLOSE_CODE,
    CLOSE_REASON,
    Http1Server,
    Http2Server,
    Http2WebSocket,
    Server,
    Socket,
    http2_client,
)

LARGE = 5_000_000
SERVERS = {"http1": Http1Server, "http2": Http2Server}


@contextmanager
def websocket(version: str, port: int, tls: ssl.SSLContext | None = None, path: str = "/") -> Iterator[Socket]:
    """A client's WebSocket over that version of HTTP."""
    if version == "http2":
        with http2_client(port, tls) as client:
            yield Http2WebSocket(client, path)
        return
    scheme, options = ("wss", {"ssl": tls, "server_hostname": NAME}) if tls else ("ws", {})
    address = f"{scheme}://127.0.0.1:{port}{path}"
    with connect(address, max_size=None, compression=None, ping_interval=None, **options) as client:
        yield client


class Pairing:
    """An engine between clients of one version of HTTP and a server of another."""

    def __init__(self, client: str, server: str, mode: Mode, folder: Path, **service: Any) -> None:
        self.client = client
        self.mode = mode
        self.authority = Authority(folder)
        alpn = ("h2",) if server == "http2" else ("http/1.1",)
        tls = self.authority.server_settings(alpn, mode.is_mutual) if mode.server_side else None
        self.server: Server = SERVERS[server](tls)
        fields = {
            "protocol": s.Protocol.HTTP2 if server == "http2" else s.Protocol.HTTP1,
            "tls": self.authority.service_tls(mode),
            **service,
        }
        snapshot = make_snapshot(
            [self.server.port],
            listener={"tls": self.authority.listener_tls(mode)},
            service=fields,
            certificates=(self.authority.web,),
        )
        self.engine = EngineThread(msgspec.structs.replace(snapshot, access_log=s.AccessLog(enabled=True)))
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        self.engine.call(lambda engine: engine.set_access_log(writer))
        self._log = open(reader)  # noqa: SIM115

    def open(self) -> AbstractContextManager[Socket]:
        tls = None
        if self.mode.client_side:
            assert self.authority.client.key_pem
            tls = self.authority.client_settings("client" if self.mode.is_mutual else "")
        return websocket(self.client, self.engine.port, tls)

    def line(self) -> dict[str, Any]:
        """The next line of the access log."""
        line: dict[str, Any] = json.loads(self._log.readline())
        return line

    def close(self) -> None:
        self.engine.settle()
        self.server.close()
        self.engine.close()
        self._log.close()


@pytest.fixture(params=[PLAIN, MUTUAL], ids=lambda mode: mode.name)
def mode(request: pytest.FixtureRequest) -> Mode:
    mode: Mode = request.param
    return mode


@pytest.fixture(params=["http1", "http2"])
def client(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["http1", "http2"])
def server(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def pairing(client: str, server: str, mode: Mode, tmp_path: Path) -> Iterator[Pairing]:
    pairing = Pairing(client, server, mode, tmp_path)
    yield pairing
    pairing.close()


def test_messages_come_back(pairing: Pairing) -> None:
    with pairing.open() as socket:
        for message in ("hello", b"\x00\xff", "ä" * 1000, "", b"x" * 125, b"x" * 126, b"x" * 65536):
            socket.send(message)
            assert socket.recv() == message


def test_large_messages_both_ways(pairing: Pairing) -> None:
    large = os.urandom(LARGE)
    with pairing.open() as socket:
        for _ in range(2):
            socket.send(large)
            assert socket.recv() == large


def test_pings_are_answered_by_the_server(pairing: Pairing) -> None:
    with pairing.open() as socket:
        ponged = socket.ping(b"alive?")
        assert ponged is None or ponged.wait(10)


def test_the_client_closes(pairing: Pairing) -> None:
    with pairing.open() as socket:
        socket.send("hello")
        assert socket.recv() == "hello"
        socket.close(4000, "enough")
        assert socket.close_code == 4000
    wait_until(lambda: pairing.server.close_codes == [4000], lambda: str(pairing.server.close_codes))


def test_the_server_closes(pairing: Pairing) -> None:
    with pairing.open() as socket:
        socket.send("close")
        if isinstance(socket, Http2WebSocket):
            assert socket.to_close() == (CLOSE_CODE, CLOSE_REASON)
        else:
            with pytest.raises(ConnectionClosed):
                socket.recv()
            assert (socket.close_code, socket.close_reason) == (CLOSE_CODE, CLOSE_REASON)


def test_an_end_without_a_word_is_passed_on(pairing: Pairing) -> None:
    with pairing.open() as socket:
        socket.send("abort")
        with pytest.raises((EOFError, ConnectionClosedError)):
            socket.recv()
        assert socket.close_code in (None, 1006)


def test_a_client_that_vanishes_is_noticed(pairing: Pairing) -> None:
    with pairing.open() as socket:
        socket.send("hello")
        assert socket.recv() == "hello"
        connection = socket.client if isinstance(socket, Http2WebSocket) else None
        (connection.sock if connection else socket.socket).shutdown(2)
        wait_until(lambda: pairing.server.close_codes == [1006], lambda: str(pairing.server.close_codes))


def test_the_log_counts_the_bytes(pairing: Pairing) -> None:
    with pairing.open() as socket:
        for _ in range(10):
            socket.send(b"x" * 1000)
            assert socket.recv() == b"x" * 1000
        socket.close()
    line = pairing.line()
    framed = 10 * (4 + 1000) + 4  # and a close frame
    masked = framed + 11 * 4
    assert (line["bytes_in"], line["bytes_out"]) == (masked, framed)
    assert (line["method"], line["status"], line["reason"]) == ("GET", 101, "")  # whatever the codecs make of it
    assert line.get("client_identity") == ("client.test" if pairing.mode.is_mutual else None)


# ---- time


def test_silence_ends_a_websocket(client: str, server: str, tmp_path: Path) -> None:
    pairing = Pairing(client, server, PLAIN, tmp_path, idle_timeout_ms=400)
    with pairing.open() as socket:
        began = time.monotonic()
        for _ in range(3):  # speaking keeps it alive
            time.sleep(0.2)
            socket.send("hello")
            assert socket.recv() == "hello"
        with pytest.raises((EOFError, ConnectionClosed)):
            socket.recv()
        assert 0.95 < time.monotonic() - began < 5
    assert pairing.line()["bytes_out"] == 3 * 7
    pairing.close()


def test_many_websockets_on_one_connection(server: str, tmp_path: Path) -> None:
    pairing = Pairing("http2", server, PLAIN, tmp_path)
    with http2_client(pairing.engine.port) as connection:
        sockets = [Http2WebSocket(connection) for _ in range(50)]
        for turn in range(3):
            for number, socket in enumerate(sockets):
                socket.send(f"{number} {turn}")
            assert [socket.recv() for socket in sockets] == [f"{number} {turn}" for number in range(50)]
        for socket in sockets:
            socket.close()
    pairing.close()


# ---- handshakes that fail


def refuse(client: Client, number: int) -> None:
    client.until(b"\r\n\r\n")
    client.send(b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno")


def test_a_refusal_is_passed_on(tmp_path: Path) -> None:
    upstream = ScriptedUpstream(refuse)
    engine = EngineThread(make_snapshot([upstream.port]))
    with pytest.raises(InvalidStatus) as refused, connect(f"ws://127.0.0.1:{engine.port}/"):
        pass
    assert (refused.value.response.status_code, refused.value.response.body) == (403, b"no")
    with http2_client(engine.port) as client, pytest.raises(AssertionError):
        Http2WebSocket(client)
    assert client.answers[1].status == 403
    upstream.close()
    engine.close()


# ---- the end of a listener


@pytest.mark.parametrize("mode", [PLAIN, MUTUAL], ids=lambda mode: mode.name)
def test_open_sockets_live_until_the_deadline_of_the_drain(mesh: Mesh, tmp_path: Path, mode: Mode) -> None:
    authority = Authority(tmp_path / "certs")
    server = Http1Server(authority.server_settings(asks_clients=mode.is_mutual) if mode.server_side else None)
    address = f"127.0.0.1:{server.port}"
    more = "drain: {timeout: 1500ms}"
    sections = {"hello": authority.service_lines(mode), "more": more}
    mesh.serve(address, **sections)
    port = free_port()
    lines = f"address: 127.0.0.1:{port}\n{authority.web_lines(mode)}"
    mesh.write("listeners:\n  extra:\n" + "".join(f"    {line}\n" for line in lines.splitlines()), "extra.yaml")
    mesh.start()
    assert authority.client.key_pem
    tls = [authority.client_settings("client") if mode.client_side else None for _ in range(2)]
    with websocket("http1", port, tls[0]) as http1, websocket("http2", port, tls[1]) as http2:
        (mesh.directory / "extra.yaml").unlink()
        began = time.monotonic()
        mesh_wait_until(lambda: "listener extra: removed, draining" in mesh.log, "the reload")
        for turn in range(4):
            for each in (http1, http2):
                each.send(f"still there? {turn}")
                assert each.recv() == f"still there? {turn}"
            time.sleep(0.1)
        for each in (http1, http2):
            with pytest.raises((EOFError, ConnectionClosed)):
                each.recv()
        assert 1 < time.monotonic() - began < 10
    server.close()
