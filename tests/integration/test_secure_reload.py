"""Certificates renewed, TLS switched on and protocols changed under traffic: no request fails."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import h2.exceptions
import pytest
from cryptography import x509

from tests.engine import Client, ScriptedUpstream
from tests.http2_peers import Http2Client, Http2Endpoint, get
from tests.mesh import Mesh, wait_until
from tests.secure import NAME, PLAIN, TERMINATED, Authority, Mode


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    authority = Authority(tmp_path / "certs")
    assert authority.web.key_pem
    return authority


class Server:
    """An endpoint that speaks HTTP/1.1 and HTTP/2, plain and over TLS, told apart by how its client begins, and answers
    with what it is spoken to."""

    def __init__(self, authority: Authority) -> None:
        self._settings = authority.server_settings(("h2", "http/1.1"))
        self._upstream = ScriptedUpstream(self._serve)
        self.address = f"127.0.0.1:{self._upstream.port}"

    def _serve(self, client: Client, number: int) -> None:
        first = client.sock.recv(1, socket.MSG_PEEK)
        speaks_http2 = first == b"P"
        transport = "plain"
        if first == b"\x16":
            client.sock = secured = self._settings.wrap_socket(client.sock, server_side=True)
            speaks_http2 = secured.selected_alpn_protocol() == "h2"
            transport = "tls"
        if speaks_http2:
            self._serve_http2(client, number, f"{transport} http2".encode())
        elif first:
            self._serve_http1(client, f"{transport} http1".encode())

    def _serve_http1(self, client: Client, answer: bytes) -> None:
        while True:
            client.until(b"\r\n\r\n")
            client.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(answer), answer))

    def _serve_http2(self, client: Client, number: int, answer: bytes) -> None:
        peer = Http2Endpoint(client, number)
        peer.on_request = lambda peer, request: peer.reply(request.stream_id, answer)
        with contextlib.suppress(h2.exceptions.ProtocolError):
            peer.serve()

    def close(self) -> None:
        self._upstream.close()


@pytest.fixture
def server(authority: Authority) -> Iterator[Server]:
    server = Server(authority)
    yield server
    server.close()


class Traffic:
    """Clients of HTTP/1.1 and HTTP/2, over TLS if settings are given, on kept and on new connections, until told to
    stop. Whatever fails is noted; nobody tries twice."""

    def __init__(self, port: int, authority: Authority | None = None) -> None:
        self.answers: list[bytes] = []
        self.failures: list[str] = []
        self.certificates: set[int] = set()
        self._port = port
        self._authority = authority
        self._stopped = threading.Event()
        kinds = [self._send_http1] * 3 + [self._send_http2] * 3
        self._threads = [
            threading.Thread(target=self._repeat, args=(kind, number % 3 != 0), daemon=True)
            for number, kind in enumerate(kinds)
        ]

    def __enter__(self) -> Traffic:
        for thread in self._threads:
            thread.start()
        self.more(30)
        return self

    def __exit__(self, *error: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join(20)
        assert not self.failures, f"{len(self.failures)} of {len(self.answers)}: {self.failures[:5]}"

    def more(self, requests: int) -> None:
        goal = len(self.answers) + requests
        wait_until(lambda: len(self.answers) >= goal or self.failures, f"{requests} more answers")

    def until(self, answer: bytes) -> None:
        """Wait until all that comes is this answer."""
        wait_until(lambda: set(self.answers[-30:]) == {answer} or self.failures, f"answers {answer!r}")

    def _repeat(self, send: Callable[[socket.socket, bool], None], keeps: bool) -> None:
        while not self._stopped.is_set():
            try:
                with self._connect("h2" if send == self._send_http2 else "http/1.1") as sock:
                    send(sock, keeps)
            except (OSError, EOFError, http.client.HTTPException, AssertionError) as error:
                self.failures.append(f"{send.__name__}: {error!r}")
                return

    def _connect(self, protocol: str) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", self._port), 20)
        if self._authority is None:
            return sock
        secured = self._authority.client_settings(alpn=(protocol,)).wrap_socket(sock, server_hostname=NAME)
        certificate = secured.getpeercert(binary_form=True)
        assert certificate is not None and secured.selected_alpn_protocol() == protocol
        self.certificates.add(x509.load_der_x509_certificate(certificate).serial_number)
        return secured

    def _send_http1(self, sock: socket.socket, keeps: bool) -> None:
        client = Client(sock)
        while not self._stopped.is_set():
            client.send(b"GET / HTTP/1.1\r\nHost: mesh.test\r\n\r\n")
            response = client.response()
            assert response.status == 200, response
            self.answers.append(response.body)
            time.sleep(0.001)
            if not keeps or response.headers.get("connection") == "close":
                return

    def _send_http2(self, sock: socket.socket, keeps: bool) -> None:
        client = Http2Client(sock)
        while not self._stopped.is_set():
            streams = [client.request(get()) for _ in range(4)]
            for stream_id in streams:
                answer = client.answer(stream_id)
                assert (answer.status, answer.reset) == (200, None), answer
                self.answers.append(answer.body)
            if not keeps or client.goaways:
                return


def test_certificates_are_renewed_under_load(mesh: Mesh, authority: Authority, server: Server) -> None:
    mesh.serve(server.address, web=authority.web_lines(TERMINATED))
    mesh.start()
    with Traffic(mesh.port, authority) as traffic:
        for _ in range(3):
            serial = x509.load_pem_x509_certificate(authority.issue("web", "web.test").chain_pem).serial_number
            wait_until(lambda serial=serial: serial in traffic.certificates or traffic.failures, "the new certificate")
            traffic.more(50)
    assert len(traffic.certificates) == 4


@pytest.mark.parametrize("mode", [PLAIN, TERMINATED], ids=lambda mode: mode.name)
def test_an_endpoint_is_spoken_to_in_other_ways(mesh: Mesh, authority: Authority, server: Server, mode: Mode) -> None:
    tls = f"tls: {{ca: {authority.ca}, server_name: server.test}}"
    ways = {
        "": b"plain http1",
        "protocol: http2": b"plain http2",
        f"protocol: http2\n{tls}": b"tls http2",
        f"protocol: http1\n{tls}": b"tls http1",
        f"protocol: auto\n{tls}": b"tls http2",
        "protocol: http1": b"plain http1",
    }
    web = authority.web_lines(mode)
    mesh.serve(server.address, web=web)
    mesh.start()
    with Traffic(mesh.port, authority if mode.client_side else None) as traffic:
        for lines, answer in ways.items():
            mesh.serve(server.address, web=web, hello=lines)
            traffic.until(answer)


def test_tls_is_switched_on_for_clients_step_by_step(mesh: Mesh, authority: Authority, server: Server) -> None:
    """Plain clients, then both, then TLS alone: the way of a migration."""
    mesh.serve(server.address)
    mesh.start()
    web = authority.web_lines(TERMINATED)
    with Traffic(mesh.port) as plain:
        mesh.serve(server.address, web=web.replace("tls: {", "tls: {optional: true, "))
        wait_until(lambda: takes_tls(mesh, authority), "TLS")
        with Traffic(mesh.port, authority) as secured:
            plain.more(50)
            secured.more(50)
    with Traffic(mesh.port, authority) as secured:
        mesh.serve(server.address, web=web)
        wait_until(lambda: not takes_plain(mesh), "the end of plain clients")
        secured.more(50)


def takes_tls(mesh: Mesh, authority: Authority) -> bool:
    """Whether every worker does, as far as ten connections tell."""
    for _ in range(10):
        try:
            with socket.create_connection(("127.0.0.1", mesh.port), 10) as sock:
                authority.client_settings().wrap_socket(sock, server_hostname=NAME).close()
        except OSError:
            return False
    return True


def takes_plain(mesh: Mesh) -> bool:
    return any(mesh.get().status == 200 for _ in range(10))
