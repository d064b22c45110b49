"""Certificates as identities, and credentials that are kept as long as nothing about them changes."""

from __future__ import annotations

import datetime
import gc
import hashlib

import msgspec
import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fastmesh import snapshot as s
from fastmesh.identity import credentials
from fastmesh.identity.credentials import Credentials, identify
from tests.engine import make_snapshot

KEY = ec.generate_private_key(ec.SECP256R1())
CA = trustme.CA()


def certificate(subject: x509.Name, *names: x509.GeneralName) -> bytes:
    builder = x509.CertificateBuilder(
        subject, subject, KEY.public_key(), 1, datetime.datetime(2000, 1, 1), datetime.datetime(2100, 1, 1)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), False)
    return builder.sign(KEY, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


def test_the_first_of_each_kind_counts() -> None:
    uri, dns = x509.UniformResourceIdentifier, x509.DNSName
    der = certificate(name("cart"), dns("a.shop"), uri("spiffe://mesh/a"), dns("b.shop"), uri("spiffe://mesh/b"))
    digest = hashlib.sha256(der).hexdigest()
    forwarded = f'Hash={digest};Subject="CN=cart";URI=spiffe://mesh/a;DNS=a.shop'
    assert identify(der) == (b"spiffe://mesh/a", b"a.shop", b"CN=cart", forwarded.encode())


def test_without_alternative_names_there_is_a_subject() -> None:
    uri, dns, subject, forwarded = identify(certificate(name("cart"))) or ()
    assert (uri, dns, subject) == (b"", b"", b"CN=cart")
    assert forwarded.endswith(b';Subject="CN=cart"')


@pytest.mark.parametrize("bad", ["spiffe://mesh/a\r\nX: 1", 'spiffe://mesh/"', "spiffe://mesh/a b", "spiffe://m\0"])
def test_a_uri_that_could_be_taken_for_something_else_is_none(bad: str) -> None:
    uri, _, _, forwarded = identify(certificate(name("x"), x509.UniformResourceIdentifier(bad))) or (b"?",) * 4
    assert uri == b""
    assert b"URI" not in forwarded


@pytest.mark.parametrize(
    ("text", "subject", "forwarded"),
    [
        ("a\r\nb", rb"CN=a\0D\0Ab", rb'Subject="CN=a\0D\0Ab"'),
        ('a";URI=spiffe://x', rb"CN=a\"\;URI=spiffe://x", rb'Subject="CN=a\"\;URI=spiffe://x"'),
        ("Café", "CN=Café".encode(), rb'Subject="CN=Caf\C3\A9"'),
    ],
)
def test_a_subject_cannot_break_out(text: str, subject: bytes, forwarded: bytes) -> None:
    found = identify(certificate(name(text)))
    assert found is not None
    assert found[2] == subject
    assert found[3].split(b";", 1)[1] == forwarded


def test_a_dns_name_cannot_add_an_element() -> None:
    found = identify(certificate(name("CN=a"), x509.DNSName("a;URI=spiffe://mesh/admin,By=b")))
    assert found is not None
    assert found[3].endswith(b';DNS="a;URI=spiffe://mesh/admin,By=b"')


def test_what_cannot_be_made_out_is_no_identity() -> None:
    assert identify(b"\x30\x03\x02\x01\x01") is None


def snapshot(pair: trustme.LeafCert, **tls: object) -> s.Snapshot:
    chain = b"".join(pem.bytes() for pem in pair.cert_chain_pems)
    one = s.Certificate("site.pem", chain, pair.private_key_pem.bytes(), ("example.org",))
    settings = msgspec.structs.replace(s.ListenerTls((0,)), **tls)
    return make_snapshot([1], {"tls": settings}, {"tls": s.ServiceTls()}, certificates=(one,))


def test_what_does_not_change_is_kept_and_what_nobody_uses_goes() -> None:
    kept = Credentials()
    first, other = CA.issue_cert("example.org"), CA.issue_cert("example.org")
    before = kept.of(snapshot(first))
    again = kept.of(snapshot(first, handshake_timeout_ms=1, forwards_client_certificate=True))
    assert again.listener(0) == before.listener(0)
    assert again.service(0) == before.service(0)
    renewed = kept.of(snapshot(other))
    assert renewed.listener(0) != before.listener(0)
    assert renewed.service(0) == before.service(0)
    number = before.service(0)[1]
    del before, again, renewed
    gc.collect()
    assert len(kept._kept) == 0
    assert kept.of(snapshot(first)).service(0)[1] != number


@pytest.mark.parametrize(
    ("tls", "message"),
    [
        ({"ciphers": "NO-SUCH"}, "OpenSSL knows no cipher of 'NO-SUCH'"),
        ({"client_ca_pem": b"nothing"}, "client CA: "),
    ],
)
def test_settings_that_are_no_good(tls: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Credentials().of(snapshot(CA.issue_cert("example.org"), **tls))


def test_a_key_of_another_certificate() -> None:
    good, other = CA.issue_cert("example.org"), CA.issue_cert("example.org")
    bad = snapshot(good)
    pair = msgspec.structs.replace(bad.certificates[0], key_pem=other.private_key_pem.bytes())
    with pytest.raises(ValueError, match="certificate site.pem: .*mismatch"):
        Credentials().of(msgspec.structs.replace(bad, certificates=(pair,)))


def test_only_good_ciphers() -> None:
    assert all(part.startswith("ECDHE-") for part in credentials.CIPHERS.split(":"))
    assert not any(weak in credentials.CIPHERS for weak in ("CBC", "SHA:", "RC4", "3DES"))
