"""PEM texts to what is in them, or to what is wrong with them. No I/O and no clock; nothing said here quotes a key.

Imported where there are certificates only: cryptography takes its time and memory.
"""

from __future__ import annotations

import re
from typing import TypeAlias

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

from fastmesh.identity.validity import Validity

RSA_MIN_BITS = 2048  # OpenSSL's security level 2 takes no less
EC_MIN_BITS = 224
_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,40})-----.*?-----END \1-----", re.DOTALL)
_BEGIN = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,40})-----")
_CERTIFICATES = (b"CERTIFICATE", b"X509 CERTIFICATE")
_WEAK_HASHES = (hashes.MD5, hashes.SHA1)
_Key: TypeAlias = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey


class PemError(Exception):
    """A text is not what it should be."""

    def __init__(self, message: str, hint: str = "", *, is_key: bool = False) -> None:
        """`is_key`: of a pair, the key is meant."""
        super().__init__(message)
        self.message, self.hint, self.is_key = message, hint, is_key


class Pair(msgspec.Struct, frozen=True, gc=False):
    """A certificate with its chain, and the key that belongs to it."""

    chain_pem: bytes  # the leaf first; nothing but certificates
    key_pem: bytes
    names: tuple[str, ...]  # DNS names and IP addresses of the leaf, lower case
    validity: Validity  # of the whole chain

    def __repr__(self) -> str:
        return f"Pair({', '.join(self.names)})"  # never the key


class Bundle(msgspec.Struct, frozen=True, gc=False):
    """Certificates of those who issue others."""

    pem: bytes
    validity: Validity  # as long as any of them is valid


def read_pair(certificate: bytes, key: bytes) -> Pair:
    """The pair that two files hold, or one file that was read twice; raises PemError."""
    chain, private = _certificates(certificate), _private_key(key)
    leaf = chain[0]
    _check_strength(leaf, private)
    if _public_key(leaf) != private.public_key():
        _explain_mismatch(chain, private)
    validity = Validity(
        max(int(each.not_valid_before_utc.timestamp()) for each in chain),
        min(int(each.not_valid_after_utc.timestamp()) for each in chain),
    )
    return Pair(_pem(chain), _key_blocks(key)[0], _names(leaf), validity)


def read_bundle(content: bytes) -> Bundle:
    """The certificates of a file; raises PemError."""
    issuers = _certificates(content)
    if not any(_is_issuer(each) for each in issuers):
        raise PemError("none of its certificates may issue others", "write the certificate of the CA")
    validity = Validity(
        min(int(each.not_valid_before_utc.timestamp()) for each in issuers),
        max(int(each.not_valid_after_utc.timestamp()) for each in issuers),
    )
    return Bundle(_pem(issuers), validity)


def _certificates(content: bytes) -> list[x509.Certificate]:
    """At least one."""
    labels = _labels(content)
    expected = sum(label in _CERTIFICATES for label in labels)
    if not expected and any(label.endswith(b"PRIVATE KEY") for label in labels):
        raise PemError("it holds a private key, and no certificate", "are certificate and key the wrong way round?")
    if not expected:
        raise PemError("there is no certificate in it", "" if labels else "a certificate in PEM begins with -----BEGIN")
    try:
        found = x509.load_pem_x509_certificates(b"\n".join(_blocks(content, *_CERTIFICATES)))
    except ValueError:
        found = []
    if len(found) != expected:
        raise PemError("a certificate in it cannot be read", "the file is damaged, or was cut off")
    return found


def _private_key(content: bytes) -> _Key:
    blocks = _key_blocks(content)
    if len(blocks) > 1:
        raise PemError(f"there are {len(blocks)} private keys in it", "leave the one of the certificate", is_key=True)
    try:
        key = serialization.load_pem_private_key(blocks[0], None)
    except TypeError:
        hint = "openssl pkey -in ENCRYPTED -out PLAIN removes the passphrase"
        raise PemError("the private key in it is encrypted", hint, is_key=True) from None
    except (ValueError, UnsupportedAlgorithm):
        hint = "the file is damaged, or was cut off"
        raise PemError("the private key in it cannot be read", hint, is_key=True) from None
    if not isinstance(key, _Key):
        raise PemError("keys of this kind do not work with TLS", "make one of EC, RSA or Ed25519", is_key=True)
    return key


def _key_blocks(content: bytes) -> list[bytes]:
    """At least one."""
    labels = _labels(content)
    if not any(label.endswith(b"PRIVATE KEY") for label in labels):
        is_swapped = any(label in _CERTIFICATES for label in labels)
        hint = "are certificate and key the wrong way round?" if is_swapped else ""
        raise PemError("there is no private key in it", hint, is_key=True)
    blocks = _blocks(content, *(label for label in set(labels) if label.endswith(b"PRIVATE KEY")))
    if not blocks:
        raise PemError("the private key in it cannot be read", "the file is damaged, or was cut off", is_key=True)
    return blocks


def _labels(content: bytes) -> list[bytes]:
    if not content.strip():
        raise PemError("the file is empty")
    labels = _BEGIN.findall(content)
    if not labels and content[0] == 0x30:  # an ASN.1 sequence
        raise PemError("it is DER, not PEM", "openssl x509 (or pkey) -inform der -in DER -out PEM converts it")
    return labels


def _blocks(content: bytes, *labels: bytes) -> list[bytes]:
    return [match[0] + b"\n" for match in _BLOCK.finditer(content) if match[1] in labels]


def _public_key(certificate: x509.Certificate) -> object:
    try:
        return certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        raise PemError("its public key is of an unknown kind", "make one of EC, RSA or Ed25519") from None


def _explain_mismatch(chain: list[x509.Certificate], key: _Key) -> None:
    wanted = key.public_key()
    if any(_public_key(other) == wanted for other in chain[1:]):
        raise PemError(
            "the certificate of the key is not the first in it", "its own certificate comes first, its CA last"
        )
    raise PemError("the key does not belong to the certificate", "were both renewed?", is_key=True)


def _check_strength(leaf: x509.Certificate, key: _Key) -> None:
    """What OpenSSL would refuse when a client comes."""
    bits = key.key_size if isinstance(key, (rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey)) else EC_MIN_BITS
    least = RSA_MIN_BITS if isinstance(key, rsa.RSAPrivateKey) else EC_MIN_BITS
    if bits < least:
        raise PemError(f"a key of {bits} bits is too short", f"the least is {least}", is_key=True)
    try:
        weak = leaf.issuer != leaf.subject and isinstance(leaf.signature_hash_algorithm, _WEAK_HASHES)
    except UnsupportedAlgorithm:
        weak = True
    if weak:
        raise PemError("its signature is too weak", "have it issued with SHA-256")


def _names(leaf: x509.Certificate) -> tuple[str, ...]:
    try:
        found = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    except ValueError:
        raise PemError("its names cannot be read", "the certificate is damaged") from None
    names = [name.lower().rstrip(".") for name in found.get_values_for_type(x509.DNSName)]
    addresses = [str(address) for address in found.get_values_for_type(x509.IPAddress)]
    return tuple(dict.fromkeys([*names, *addresses]))


def _is_issuer(certificate: x509.Certificate) -> bool:
    """A certificate that vouches for itself may be trusted for itself, whatever its extensions say."""
    if certificate.issuer == certificate.subject:
        return True
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, ValueError):
        return False


def _pem(certificates: list[x509.Certificate]) -> bytes:
    return b"".join(each.public_bytes(serialization.Encoding.PEM) for each in certificates)
