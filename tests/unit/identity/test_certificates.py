"""What is in PEM texts, and what is said of those that will not do."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa

from fastmesh.identity.certificates import PemError, read_bundle, read_pair
from tests import pems

DAY_S = 86_400
PEM = serialization.Encoding.PEM


def refusal(certificate: bytes, key: bytes) -> tuple[str, bool]:
    with pytest.raises(PemError) as error:
        read_pair(certificate, key)
    for line in key.splitlines()[1:-1]:
        assert line.decode("latin-1") not in error.value.message + error.value.hint
    return error.value.message, error.value.is_key


def written(key: Any) -> bytes:
    form, secrecy = serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    if isinstance(key, ed25519.Ed25519PrivateKey):
        form = serialization.PrivateFormat.PKCS8
    text: bytes = key.private_bytes(PEM, form, secrecy)
    return text


def signed(key: Any, by: Any = None, algorithm: Any = None, issuer: str = "leaf") -> bytes:
    """A certificate without names."""
    now = datetime.datetime.now(datetime.UTC)
    name, other = (x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)]) for text in ("leaf", issuer))
    builder = x509.CertificateBuilder(other, name, key.public_key(), 1, now, now + pems.DAY)
    return builder.sign(by or key, algorithm).public_bytes(PEM)


def test_a_pair() -> None:
    chain = pems.certificate_pem("A.example", "*.b.example", "127.0.0.1", "::1", "spiffe://mesh/a") + pems.ca_pem()
    pair = read_pair(b"Some words\n" + chain + b"more words", b"\n" + pems.key_pem())
    assert pair.names == ("a.example", "*.b.example", "127.0.0.1", "::1")
    assert pair.chain_pem == chain
    assert pair.key_pem == pems.key_pem()
    assert "PRIVATE" not in repr(pair)


def test_the_first_of_the_chain_to_expire_decides() -> None:
    chain = pems.certificate_pem("a.example", days_left=90) + pems.ca_pem(days_left=5, days_before=50)
    validity = read_pair(chain, pems.key_pem()).validity
    assert validity.not_after_s - validity.not_before_s == 55 * DAY_S


def test_one_file_may_hold_both() -> None:
    both = pems.key_pem() + pems.certificate_pem("a.example")
    pair = read_pair(both, both)
    assert b"PRIVATE" not in pair.chain_pem
    assert b"CERTIFICATE" not in pair.key_pem


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (rsa.generate_private_key(65537, 2048), hashes.SHA256()),
        (ec.generate_private_key(ec.SECP384R1()), hashes.SHA384()),
        (ed25519.Ed25519PrivateKey.generate(), None),
    ],
    ids=["rsa", "ec", "ed25519"],
)
def test_kinds_of_keys(key: Any, algorithm: Any) -> None:
    pair = read_pair(signed(key, algorithm=algorithm), written(key))
    assert pair.names == ()
    assert pair.key_pem == written(key)


def test_keys_that_openssl_would_refuse() -> None:
    short = rsa.generate_private_key(65537, 1024)
    assert refusal(signed(short, algorithm=hashes.SHA256()), written(short)) == (
        "a key of 1024 bits is too short",
        True,
    )
    strange = dsa.generate_private_key(2048)
    assert refusal(pems.certificate_pem(), written(strange)) == ("keys of this kind do not work with TLS", True)


LEAF, KEY = pems.certificate_pem("a.example"), pems.key_pem()


@pytest.mark.parametrize(
    ("certificate", "key", "message", "is_key"),
    [
        (b"", KEY, "the file is empty", False),
        (b" \n", KEY, "the file is empty", False),
        (b"hello", KEY, "there is no certificate in it", False),
        (b"\0\xff" * 100, KEY, "there is no certificate in it", False),
        (
            x509.load_pem_x509_certificate(LEAF).public_bytes(serialization.Encoding.DER),
            KEY,
            "it is DER, not PEM",
            False,
        ),
        (KEY, LEAF, "it holds a private key, and no certificate", False),
        (LEAF[:300], KEY, "a certificate in it cannot be read", False),
        (LEAF + LEAF[:300], KEY, "a certificate in it cannot be read", False),
        (LEAF.replace(b"M", b"N"), KEY, "a certificate in it cannot be read", False),
        (LEAF, b"", "the file is empty", False),
        (LEAF, LEAF, "there is no private key in it", True),
        (LEAF, KEY[:100], "the private key in it cannot be read", True),
        (LEAF, KEY.replace(b"M", b"N"), "the private key in it cannot be read", True),
        (LEAF, KEY + KEY, "there are 2 private keys in it", True),
        (LEAF, pems.key_pem(0, b"secret"), "the private key in it is encrypted", True),
        (LEAF, pems.key_pem(1), "the key does not belong to the certificate", True),
        (pems.ca_pem() + LEAF, KEY, "the certificate of the key is not the first in it", False),
    ],
    ids=str.split(
        "empty blank words binary der swapped cut cut_chain damaged no_key certificate_for_key cut_key damaged_key"
        " two_keys encrypted another_key wrong_order"
    ),
)
def test_what_will_not_do(certificate: bytes, key: bytes, message: str, is_key: bool) -> None:
    assert refusal(certificate, key)[0] == message
    if message != "the file is empty":
        assert refusal(certificate, key)[1] is is_key


def test_a_bundle_lives_as_long_as_its_last_certificate() -> None:
    both = pems.ca_pem(days_left=-3) + pems.ca_pem(days_left=30, days_before=70)
    bundle = read_bundle(both)
    assert bundle.pem == both
    assert bundle.validity.not_after_s - bundle.validity.not_before_s == 130 * DAY_S


def test_a_bundle_holds_issuers() -> None:
    with pytest.raises(PemError, match="none of its certificates may issue others"):
        read_bundle(LEAF)
    with pytest.raises(PemError, match="it holds a private key"):
        read_bundle(KEY)
