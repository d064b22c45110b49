"""TLS from clients and to endpoints: real handshakes by Python's ssl, which is another OpenSSL than the engine's."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import ipaddress
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fastmesh import snapshot as s
from fastmesh._core import tls
from tests.engine import TIMEOUT_S, Client, EngineThread, ScriptedUpstream, make_snapshot, reply, serve, wait_until

REQUEST = b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n"
MIB = 1048576
HELLO = serve(reply(b"hello"))
CA = trustme.CA()
STRANGER = trustme.CA()
SPIFFE_ID = "spiffe://mesh.example/ns/shop/sa/cart"


def issue(
    *names: str,
    authority: trustme.CA = CA,
    subject: str = "CN=test",
    until: datetime.datetime = datetime.datetime(2100, 1, 1),
) -> s.Certificate:
    """Like trustme's issue_cert, which knows no URIs."""
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = x509.load_pem_x509_certificate(authority.cert_pem.bytes())
    signer = serialization.load_pem_private_key(authority.private_key_pem.bytes(), None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name.from_rfc4514_string(subject))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.datetime(2000, 1, 1))
        .not_valid_after(until)
        .add_extension(x509.SubjectAlternativeName([general_name(name) for name in names]), False)
        .sign(signer, hashes.SHA256())
    )
    key_pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return s.Certificate("test", certificate.public_bytes(serialization.Encoding.PEM), key_pem, names)


def general_name(name: str) -> x509.GeneralName:
    if "://" in name:
        return x509.UniformResourceIdentifier(name)
    if name[0].isdigit():
        return x509.IPAddress(ipaddress.ip_address(name))
    return x509.DNSName(name)


SITE = issue("example.org")


def pem_of(authority: trustme.CA) -> bytes:
    return authority.cert_pem.bytes()


def listener_tls(**fields: Any) -> s.ListenerTls:
    return s.ListenerTls(**{"certificate_indexes": (0,), "alpn": ("http/1.1",), **fields})


def client_settings(certificate: s.Certificate | None = None, authority: trustme.CA = CA) -> ssl.SSLContext:
    settings = ssl.create_default_context()
    authority.configure_trust(settings)
    if certificate is not None:
        load(settings, certificate)
    return settings


def server_settings(certificate: s.Certificate = SITE, clients: trustme.CA | None = None) -> ssl.SSLContext:
    settings = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    load(settings, certificate)
    if clients is not None:
        clients.configure_trust(settings)
        settings.verify_mode = ssl.CERT_REQUIRED
    return settings


def load(settings: ssl.SSLContext, certificate: s.Certificate) -> None:
    with trustme.Blob(certificate.key_pem + certificate.chain_pem).tempfile() as path:
        settings.load_cert_chain(path)


def connect(
    engine: EngineThread,
    settings: ssl.SSLContext | None = None,
    name: str | None = "example.org",
    session: ssl.SSLSession | None = None,
) -> Client:
    client = engine.connect()
    settings = settings or client_settings()
    try:
        client.sock = settings.wrap_socket(client.sock, server_hostname=name, session=session)
    except BaseException:
        client.close()
        raise
    return client


def get(client: Client, request: bytes = REQUEST) -> tuple[int, bytes]:
    client.send(request)
    response = client.response()
    return response.status, response.body


def failures(engine: EngineThread) -> dict[str, int]:
    counts = engine.shared.listener(1).tls_failures
    return {name: count for name, count in zip(tls.FAILURES, counts, strict=True) if count}


def wait_for_failure(engine: EngineThread, cause: str) -> None:
    wait_until(lambda: failures(engine) == {cause: 1}, lambda: str(failures(engine)))


def logging(snapshot: s.Snapshot) -> s.Snapshot:
    return msgspec.structs.replace(snapshot, access_log=s.AccessLog(enabled=True))


@contextlib.contextmanager
def terminated(
    script: Callable[[Client, int], None] = HELLO,
    certificates: tuple[s.Certificate, ...] = (SITE,),
    upstream_tls: ssl.SSLContext | None = None,
    service: dict[str, Any] | None = None,
    **listener_fields: Any,
) -> Iterator[tuple[EngineThread, ScriptedUpstream]]:
    """An engine with TLS towards clients, in front of a scripted upstream; nothing may be left alive."""
    upstream = ScriptedUpstream(script, upstream_tls)
    fields = {"tls": listener_tls(**listener_fields)}
    engine = EngineThread(make_snapshot([upstream.port], fields, service, certificates=certificates))
    try:
        yield engine, upstream
    finally:
        upstream.close()
        engine.close()


@contextlib.contextmanager
def originated(
    tls: s.ServiceTls,
    settings: ssl.SSLContext | None = None,
    script: Callable[[Client, int], None] = HELLO,
    certificates: tuple[s.Certificate, ...] = (),
    **service: Any,
) -> Iterator[tuple[EngineThread, ScriptedUpstream]]:
    """An engine that is plain towards clients and speaks TLS with a scripted upstream."""
    upstream = ScriptedUpstream(script, settings or server_settings())
    snapshot = make_snapshot([upstream.port], service={"tls": tls, **service}, certificates=certificates)
    engine = EngineThread(logging(snapshot))
    try:
        yield engine, upstream
    finally:
        upstream.close()
        engine.close()


def service_tls(**fields: Any) -> s.ServiceTls:
    return s.ServiceTls(**{"ca_pem": pem_of(CA), "server_name": "example.org", **fields})


def refusal(engine: EngineThread, reason: str) -> str:
    """What the log says of a request that is answered with 503 for this reason."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    engine.call(lambda engine: engine.set_access_log(writer))
    client = engine.connect()
    client.send(REQUEST)
    response = client.response()
    assert (response.status, response.headers["x-fastmesh-reason"]) == (503, reason)
    client.close()
    with open(reader) as lines:
        record = json.loads(lines.readline())
    assert record["reason"] == reason
    return str(record["detail"])


# ---- versions, names, protocols


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_both_versions_are_served(version: ssl.TLSVersion) -> None:
    settings = client_settings()
    settings.minimum_version = settings.maximum_version = version
    with terminated() as (engine, _):
        client = connect(engine, settings)
        assert client.sock.version() == {771: "TLSv1.2", 772: "TLSv1.3"}[version]
        assert [get(client) for _ in range(3)] == [(200, b"hello")] * 3
        client.close()
        assert engine.shared.listener(1).handshakes == 1


def test_an_old_version_is_refused_and_counted() -> None:
    settings = client_settings()
    settings.maximum_version = ssl.TLSVersion.TLSv1_2
    with terminated(min_version=0x0304) as (engine, _):
        with pytest.raises(ssl.SSLError, match="(?i)alert protocol version"):
            connect(engine, settings)
        wait_for_failure(engine, "protocol")


def test_the_endpoint_is_told_of_https() -> None:
    heads: list[bytes] = []

    def script(client: Client, number: int) -> None:
        heads.append(client.until(b"\r\n\r\n"))
        client.send(reply())

    with terminated(script) as (engine, _):
        client = connect(engine)
        assert get(client)[0] == 200
        client.close()
    assert b"x-forwarded-proto: https\r\n" in heads[0]


@pytest.mark.parametrize(
    ("asked", "presented"),
    [
        ("b.example.org", "b.example.org"),
        ("B.Example.ORG", "b.example.org"),
        ("anything.example.net", "*.example.net"),
        ("two.labels.example.net", "example.org"),
        ("elsewhere.test", "example.org"),
        (None, "example.org"),
    ],
)
def test_the_certificate_is_chosen_by_name(asked: str | None, presented: str) -> None:
    certificates = (SITE, issue("b.example.org"), issue("*.example.net"), issue("x.b.example.org"))
    with terminated(certificates=certificates, certificate_indexes=(0, 1, 2, 3)) as (engine, _):
        settings = client_settings()
        settings.check_hostname = False
        client = connect(engine, settings, asked)
        names = client.sock.getpeercert()["subjectAltName"]  # type: ignore[attr-defined]
        assert names == (("DNS", presented),)
        assert get(client)[0] == 200
        client.close()


@pytest.mark.parametrize(
    ("ours", "offered", "chosen"),
    [
        (("http/1.1",), ["http/1.1"], "http/1.1"),
        (("http/1.1",), ["h2", "http/1.1"], "http/1.1"),
        (("h2", "http/1.1"), ["http/1.1", "h2"], "h2"),
        (("http/1.1", "h2"), ["h2", "http/1.1"], "http/1.1"),
        (("http/1.1",), [], None),
        ((), ["h2"], None),
    ],
)
def test_the_protocol_is_chosen_by_our_preference(ours: tuple[str, ...], offered: list[str], chosen: str) -> None:
    with terminated(alpn=ours) as (engine, _):
        settings = client_settings()
        if offered:
            settings.set_alpn_protocols(offered)
        client = connect(engine, settings)
        assert client.sock.selected_alpn_protocol() == chosen  # type: ignore[attr-defined]
        client.close()


def test_nothing_in_common_is_an_alert() -> None:
    settings = client_settings()
    settings.set_alpn_protocols(["spdy/1"])
    with terminated() as (engine, _):
        with pytest.raises(ssl.SSLError, match="(?i)no application protocol"):
            connect(engine, settings)
        wait_for_failure(engine, "protocol")


def test_curl_is_served(tmp_path: Path) -> None:
    CA.cert_pem.write_to_path(tmp_path / "ca.pem")
    with terminated() as (engine, _):
        url = f"https://example.org:{engine.port}/"
        place = f"example.org:{engine.port}:127.0.0.1"
        command = ["curl", "-sS", "--cacert", str(tmp_path / "ca.pem"), "--resolve", place, "--http1.1", url, url]
        environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
        assert subprocess.check_output(command, timeout=TIMEOUT_S, env=environment) == b"hellohello"
        assert engine.shared.listener(1).handshakes == 1


# ---- clients that prove who they are


def client_heads(certificate: s.Certificate | None, **listener_fields: Any) -> bytes:
    """The head that the endpoint gets from a client with this certificate."""
    heads: list[bytes] = []

    def script(client: Client, number: int) -> None:
        heads.append(client.until(b"\r\n\r\n"))
        client.send(reply())

    fields = {"client_certificate": s.ClientCertificate.OPTIONAL, "client_ca_pem": pem_of(CA), **listener_fields}
    with terminated(script, **fields) as (engine, _):
        client = connect(engine, client_settings(certificate))
        forged = b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Client-Cert: Hash=0\r\nX_Forwarded_Client_Cert: 1\r\n\r\n"
        assert get(client, forged)[0] == 200
        client.close()
    return heads[0]


def test_an_identity_is_passed_on_when_asked() -> None:
    certificate = issue(SPIFFE_ID, "cart.shop", subject="CN=cart,O=Shop\\, Inc.")
    head = client_heads(certificate, forwards_client_certificate=True)
    der = ssl.PEM_cert_to_DER_cert(certificate.chain_pem.decode().split("-----END")[0] + "-----END CERTIFICATE-----")
    lines = [line for line in head.split(b"\r\n") if b"client" in line.lower()]
    assert len(lines) == 1
    name, value = lines[0].split(b": ", 1)
    parts = value.decode().split(";")
    assert name == b"x-forwarded-client-cert"
    assert parts[0] == f"Hash={hashlib.sha256(der).hexdigest()}"
    assert parts[1].startswith('Subject="') and parts[1].endswith('"') and "CN=cart" in parts[1]
    assert "O=Shop\\, Inc." in parts[1]
    assert parts[2:] == [f"URI={SPIFFE_ID}", "DNS=cart.shop"]


@pytest.mark.parametrize(("has_certificate", "forwards"), [(True, False), (False, True), (False, False)])
def test_a_strangers_word_is_never_passed_on(has_certificate: bool, forwards: bool) -> None:
    head = client_heads(issue("cart.shop") if has_certificate else None, forwards_client_certificate=forwards)
    assert b"client" not in head.lower()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("certificate", [None, issue("c.example.org", authority=STRANGER)], ids=["none", "stranger"])
def test_a_required_certificate_must_be_good(certificate: s.Certificate | None, version: ssl.TLSVersion) -> None:
    fields = {"client_certificate": s.ClientCertificate.REQUIRED, "client_ca_pem": pem_of(CA)}
    settings = client_settings(certificate)
    settings.maximum_version = version
    with terminated(**fields) as (engine, upstream):
        with pytest.raises(ssl.SSLError, match="(?i)alert"):
            client = connect(engine, settings)  # of TLS 1.3, the client has said all before it is refused
            try:
                get(client)
            finally:
                client.close()
        wait_for_failure(engine, "certificate")
        assert upstream.connections == 0


def test_an_optional_certificate_that_is_sent_must_be_good() -> None:
    fields = {"client_certificate": s.ClientCertificate.OPTIONAL, "client_ca_pem": pem_of(CA)}
    old = issue("c.example.org", until=datetime.datetime(2020, 1, 1))
    with terminated(**fields) as (engine, _):
        client = connect(engine, client_settings())
        assert get(client)[0] == 200
        client.close()
        with pytest.raises(ssl.SSLError, match="(?i)alert certificate expired"):
            client = connect(engine, client_settings(old))
            try:
                get(client)
            finally:
                client.close()
        wait_for_failure(engine, "certificate")


def test_a_client_that_refuses_our_certificate_is_counted() -> None:
    with terminated() as (engine, _):
        with pytest.raises(ssl.SSLCertVerificationError):
            connect(engine, client_settings(authority=STRANGER))
        wait_for_failure(engine, "alert")


# ---- clients that do not shake hands


def test_a_stalled_handshake_ends() -> None:
    with terminated(handshake_timeout_ms=200) as (engine, _):
        client = engine.connect()
        client.send(b"\x16\x03\x01")
        assert client.to_end() == b""
        client.close()
        wait_for_failure(engine, "timeout")


def test_plain_http_is_told_so() -> None:
    with terminated() as (engine, _):
        client = engine.connect()
        client.send(REQUEST)
        response = client.response()
        assert (response.status, client.to_end()) == (400, b"")
        assert b"https" in response.body
        assert response.headers["x-fastmesh-reason"] == "not_tls"
        client.close()
        wait_for_failure(engine, "not_tls")


def test_garbage_just_ends() -> None:
    with terminated() as (engine, _):
        client = engine.connect()
        client.send(b"\x00" * 100_000)
        assert client.to_end() == b""
        client.close()
        wait_for_failure(engine, "not_tls")


def test_records_without_sense_get_an_alert() -> None:
    with terminated() as (engine, _):
        client = engine.connect()
        client.send(b"\x16\x03\x01\x00\x20" + b"\xff" * 32)
        assert client.to_end()[:1] == b"\x15"
        client.close()
        wait_for_failure(engine, "protocol")


@pytest.mark.parametrize("reset", [False, True])
def test_a_client_that_leaves_in_the_midst_is_counted(reset: bool) -> None:
    with terminated() as (engine, _):
        client = engine.connect()
        client.send(b"\x16\x03\x01\x02\x00\x01")
        wait_until(lambda: engine.live()["downstream"] == 1)
        client.reset() if reset else client.close()
        wait_for_failure(engine, "closed")


def test_a_handshake_byte_by_byte() -> None:
    with terminated() as (engine, _):
        client = engine.connect()
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        session = client_settings().wrap_bio(incoming, outgoing, server_hostname="example.org")

        def step(action: Callable[[], Any]) -> Any:
            while True:
                try:
                    result = action()
                except ssl.SSLWantReadError:
                    result = None
                for byte in outgoing.read():
                    client.send(bytes([byte]))
                if result is not None:
                    return result
                incoming.write(client.receive())

        step(lambda: session.do_handshake() or True)
        session.write(REQUEST)
        assert step(lambda: session.read(65536)).startswith(b"HTTP/1.1 200")
        client.close()


# ---- bytes


def drip(client: Client, length: int) -> str:
    """The digest of what comes, read slowly at first, so that what is behind must wait."""
    digest = hashlib.sha256(client.exactly(100_000))
    time.sleep(0.2)
    left = length - 100_000
    while left:
        data = client.exactly(min(left, 65536))
        digest.update(data)
        left -= len(data)
    return digest.hexdigest()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("upstream_secured", [False, True])
def test_big_bodies_both_ways_with_slow_readers(version: ssl.TLSVersion, upstream_secured: bool) -> None:
    body = os.urandom(MIB) * 16
    digest = hashlib.sha256(body).hexdigest()

    def script(client: Client, number: int) -> None:
        client.until(b"\r\n\r\n")
        assert drip(client, len(body)) == digest
        client.send(reply(body))

    settings = client_settings()
    settings.maximum_version = version
    secured = {"upstream_tls": server_settings(), "service": {"tls": service_tls()}} if upstream_secured else {}
    with terminated(script, **secured) as (engine, _):
        client = connect(engine, settings)
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body), body)
        client.until(b"\r\n\r\n")
        assert drip(client, len(body)) == digest
        client.close()


def test_a_client_that_stops_reading_holds_the_endpoint_back() -> None:
    sent = 0
    stalled = threading.Event()

    def script(client: Client, number: int) -> None:
        nonlocal sent
        client.until(b"\r\n\r\n")
        client.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (256 * MIB))
        client.sock.settimeout(0.5)
        try:
            while sent < 256 * MIB:
                sent += client.sock.send(b"x" * MIB)
        except TimeoutError:
            stalled.set()
            client.receive()

    with terminated(script) as (engine, _):
        client = connect(engine)
        client.send(REQUEST)
        assert stalled.wait(TIMEOUT_S)
        assert sent < 64 * MIB
        client.close()


def test_pipelined_requests_in_many_records() -> None:
    with terminated() as (engine, _):
        client = connect(engine)
        client.send(*[REQUEST[at : at + 7] for at in range(0, len(REQUEST), 7)] * 1, REQUEST * 20)
        assert [client.response().status for _ in range(21)] == [200] * 21
        client.close()


def test_we_end_with_close_notify() -> None:
    with terminated() as (engine, _):
        client = connect(engine)
        client.sock.suppress_ragged_eofs = False  # type: ignore[attr-defined]
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert client.response().body == b"hello"
        assert client.to_end() == b""
        client.close()


def test_a_client_without_close_notify_is_forgiven() -> None:
    with terminated() as (engine, _):
        client = connect(engine)
        client.send(REQUEST)
        socket.socket.shutdown(client.sock, socket.SHUT_WR)
        assert client.response().body == b"hello"
        client.close()
        assert failures(engine) == {}


def test_a_websocket_like_tunnel_ends_in_halves() -> None:
    def script(client: Client, number: int) -> None:
        client.until(b"\r\n\r\n")
        client.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
        while data := client.receive():
            client.send(data.upper())

    with terminated(script, upstream_tls=server_settings(), service={"tls": service_tls()}) as (engine, _):
        client = connect(engine)
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
        assert client.until(b"\r\n\r\n").startswith(b"HTTP/1.1 101")
        client.send(b"hello")
        assert client.exactly(5) == b"HELLO"
        client.sock.unwrap()  # type: ignore[attr-defined]
        client.close()


# ---- sessions


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_clients_resume_sessions_across_reloads(version: ssl.TLSVersion) -> None:
    settings = client_settings()
    settings.maximum_version = version
    with terminated() as (engine, upstream):
        client = connect(engine, settings)
        get(client)
        session = client.sock.session  # type: ignore[attr-defined]
        client.close()
        engine.install(make_snapshot([upstream.port], {"tls": listener_tls()}, version="02", certificates=(SITE,)))
        client = connect(engine, settings, session=session)
        assert client.sock.session_reused  # type: ignore[attr-defined]
        assert get(client)[0] == 200
        client.close()
        stats = engine.shared.listener(1)
        assert (stats.handshakes, stats.handshakes_resumed) == (2, 1)


def test_an_identity_outlives_resumption() -> None:
    heads: list[bytes] = []

    def script(client: Client, number: int) -> None:
        while True:
            heads.append(client.until(b"\r\n\r\n"))
            client.send(reply())

    fields = {
        "client_certificate": s.ClientCertificate.REQUIRED,
        "client_ca_pem": pem_of(CA),
        "forwards_client_certificate": True,
    }
    settings = client_settings(issue(SPIFFE_ID))
    with terminated(script, **fields) as (engine, _):
        session = None
        for _ in range(2):
            client = connect(engine, settings, session=session)
            get(client)
            session = client.sock.session  # type: ignore[attr-defined]
            client.close()
        assert engine.shared.listener(1).handshakes_resumed == 1
    assert [SPIFFE_ID.encode() in head for head in heads] == [True, True]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_we_resume_sessions_with_endpoints(version: ssl.TLSVersion) -> None:
    reused: list[bool] = []

    def script(client: Client, number: int) -> None:
        client.until(b"\r\n\r\n")
        reused.append(client.sock.session_reused)  # type: ignore[attr-defined]
        client.send(reply(b"ok", b"Connection: close"))

    settings = server_settings()
    settings.maximum_version = version
    with originated(service_tls(), settings, script) as (engine, _):
        client = engine.connect()
        assert [get(client)[0] for _ in range(3)] == [200] * 3
        client.close()
    assert reused == [False, True, True]


# ---- endpoints that prove who they are


@pytest.mark.parametrize("protocol", [s.Protocol.HTTP1])
def test_an_endpoint_is_reached_by_tls(protocol: s.Protocol) -> None:
    seen: list[tuple[Any, ...]] = []
    settings = server_settings()
    settings.set_alpn_protocols(["h2", "http/1.1"])
    settings.sni_callback = lambda sock, name, _: seen.append((name,))

    def script(client: Client, number: int) -> None:
        seen.append((client.sock.version(), client.sock.selected_alpn_protocol()))  # type: ignore[attr-defined]
        serve(reply(b"hello"))(client, number)

    with originated(service_tls(), settings, script, protocol=protocol) as (engine, upstream):
        client = engine.connect()
        assert [get(client) for _ in range(3)] == [(200, b"hello")] * 3
        client.close()
        assert upstream.connections == 1
    assert seen == [("example.org",), ("TLSv1.3", "http/1.1")]


@pytest.mark.parametrize(
    ("certificate", "fields", "detail"),
    [
        (issue("other.org"), {}, "certificate verify failed: hostname mismatch"),
        (SITE, {"ca_pem": pem_of(STRANGER)}, "certificate verify failed: unable to get local issuer certificate"),
        (SITE, {"server_name": ""}, "certificate verify failed: IP address mismatch"),
        (issue(SPIFFE_ID), {"spiffe_ids": ("spiffe://mesh.example/other",)}, "SPIFFE id mismatch"),
        (SITE, {"spiffe_ids": (SPIFFE_ID,)}, "SPIFFE id mismatch"),
        (
            issue("example.org", until=datetime.datetime(2020, 1, 1)),
            {},
            "certificate verify failed: certificate has expired",
        ),
    ],
    ids=["name", "authority", "address", "spiffe", "no-spiffe", "expired"],
)
def test_an_endpoint_that_fails_to_prove_itself(
    certificate: s.Certificate, fields: dict[str, Any], detail: str
) -> None:
    with originated(service_tls(**fields), server_settings(certificate)) as (engine, _):
        assert detail in refusal(engine, "upstream_tls")
        assert engine.shared.endpoint(1).connect_failures == engine.shared.service(1).connect_failures == 2


@pytest.mark.parametrize(
    ("certificate", "fields"),
    [
        (issue("127.0.0.1"), {"server_name": ""}),
        (issue(SPIFFE_ID), {"spiffe_ids": ("spiffe://mesh.example/other", SPIFFE_ID)}),
        (issue("other.org", authority=STRANGER), {"verifies": False}),
    ],
    ids=["address", "spiffe", "unverified"],
)
def test_an_endpoint_that_proves_enough(certificate: s.Certificate, fields: dict[str, Any]) -> None:
    with originated(service_tls(**fields), server_settings(certificate)) as (engine, _):
        client = engine.connect()
        assert get(client) == (200, b"hello")
        client.close()


def test_we_prove_ourselves_to_an_endpoint() -> None:
    subjects: list[Any] = []

    def script(client: Client, number: int) -> None:
        subjects.append(client.sock.getpeercert()["subjectAltName"])  # type: ignore[attr-defined]
        serve(reply())(client, number)

    ours = issue("mesh.example.org")
    settings = server_settings(clients=CA)
    with originated(service_tls(certificate_index=0), settings, script, (ours,)) as (engine, _):
        client = engine.connect()
        assert get(client)[0] == 200
        client.close()
    assert subjects == [(("DNS", "mesh.example.org"),)]


def test_an_endpoint_that_refuses_us() -> None:
    with originated(service_tls(), server_settings(clients=CA)) as (engine, _):
        client = engine.connect()
        client.send(REQUEST)
        assert client.response().status in (502, 503)  # of TLS 1.3, it refuses after the handshake
        client.close()


def test_an_endpoint_that_speaks_no_tls() -> None:
    plain = ScriptedUpstream(lambda client, _: client.send(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
    engine = EngineThread(logging(make_snapshot([plain.port], service={"tls": service_tls()})))
    try:
        assert refusal(engine, "upstream_tls") == "the peer does not speak TLS"
    finally:
        plain.close()
        engine.close()


def test_an_endpoint_that_stalls_in_the_handshake() -> None:
    silent = ScriptedUpstream(lambda client, _: client.receive() and client.receive() and None)
    engine = EngineThread(make_snapshot([silent.port], service={"tls": service_tls(), "connect_timeout_ms": 200}))
    try:
        client = engine.connect()
        client.send(REQUEST)
        response = client.response()
        assert response.headers["x-fastmesh-reason"] == "connect_timeout"
        client.close()
    finally:
        silent.close()
        engine.close()


def test_another_endpoint_is_tried() -> None:
    good = ScriptedUpstream(serve(reply(b"hello")), server_settings())
    bad = ScriptedUpstream(serve(reply(b"bad")), server_settings(issue("other.org")))
    engine = EngineThread(make_snapshot([bad.port, good.port], service={"tls": service_tls()}))
    try:
        client = engine.connect()
        assert [get(client) for _ in range(4)] == [(200, b"hello")] * 4
        client.close()
    finally:
        good.close()
        bad.close()
        engine.close()


@pytest.mark.parametrize("says_so", [True, False])
def test_a_body_to_the_end_of_the_connection_needs_close_notify(says_so: bool) -> None:
    def script(client: Client, number: int) -> None:
        client.until(b"\r\n\r\n")
        client.send(b"HTTP/1.1 200 OK\r\n\r\npart")
        if says_so:
            client.sock.unwrap()  # type: ignore[attr-defined]
        else:
            client.sock.shutdown(socket.SHUT_RDWR)

    with originated(service_tls(), None, script) as (engine, _):
        client = engine.connect()
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        if says_so:
            assert client.response().body == b"part"
        else:
            with pytest.raises((EOFError, ConnectionResetError)):
                client.response()
        client.close()


# ---- reloads


def test_a_new_certificate_serves_new_handshakes_while_an_old_connection_lives_on() -> None:
    renewed = issue("example.org")
    with terminated() as (engine, upstream):
        old = connect(engine)
        before = old.sock.getpeercert(True)  # type: ignore[attr-defined]
        assert get(old)[0] == 200
        engine.install(make_snapshot([upstream.port], {"tls": listener_tls()}, version="02", certificates=(renewed,)))
        new = connect(engine)
        assert new.sock.getpeercert(True) != before  # type: ignore[attr-defined]
        assert get(old)[0] == get(new)[0] == 200
        old.close()
        new.close()


def test_a_bad_pair_is_refused_with_its_name() -> None:
    other = issue("example.org")
    wrong = s.Certificate("pair/site.pem", SITE.chain_pem, other.key_pem, ())
    with terminated() as (engine, upstream):
        with pytest.raises(ValueError, match="pair/site.pem: .*mismatch"):
            engine.install(make_snapshot([upstream.port], {"tls": listener_tls()}, certificates=(wrong,)))
        client = connect(engine)
        assert get(client)[0] == 200
        client.close()


def test_connections_under_old_settings_are_not_used_again() -> None:
    with originated(service_tls()) as (engine, upstream):
        client = engine.connect()
        for snapshot, connections in [
            (None, 1),
            (make_snapshot([upstream.port], service={"tls": service_tls()}, version="02"), 1),
            (make_snapshot([upstream.port], service={"tls": service_tls(min_version=0x0304)}, version="03"), 2),
        ]:
            if snapshot is not None:
                engine.install(snapshot)
            assert get(client)[0] == 200
            assert upstream.connections == connections
        engine.install(make_snapshot([upstream.port], service={"tls": service_tls(ca_pem=pem_of(STRANGER))}))
        assert get(client)[0] == 503
        client.close()


# ---- memory

CLIENTS = """
import socket, ssl, sys
port, count, ca = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
settings = ssl.create_default_context(cafile=ca)
clients = []
for _ in range(count):
    sock = socket.create_connection(("127.0.0.1", port))
    clients.append(settings.wrap_socket(sock, server_hostname="example.org"))
    clients[-1].sendall(b"GET / HTTP/1.1\\r\\nHost: example.org\\r\\n\\r\\n")
    assert clients[-1].recv(65536)
print("ready", flush=True)
sys.stdin.read()
"""


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


@pytest.mark.skipif("LD_PRELOAD" in os.environ, reason="sanitizers keep memory of their own")
def test_an_idle_connection_costs_little(tmp_path: Path) -> None:
    CA.cert_pem.write_to_path(tmp_path / "ca.pem")
    count = 400
    with terminated() as (engine, _):
        client = connect(engine)  # what all share is made
        assert get(client)[0] == 200
        client.close()
        before = resident_bytes()
        command = [sys.executable, "-c", CLIENTS, str(engine.port), str(count), str(tmp_path / "ca.pem")]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as clients:
            assert clients.stdout is not None and clients.stdout.readline() == b"ready\n"
            assert engine.live()["downstream"] == count
            each = (resident_bytes() - before) / count
            clients.communicate(timeout=TIMEOUT_S)
    assert each < 24 * 1024, f"{each:.0f} bytes"
