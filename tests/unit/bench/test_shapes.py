"""What the macro bench configures and speaks in its rows of TLS, HTTP/2, gRPC and TCP."""

import os
import re
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived, StreamEnded

from bench.macro import certificates, mesh, peers
from bench.macro.http2_client import Http2Client, Http2Error
from bench.macro.load import WRK_TLS_MARK, WRK_TLS_SOURCE
from bench.macro.proxies import binary
from bench.macro.shapes import GRPC, HTTP2, HTTP2_BOTH, MUTUAL_TLS, PLAIN, TCP, TLS, Place, Shape
from bench.macro.work import GRPC_RESPONSE, GRPC_WORK, grpc_frame, work_of

SHAPES = (PLAIN, TLS, MUTUAL_TLS, HTTP2, HTTP2_BOTH, GRPC, TCP)


@pytest.fixture(scope="module")
def issued(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench") / "certificates"
    certificates.make(folder)
    return folder


def place(folder: Path, issued: Path, shape: Shape) -> Place:
    return Place(folder, issued, shape, port=8001, upstream_port=9001, admin_port=8002, routes=3, workers=1)


@pytest.mark.parametrize("shape", SHAPES)
def test_mesh_says_what_the_shape_says(shape: Shape, tmp_path: Path, issued: Path) -> None:
    folder = Path(mesh.write(place(tmp_path, issued, shape)))
    content = yaml.safe_load((folder / "mesh.yaml").read_text())
    (listener,) = content["listeners"].values()
    (service,) = content["services"].values()
    assert ("tcp" in listener, "routes" not in content) == (shape.downstream == "tcp",) * 2
    assert ("tls" in listener, listener.get("tls", {}).get("client_certificate")) == (
        shape.tls,
        "required" if shape.mutual else None,
    )
    assert service.get("protocol", "http1") == ("http1" if shape.upstream == "http1" else "http2")
    assert ("tls" in service) == shape.mutual
    files = {key: name for key, name in service.get("tls", {}).items() if key != "server_name"}
    files |= listener["tls"]["certificates"][0] if shape.tls else {}
    assert all((folder / name).is_file() for name in files.values())


def test_the_mesh_has_as_many_routes_as_it_is_told(tmp_path: Path, issued: Path) -> None:
    folder = Path(mesh.write(place(tmp_path, issued, PLAIN)))
    assert len(yaml.safe_load((folder / "mesh.yaml").read_text())["routes"]) == 3


@pytest.mark.parametrize("shape", SHAPES)
def test_envoy_is_yaml_with_tls_where_it_belongs(shape: Shape, tmp_path: Path, issued: Path) -> None:
    content = yaml.safe_load(peers.envoy(place(tmp_path, issued, shape)))["static_resources"]
    chain = content["listeners"][0]["filter_chains"][0]
    service = content["clusters"][0]
    assert ("transport_socket" in chain, "transport_socket" in service) == (shape.tls, shape.mutual)
    assert ("typed_extension_protocol_options" in service) == (shape.upstream != "http1")
    if shape.tls:
        tls = chain["transport_socket"]["typed_config"]
        assert tls["require_client_certificate"] is shape.mutual
        assert ("validation_context" in tls["common_tls_context"]) == shape.mutual


CHECKS: dict[str, tuple[Callable[[Place], str], tuple[str, ...], tuple[Shape, ...]]] = {
    "nginx": (peers.nginx, ("-t", "-q", "-e", "stderr", "-c"), (PLAIN, TLS, MUTUAL_TLS, HTTP2, GRPC)),
    "haproxy": (peers.haproxy, ("-c", "-q", "-f"), SHAPES),
}


@pytest.mark.parametrize(("name", "shape"), [(name, shape) for name, found in CHECKS.items() for shape in found[2]])
def test_peers_accept_their_configuration(name: str, shape: Shape, tmp_path: Path, issued: Path) -> None:
    if not binary(name):
        pytest.skip(f"no {name} here")
    write, options, _ = CHECKS[name]
    path = tmp_path / "configuration"
    path.write_text(write(place(tmp_path, issued, shape)))
    done = subprocess.run([binary(name), *options, str(path)], capture_output=True, text=True, timeout=20, check=False)
    # A test without root may not be allowed as many descriptors as a run.
    assert done.returncode == 0, done.stderr
    assert "[ALERT]" not in done.stderr


Serve = Callable[[socket.socket], None]


@contextmanager
def serving(serve: Serve) -> Iterator[int]:
    """A server of one connection in a thread; its port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(10)

        def run() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.settimeout(10)
                serve(connection)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            thread.join(10)


def serve_http2(seen: dict[str, bytes], respond: Callable[[H2Connection, int], None]) -> Serve:
    def serve(connection: socket.socket) -> None:
        state = H2Connection(H2Configuration(client_side=False, header_encoding=None))
        state.initiate_connection()
        seen["body"] = b""
        while True:
            connection.sendall(state.data_to_send())
            data = connection.recv(65536)
            if not data:
                return
            for event in state.receive_data(data):
                if isinstance(event, RequestReceived):
                    seen.update({name.decode(): value for name, value in event.headers})
                elif isinstance(event, DataReceived):
                    seen["body"] += event.data
                elif isinstance(event, StreamEnded):
                    respond(state, event.stream_id)

    return serve


def answer_grpc(state: H2Connection, stream: int) -> None:
    state.send_headers(stream, [(":status", "200"), ("content-type", "application/grpc")])
    state.send_data(stream, GRPC_RESPONSE)
    state.send_headers(stream, [("grpc-status", "0")], end_stream=True)


def test_http2_client_makes_a_grpc_call() -> None:
    seen: dict[str, bytes] = {}
    with serving(serve_http2(seen, answer_grpc)) as port:
        client = Http2Client(port)
        client.request(GRPC_WORK.path, GRPC_WORK.host, list(GRPC_WORK.headers), GRPC_WORK.body)
        client.close()
    assert (client.status, client.body, client.trailers) == (200, GRPC_RESPONSE, {"grpc-status": "0"})
    assert (seen[":method"], seen["te"], seen["content-type"]) == (b"POST", b"trailers", b"application/grpc")
    assert seen["body"] == GRPC_WORK.body == grpc_frame(GRPC_WORK.body[5:])


def test_http2_client_reports_a_reset_and_an_early_end() -> None:
    with serving(serve_http2({}, lambda state, stream: state.reset_stream(stream, 7))) as port:
        client = Http2Client(port)
        with pytest.raises(Http2Error, match="StreamReset, error code .*7"):
            client.request("/", "bench.example", [])
        client.close()
    with serving(lambda connection: None) as port:
        client = Http2Client(port)
        with pytest.raises((Http2Error, ConnectionError)):
            client.request("/", "bench.example", [])
        client.close()


def serve_tls(issued: Path, seen: dict[str, object]) -> Serve:
    """A TLS server that asks for a certificate, and notes what it gets."""
    settings = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    settings.load_cert_chain(issued / "server.pem")
    settings.load_verify_locations(issued / "ca.crt")
    settings.verify_mode = ssl.CERT_OPTIONAL

    def serve(connection: socket.socket) -> None:
        with settings.wrap_socket(connection, server_side=True) as session:
            seen.update(cipher=session.cipher(), certificate=session.getpeercert())
            session.sendall(b"done")

    return serve


@pytest.mark.parametrize("known", [True, False])
def test_certificates_are_trusted_and_only_the_known_show_one(issued: Path, known: bool) -> None:
    seen: dict[str, object] = {}
    settings = certificates.client_settings(issued, known=known)
    with (
        serving(serve_tls(issued, seen)) as port,
        socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
        settings.wrap_socket(plain, server_hostname="localhost") as session,
    ):
        assert (session.recv(4), session.version()) == (b"done", "TLSv1.3")
    assert bool(seen["certificate"]) is known
    assert (issued / "server.key").stat().st_mode & 0o077 == 0


CLIENT = """\
import socket, ssl, sys
settings = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
settings.check_hostname, settings.verify_mode = False, ssl.CERT_NONE
with settings.wrap_socket(socket.create_connection(("127.0.0.1", int(sys.argv[1])))) as session:
    assert session.recv(4) == b"done"
"""


@pytest.mark.parametrize("known", [True, False])
def test_wrk_library_chooses_cipher_and_certificate(issued: Path, tmp_path: Path, known: bool) -> None:
    if not binary("wrk_tls"):
        pytest.skip("no C compiler here")
    openssl = re.search(r"\S*/libssl\S*\.so\S*", Path("/proc/self/maps").read_text())
    if openssl is None:
        pytest.skip("this Python's OpenSSL is no shared library, so it cannot stand in for wrk")
    library = tmp_path / "wrk_tls.so"
    flags = ["-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    subprocess.run([binary("wrk_tls"), *flags, "-o", str(library), str(WRK_TLS_SOURCE), "-ldl"], check=True)
    # wrk is linked with OpenSSL, Python loads it later. What is preloaded already (by sanitizers) has to come first.
    preloaded = filter(None, [os.environ.get("LD_PRELOAD"), str(library), openssl[0]])
    environment = {**os.environ, "LD_PRELOAD": " ".join(preloaded)}
    if known:
        environment |= {"WRK_CERTIFICATE": str(issued / "client.crt"), "WRK_KEY": str(issued / "client.key")}
    seen: dict[str, object] = {}
    with serving(serve_tls(issued, seen)) as port:
        command = [sys.executable, "-c", CLIENT, str(port)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert WRK_TLS_MARK in done.stderr
    assert seen["cipher"] == ("TLS_AES_128_GCM_SHA256", "TLSv1.3", 128)
    assert bool(seen["certificate"]) is known


def test_the_work_of_a_shape() -> None:
    assert (work_of(PLAIN).connections, work_of(PLAIN).streams) == (64, 1)
    assert (work_of(HTTP2).connections, work_of(HTTP2).streams, work_of(HTTP2).body) == (8, 16, b"")
    assert work_of(GRPC) is GRPC_WORK
    assert [shape.tools for shape in (TLS, HTTP2, GRPC)] == [(), ("h2load",), ("h2load", "nghttpd")]
