"""Certificates of a mesh that runs: renewed, refused, watched, shown; and keys, which are not."""

import http.client
import re
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cryptography import x509

from tests import pems
from tests.mesh import ROOT, Mesh, free_port, wait_until

DAY_S = 86_400


@pytest.fixture
def certificates(mesh) -> Path:
    """A folder beside the configuration directory."""
    folder = mesh.directory.parent / "certs"
    pems.write_pair(folder, "web", 0)
    (folder / "ca.crt").write_bytes(pems.ca_pem())
    return folder


@pytest.fixture
def tls_port() -> int:
    return free_port()


@pytest.fixture
def secure(mesh, upstream, certificates, tls_port) -> Mesh:
    """A mesh that runs, with a listener for TLS besides the plain one."""
    mesh.serve(upstream.address)
    mesh.write(
        "listeners:\n  secure:\n"
        f"    address: 127.0.0.1:{tls_port}\n"
        "    tls:\n      certificates: {certificate: ../certs/web.crt, key: ../certs/web.key}\n"
        "      client_certificate: optional\n      client_ca: ../certs/ca.crt\n",
        "secure.yaml",
    )
    return mesh.start()


def names(mesh: Mesh) -> list[str]:
    return [name for each in mesh.status()["certificates"] for name in each["names"]]


def expiry_metric(mesh: Mesh, name: str) -> float:
    found = re.search(
        rf'^fastmesh_certificate_expiry_timestamp_seconds{{certificate="{re.escape(name)}"}} (\S+)$',
        mesh.admin("/metrics").text,
        re.MULTILINE,
    )
    assert found is not None
    return float(found[1])


def connect(port: int, *pair: Path) -> ssl.SSLSocket:
    unverified = ssl._create_unverified_context()
    if pair:
        unverified.load_cert_chain(*pair)
    return unverified.wrap_socket(socket.create_connection(("127.0.0.1", port), 10))


def shown_to(client: ssl.SSLSocket) -> list[str]:
    """The names in the certificate that a client was shown."""
    der = client.getpeercert(binary_form=True)
    assert der is not None
    names = x509.load_der_x509_certificate(der).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return names.value.get_values_for_type(x509.DNSName)


def ask(client: ssl.SSLSocket) -> bytes:
    client.sendall(b"GET / HTTP/1.1\r\nHost: web.local\r\n\r\n")
    answer = http.client.HTTPResponse(client)
    answer.begin()
    return b"%d %s" % (answer.status, answer.read())


def new_client_is_shown(port: int) -> list[str]:
    with connect(port) as client:
        return shown_to(client)


def test_new_connections_are_shown_the_new_certificate_and_old_ones_live_on(secure, certificates, tls_port):
    with connect(tls_port) as old:
        assert shown_to(old) == ["web.local"]
        assert ask(old).startswith(b"200 ")
        pems.write_pair(certificates, "web", 1, ("new.local",))
        wait_until(lambda: new_client_is_shown(tls_port) == ["new.local"], "the new certificate")
        assert ask(old).startswith(b"200 ")
    (certificates / "web.key").write_bytes(pems.key_pem(0))
    wait_until(lambda: secure.status()["problems"]["stale"], "the error")
    assert {tuple(new_client_is_shown(tls_port)) for _ in range(10)} == {("new.local",)}


def test_routes_go_by_who_the_client_is(mesh, start_upstream, certificates, tls_port):
    pems.write_pair(certificates, "me", 1, ("me.local",))
    for_me, for_all = start_upstream("for me"), start_upstream("for all")
    mesh.write(
        "admin: {address: 127.0.0.1:{admin_port}}\nlisteners:\n  secure:\n"
        f"    address: 127.0.0.1:{tls_port}\n"
        "    tls:\n      certificates: {certificate: ../certs/web.crt, key: ../certs/web.key}\n"
        "      client_certificate: optional\n      client_ca: ../certs/ca.crt\n"
        f"services:\n  me: {{endpoints: [{for_me.address}]}}\n  all: {{endpoints: [{for_all.address}]}}\n"
        "routes:\n  all: {to: all}\n  me: {match: {client: {dns: me.local}}, to: me}\n"
    )
    mesh.start()
    with connect(tls_port) as stranger:
        assert ask(stranger).endswith(b"for all")
    with connect(tls_port, certificates / "me.crt", certificates / "me.key") as known:
        assert ask(known).endswith(b"for me")


def test_renewed_certificates_take_effect(secure, certificates):
    before = expiry_metric(secure, "../certs/web.crt")
    assert abs(before - time.time() - 265 * DAY_S) < DAY_S
    version = secure.version()
    pems.write_pair(certificates, "web", 1, ("new.local",), days_left=300)
    wait_until(lambda: names(secure) == ["new.local"], "the new certificate")
    wait_until(lambda: not secure.status()["problems"]["stale"], "the end of problems")
    assert secure.version() != version
    assert abs(expiry_metric(secure, "../certs/web.crt") - time.time() - 300 * DAY_S) < DAY_S
    assert secure.get().status == 200


def test_a_bad_pair_keeps_the_old_one(secure, certificates):
    version = secure.version()
    (certificates / "web.key").write_bytes(pems.key_pem(1))
    wait_until(lambda: secure.status()["problems"]["stale"], "the error")
    (problem,) = secure.status()["problems"]["errors"]
    assert problem["file"].endswith("secure.yaml")
    assert problem["line"] == 5
    assert "'../certs/web.key': the key does not belong to the certificate" in problem["message"]
    assert "secure.yaml:5:" in secure.log
    assert secure.version() == version
    assert names(secure) == ["web.local"]
    assert secure.get().status == 200
    (certificates / "web.key").write_bytes(pems.key_pem(0))
    wait_until(lambda: not secure.status()["problems"]["stale"], "the old pair")
    assert secure.version() == version


def test_certificates_that_end_soon_are_named(secure, certificates):
    assert "expires on" not in secure.log
    pems.write_pair(certificates, "web", 0, days_before=90, days_left=3)
    wait_until(lambda: "secure.yaml:5:" in secure.log, "the warning")
    assert re.search(r"WARNING.*'../certs/web.crt': it expires on .* UTC, in 2 days", secure.log, re.IGNORECASE)
    wait_until(lambda: secure.status()["certificates"][0]["phase"] == "expires soon")
    assert [each["severity"] for each in secure.status()["problems"]["warnings"]] == ["warning"]


def test_no_key_is_shown_anywhere(secure, certificates):
    (certificates / "web.crt").write_bytes(pems.key_pem(0))
    wait_until(lambda: secure.status()["problems"]["stale"], "the error")
    paths = (
        "/status",
        "/config",
        "/config/errors",
        "/config/history",
        "/certificates",
        "/listeners",
        "/services/hello",
    )
    shown = [secure.admin(path).text for path in paths] + [secure.log, secure.output]
    for options in (("check", str(secure.directory)), ("check", "--json", str(secure.directory)),
                    ("status", str(secure.directory)), ("status", "--json", str(secure.directory))):  # fmt: skip
        ended = subprocess.run(
            [sys.executable, "-m", "fastmesh", *options], cwd=ROOT, capture_output=True, text=True, check=False
        )
        shown.append(ended.stdout + ended.stderr)
    assert "web.crt" in shown[-2]
    for line in pems.key_pem(0).decode().splitlines()[1:-1]:
        assert all(line not in text for text in shown)


def test_a_mesh_does_not_start_without_its_certificates(mesh, upstream, certificates):
    (certificates / "web.key").unlink()
    mesh.serve(upstream.address, hello="tls: {certificate: ../certs/web.crt, key: ../certs/web.key}")
    mesh.start(wait=False)
    assert mesh.process.wait(20) == 1
    assert "services.hello.tls.key: '../certs/web.key': the file cannot be read: no such file or directory" in mesh.log
