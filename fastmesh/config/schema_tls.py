"""The language of TLS: what a listener shows and asks for, and how connections to endpoints are secured."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from fastmesh.config.fields import Flaw, Mapping, OneOrMany
from fastmesh.config.scalars import Alpn, Bool, FileName, ServerName, SpiffeId, TlsVersion, one_of

TLS_1_2, TLS_1_3 = 0x0303, 0x0304
CIPHERS = (
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
    "ECDHE-ECDSA-AES128-SHA256",
    "ECDHE-RSA-AES128-SHA256",
    "ECDHE-ECDSA-AES256-SHA384",
    "ECDHE-RSA-AES256-SHA384",
)
"""Those with forward secrecy. The last four, without authenticated encryption, are for old clients only."""


class KeyPair(Mapping, frozen=True):
    """A certificate and its key. A change of the files takes effect at once; a pair that does not fit is refused."""

    certificate: Annotated[
        FileName, Meta(description="A PEM file: the certificate, then the ones that vouch for it, without the root.")
    ]
    key: Annotated[FileName, Meta(description="A PEM file with the private key, without a passphrase.")]


class ListenerTls(Mapping, frozen=True):
    """How a listener terminates TLS. Versions are 1.2 and 1.3, ciphers those with forward secrecy."""

    certificates: Annotated[
        list[KeyPair],
        OneOrMany(),
        Meta(
            description="The one whose names fit what the client asks for (SNI): exact names before wildcards; else the"
            " first."
        ),
    ]
    client_certificate: Annotated[
        Annotated[str, one_of("none", "optional", "required")],
        Meta(
            description="`optional`: verified if the client has one. `required`: a client without one is refused. A"
            " certificate that `client_ca` did not issue is always refused."
        ),
    ] = "none"
    client_ca: Annotated[FileName | None, Meta(description="A PEM file: who issues the certificates of clients.")] = (
        None
    )
    min_version: Annotated[TlsVersion, Meta(description="The oldest version of TLS.")] = TLS_1_2
    ciphers: Annotated[
        list[Annotated[str, one_of(*CIPHERS)]],
        Meta(
            description="For TLS 1.2, by preference. Without it: those with forward secrecy and authenticated"
            " encryption."
        ),
    ] = []
    alpn: Annotated[
        list[Alpn],
        Meta(description="What is offered, by preference. Without it: what `protocol` stands for; for TCP nothing."),
    ] = []
    optional: Annotated[
        Bool,
        Meta(
            description="`true`: plain clients are served too, told apart by their first byte, certificates of clients"
            " notwithstanding. For migrations."
        ),
    ] = False
    forward_client_certificate: Annotated[
        Bool,
        Meta(
            description="`true`: services are told whose certificate was verified, by `X-Forwarded-Client-Cert`. What a"
            " client writes there itself is removed in any case."
        ),
    ] = False

    def flaw(self) -> Flaw | None:
        """Whoever is asked for a certificate can be verified, and what is verified is asked for."""
        if self.client_certificate != "none" and self.client_ca is None:
            return Flaw("client_certificate", f"{self.client_certificate}, but nothing says who issues them",
                        "add client_ca")  # fmt: skip
        if self.client_certificate == "none":
            hint = "write client_certificate: required, or optional"
            if self.client_ca is not None:
                return Flaw("client_ca", "clients are not asked for a certificate", hint)
            if self.forward_client_certificate:
                return Flaw("forward_client_certificate", "clients are not asked for a certificate", hint)
        if self.ciphers and self.min_version >= TLS_1_3:
            return Flaw("ciphers", "they are for TLS 1.2, which min_version excludes", "remove one of the two")
        return None


class ServiceTls(Mapping, frozen=True):
    """How connections to endpoints are secured. `{}`: with TLS, verified by the CAs of the system."""

    ca: Annotated[
        FileName | None,
        Meta(description="A PEM file: who issues the certificates of endpoints. Without it: the CAs of the system."),
    ] = None
    server_name: Annotated[
        ServerName | None,
        Meta(
            description="The name that is asked for (SNI) and verified. Without it: the host of the endpoints'"
            " addresses, if they are names, else their IP addresses. With `discover`, this or `spiffe_ids` is needed."
        ),
    ] = None
    spiffe_ids: Annotated[
        list[SpiffeId],
        Meta(description="Endpoints must have one of these identities; their names are not verified then."),
    ] = []
    certificate: Annotated[
        FileName | None, Meta(description="A PEM file: the certificate that is shown to endpoints that ask for one.")
    ] = None
    key: Annotated[FileName | None, Meta(description="A PEM file with its private key, without a passphrase.")] = None
    verify: Annotated[
        Bool,
        Meta(description="`false`: whoever answers is believed. Encryption alone keeps out nobody who can answer."),
    ] = True
    min_version: Annotated[TlsVersion, Meta(description="The oldest version of TLS.")] = TLS_1_2

    def flaw(self) -> Flaw | None:
        """A certificate has its key; what is not verified needs nobody to vouch for it."""
        if (self.certificate is None) != (self.key is None):
            written, missing = ("key", "certificate") if self.certificate is None else ("certificate", "key")
            return Flaw(written, f"{missing} is missing", "a certificate and its key stand together")
        if not self.verify and (self.ca is not None or self.spiffe_ids):
            field = "ca" if self.ca is not None else "spiffe_ids"
            return Flaw(field, "nothing is verified", "remove it, or verify: false")
        return None
