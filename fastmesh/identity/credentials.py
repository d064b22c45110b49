"""OpenSSL contexts for the listeners and services of a snapshot, made by pyOpenSSL and used by the engine from C.

A context holds what does not differ between connections: certificate, trust, versions, ciphers, and the keys of session
tickets. So contexts are kept by content: what a reload does not change keeps its context, and its clients their
tickets. Whatever loads this module loads cryptography: processes without TLS leave it alone.
"""

from __future__ import annotations

import datetime
import functools
import hashlib
import itertools
import weakref
from collections.abc import Callable, Iterable

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL, crypto

from fastmesh import snapshot as s
from fastmesh._core import openssl

CIPHERS = ":".join(
    f"ECDHE-{key}-{cipher}"
    for cipher in ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305")
    for key in ("ECDSA", "RSA")
)
"""Of TLS 1.2: forward secrecy and authenticated encryption only. Those of TLS 1.3 are all good."""

_ALPN = {
    s.Protocol.HTTP1: [b"http/1.1"],
    s.Protocol.HTTP2: [b"h2"],
    s.Protocol.AUTO: [b"h2", b"http/1.1"],
}
_VERIFY = {
    s.ClientCertificate.NONE: SSL.VERIFY_NONE,
    s.ClientCertificate.OPTIONAL: SSL.VERIFY_PEER,
    s.ClientCertificate.REQUIRED: SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT,
}
_MODE_RELEASE_BUFFERS = 0x10  # an idle connection keeps no room for records
_IDENTITIES_KEPT = 1024
_DELIMITERS = frozenset(",;=")


class Credentials:
    """All contexts of a process."""

    def __init__(self) -> None:
        """Raises openssl.TlsUnavailable where cryptography's OpenSSL cannot be used."""
        openssl.start_up()
        _self_test()
        self._kept: weakref.WeakValueDictionary[bytes, _Credential] = weakref.WeakValueDictionary()
        self._numbers = itertools.count(1)

    def of(self, snapshot: s.Snapshot) -> SnapshotCredentials:
        """The contexts of one snapshot. Raises ValueError: a certificate, key or list of ciphers is no good."""
        listeners = [
            _ListenerCredentials(listener.tls, snapshot.certificates, self._keep) if listener.tls else None
            for listener in snapshot.listeners
        ]
        services = [
            self._service(service.tls, service.protocol, snapshot.certificates) if service.tls else None
            for service in snapshot.services
        ]
        return SnapshotCredentials(listeners, services)

    def _service(self, tls: s.ServiceTls, protocol: s.Protocol, certificates: tuple[s.Certificate, ...]) -> _Credential:
        certificate = certificates[tls.certificate_index] if tls.certificate_index >= 0 else None
        plain = msgspec.structs.replace(tls, certificate_index=-1)
        return self._keep((plain, protocol, certificate), lambda: _of_service(tls, protocol, certificate))

    def _keep(self, content: object, make: Callable[[], SSL.Context]) -> _Credential:
        key = _digest(content)
        kept = self._kept.get(key)
        if kept is None:
            self._kept[key] = kept = _Credential(make(), next(self._numbers))
        return kept


class SnapshotCredentials:
    """What `fastmesh._core.tables.TlsCredentials` asks for."""

    def __init__(self, listeners: list[_ListenerCredentials | None], services: list[_Credential | None]) -> None:
        self._listeners = listeners
        self._services = services

    def listener(self, index: int) -> tuple[int, tuple[tuple[str, int], ...]]:
        found = self._listeners[index]
        assert found is not None
        return found.default.address, tuple((name, context.address) for name, context in found.by_name.items())

    def service(self, index: int) -> tuple[int, int]:
        found = self._services[index]
        assert found is not None
        return found.address, found.number

    def identify(self, der: bytes) -> tuple[bytes, bytes, bytes, bytes] | None:
        return identify(der)


class _Credential:
    """A context with its address in memory, and a number of its own."""

    def __init__(self, context: SSL.Context, number: int) -> None:
        self._context = context
        self.address = openssl.address_of(context)
        self.number = number


class _ListenerCredentials:
    def __init__(
        self,
        tls: s.ListenerTls,
        certificates: tuple[s.Certificate, ...],
        keep: Callable[[object, Callable[[], SSL.Context]], _Credential],
    ) -> None:
        self.by_name: dict[str, _Credential] = {}
        contexts = []
        for index in tls.certificate_indexes:
            certificate = certificates[index]
            content = (tls.client_certificate, tls.client_ca_pem, tls.min_version, tls.ciphers, certificate)
            context = keep(content, functools.partial(_of_listener, tls, certificate))
            contexts.append(context)
            for name in certificate.names:
                self.by_name.setdefault(name, context)
        self.default = contexts[0]


def _digest(content: object) -> bytes:
    return hashlib.sha256(msgspec.msgpack.encode(content)).digest()


# ---- making them


def _bare(min_version: int) -> SSL.Context:
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_min_proto_version(min_version)
    context.set_options(SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_COMPRESSION)
    context.set_mode(_MODE_RELEASE_BUFFERS)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)  # sessions live in the client's ticket, and at our endpoints
    return context


def _of_listener(tls: s.ListenerTls, certificate: s.Certificate) -> SSL.Context:
    context = _bare(tls.min_version)
    _set_ciphers(context, tls.ciphers)
    _use(context, certificate)
    context.set_verify(_VERIFY[tls.client_certificate])
    context.set_session_id(_digest((tls.client_certificate, tls.client_ca_pem)))
    for authority in _trust(context, tls.client_ca_pem, "client CA") if tls.client_ca_pem else ():
        context.add_client_ca(authority)
    return context


def _of_service(tls: s.ServiceTls, protocol: s.Protocol, certificate: s.Certificate | None) -> SSL.Context:
    context = _bare(tls.min_version)
    _set_ciphers(context, "")
    if certificate is not None:
        _use(context, certificate)
    context.set_verify(SSL.VERIFY_PEER if tls.verifies else SSL.VERIFY_NONE)
    if tls.ca_pem:
        _trust(context, tls.ca_pem, "CA")
    elif tls.verifies:
        context.set_default_verify_paths()
    if protocol in _ALPN:
        context.set_alpn_protos(_ALPN[protocol])
    return context


def _set_ciphers(context: SSL.Context, ciphers: str) -> None:
    try:
        context.set_cipher_list((ciphers or CIPHERS).encode())
    except SSL.Error as error:
        raise ValueError(f"OpenSSL knows no cipher of {ciphers!r}") from error


def _use(context: SSL.Context, certificate: s.Certificate) -> None:
    try:
        leaf, *chain = x509.load_pem_x509_certificates(certificate.chain_pem)
        context.use_certificate(leaf)
        for one in chain:
            context.add_extra_chain_cert(one)
        key = serialization.load_pem_private_key(certificate.key_pem, None)
        context.use_privatekey(key)  # type: ignore[arg-type]
        context.check_privatekey()
    except SSL.Error as error:
        raise ValueError(f"certificate {certificate.name}: {_first(error)}") from error
    except (ValueError, TypeError) as error:
        raise ValueError(f"certificate {certificate.name}: {error}") from error


def _trust(context: SSL.Context, pem: bytes, what: str) -> Iterable[x509.Certificate]:
    store = context.get_cert_store()
    assert store is not None
    try:
        authorities = x509.load_pem_x509_certificates(pem)
        for authority in authorities:
            store.add_cert(crypto.X509.from_cryptography(authority))
    except ValueError as error:
        raise ValueError(f"{what}: {error}") from error
    store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)  # an intermediate one that is named is enough
    return authorities


def _first(error: SSL.Error) -> str:
    """pyOpenSSL raises a list of (library, function, reason)."""
    try:
        return str(error.args[0][0][2])
    except (IndexError, TypeError):
        return str(error)


@functools.cache
def _self_test() -> None:
    """Two throw-away contexts shake hands through the functions that the engine will use."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "self-test")])
    begin = datetime.datetime(2000, 1, 1)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, begin, begin + datetime.timedelta(days=1))
    server, client = _bare(0x0303), _bare(0x0303)
    server.use_certificate(builder.sign(key, hashes.SHA256()))
    server.use_privatekey(key)
    openssl.self_test(openssl.address_of(server), openssl.address_of(client))


# ---- who a certificate stands for


@functools.lru_cache(_IDENTITIES_KEPT)
def identify(der: bytes) -> tuple[bytes, bytes, bytes, bytes] | None:
    """Of a verified certificate: first URI, first DNS name, subject (RFC 4514), value of X-Forwarded-Client-Cert.

    A URI or a name that is not printable ASCII proves nothing and is left out. None: it cannot be made out.
    """
    try:
        certificate = x509.load_der_x509_certificate(der)
        try:
            names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            uris = names.get_values_for_type(x509.UniformResourceIdentifier)
            hosts = names.get_values_for_type(x509.DNSName)
        except x509.ExtensionNotFound:
            uris, hosts = [], []
        subject = certificate.subject.rfc4514_string()
    except ValueError:
        return None
    uri = uris[0] if uris and _is_plain(uris[0]) else ""
    host = hosts[0] if hosts and _is_plain(hosts[0]) else ""
    subject = "".join(char if char.isprintable() else _escaped(char) for char in subject)
    forwarded = [f"Hash={hashlib.sha256(der).hexdigest()}", f"Subject={_quoted(subject)}"]
    if uri:
        forwarded.append(f"URI={_quoted(uri) if set(uri) & _DELIMITERS else uri}")
    if host:
        forwarded.append(f"DNS={_quoted(host) if set(host) & _DELIMITERS else host}")
    return uri.encode(), host.encode(), subject.encode(), ";".join(forwarded).encode()


def _is_plain(text: str) -> bool:
    return text.isascii() and text.isprintable() and not set(text) & set(' "\\')


def _escaped(char: str) -> str:
    return "".join(f"\\{byte:02X}" for byte in char.encode("utf-8", "surrogateescape"))


def _quoted(text: str) -> str:
    """A quote in it is escaped already, by RFC 4514; a header is ASCII."""
    return '"' + "".join(char if char.isascii() else _escaped(char) for char in text) + '"'
