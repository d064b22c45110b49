"""The TLS of checks: what the data plane asks of an endpoint, by the standard library's ssl."""

from __future__ import annotations

import os
import ssl
from functools import lru_cache
from typing import Any

from fastmesh.snapshot import Certificate, ServiceTls

_VERSIONS = {0x0303: ssl.TLSVersion.TLSv1_2, 0x0304: ssl.TLSVersion.TLSv1_3}


@lru_cache(maxsize=256)
def client_security(tls: ServiceTls, certificate: Certificate | None, protocol: str) -> ssl.SSLContext:
    """For connections to endpoints of a service; `protocol`: what ALPN offers. Raises ssl.SSLError, OSError."""
    context = ssl.create_default_context(cadata=tls.ca_pem.decode() or None)
    context.minimum_version = _VERSIONS[tls.min_version]
    context.check_hostname = tls.verifies and not tls.spiffe_ids
    if not tls.verifies:
        context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols([protocol])
    if certificate is not None:
        _load(context, certificate)
    return context


def _load(context: ssl.SSLContext, certificate: Certificate) -> None:
    """The standard library reads certificates from files only: this one exists in memory alone."""
    fd = os.memfd_create("fastmesh-certificate", os.MFD_CLOEXEC)
    try:
        os.write(fd, certificate.key_pem + b"\n" + certificate.chain_pem)
        context.load_cert_chain(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)


def is_trusted(tls: ServiceTls, connection: ssl.SSLObject) -> bool:
    """Whether the peer, whose chain has been verified, is who the service says."""
    if not tls.verifies or not tls.spiffe_ids:
        return True
    names: Any = (connection.getpeercert() or {}).get("subjectAltName", ())
    uris = [value for kind, value in names if kind == "URI"]
    return bool(uris) and uris[0] in tls.spiffe_ids
