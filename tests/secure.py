"""Certificates for tests of TLS: an authority of the test's own, and what it issued, in files that everybody can read.

Every certificate is good for `NAME`, 127.0.0.1 and names of its own.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import grpc
import trustme

from fastmesh import snapshot as s

NAME = "mesh.test"


@dataclass
class Mode:
    """Which of the two sides of a mesh are secured; `is_mutual`: with certificates of both peers."""

    name: str
    client_side: bool = False
    server_side: bool = False
    is_mutual: bool = False


PLAIN = Mode("plain")
TERMINATED = Mode("terminated", client_side=True)
ORIGINATED = Mode("originated", server_side=True)
MUTUAL = Mode("mutual", client_side=True, server_side=True, is_mutual=True)
MODES = [PLAIN, TERMINATED, ORIGINATED, MUTUAL]


class Authority:
    """Issues certificates. With a folder, they are written there: ca.crt, NAME.crt, NAME.key."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._ca = trustme.CA()
        self._ca.cert_pem.write_to_path(str(self.ca))

    @property
    def ca(self) -> Path:
        return self.folder / "ca.crt"

    def chain(self, name: str) -> Path:
        return self.folder / f"{name}.crt"

    def key(self, name: str) -> Path:
        return self.folder / f"{name}.key"

    def issue(self, name: str, *names: str) -> s.Certificate:
        """A new pair under that name; the key first, each file at once, as tools that renew certificates do it."""
        pair = self._ca.issue_cert(*(names or (f"{name}.test",)), NAME, "127.0.0.1")
        chain = b"".join(blob.bytes() for blob in pair.cert_chain_pems)
        for path, data in ((self.key(name), pair.private_key_pem.bytes()), (self.chain(name), chain)):
            beside = path.with_suffix(".new")
            beside.write_bytes(data)
            beside.rename(path)
        return s.Certificate(name, chain, pair.private_key_pem.bytes(), (*names, NAME, "127.0.0.1"))

    @cached_property
    def web(self) -> s.Certificate:
        """The mesh's own."""
        return self.issue("web", "web.test")

    @cached_property
    def server(self) -> s.Certificate:
        return self.issue("server", "server.test")

    @cached_property
    def client(self) -> s.Certificate:
        return self.issue("client", "client.test")

    # ---- what peers use

    def client_settings(self, name: str = "", alpn: tuple[str, ...] = ()) -> ssl.SSLContext:
        settings = ssl.create_default_context(cafile=self.ca)
        if name:
            settings.load_cert_chain(self.chain(name), self.key(name))
        if alpn:
            settings.set_alpn_protocols(list(alpn))
        return settings

    def server_settings(self, alpn: tuple[str, ...] = (), asks_clients: bool = False) -> ssl.SSLContext:
        settings = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        assert self.server.key_pem
        settings.load_cert_chain(self.chain("server"), self.key("server"))
        if asks_clients:
            settings.load_verify_locations(self.ca)
            settings.verify_mode = ssl.CERT_REQUIRED
        if alpn:
            settings.set_alpn_protocols(list(alpn))
        return settings

    def channel_credentials(self, mode: Mode) -> grpc.ChannelCredentials:
        if not mode.is_mutual:
            return grpc.ssl_channel_credentials(self.ca.read_bytes())
        return grpc.ssl_channel_credentials(self.ca.read_bytes(), self.client.key_pem, self.client.chain_pem)

    def server_credentials(self, mode: Mode) -> grpc.ServerCredentials | None:
        if not mode.server_side:
            return None
        pairs = [(self.server.key_pem, self.server.chain_pem)]
        return grpc.ssl_server_credentials(pairs, self.ca.read_bytes() if mode.is_mutual else None, mode.is_mutual)

    # ---- what a snapshot says

    def listener_tls(self, mode: Mode) -> s.ListenerTls | None:
        if not mode.client_side:
            return None
        asks = s.ClientCertificate.REQUIRED if mode.is_mutual else s.ClientCertificate.NONE
        return s.ListenerTls((0,), asks, self.ca.read_bytes() if mode.is_mutual else b"")

    def service_tls(self, mode: Mode) -> s.ServiceTls | None:
        if not mode.server_side:
            return None
        certificate_index = 0 if mode.is_mutual else -1
        return s.ServiceTls(self.ca.read_bytes(), server_name="server.test", certificate_index=certificate_index)

    # ---- what a configuration says

    def web_lines(self, mode: Mode) -> str:
        """Lines of a listener."""
        if not mode.client_side:
            return ""
        assert self.web.key_pem
        asks = f", client_certificate: required, client_ca: {self.ca}" if mode.is_mutual else ""
        return f"tls: {{certificates: {{certificate: {self.chain('web')}, key: {self.key('web')}}}{asks}}}\n"

    def service_lines(self, mode: Mode) -> str:
        """Lines of a service."""
        if not mode.server_side:
            return ""
        assert self.web.key_pem
        shows = f", certificate: {self.chain('web')}, key: {self.key('web')}" if mode.is_mutual else ""
        return f"tls: {{ca: {self.ca}, server_name: server.test{shows}}}\n"
