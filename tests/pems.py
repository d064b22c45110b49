"""Certificates and keys for tests, made as they are asked for."""

from __future__ import annotations

import datetime
import ipaddress
from functools import lru_cache
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

DAY = datetime.timedelta(days=1)


@lru_cache
def key(number: int = 0) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(number: int = 0, passphrase: bytes = b"") -> bytes:
    secrecy: Any = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    form = serialization.PrivateFormat.PKCS8
    return key(number).private_bytes(serialization.Encoding.PEM, form, secrecy)


def certificate_pem(
    *names: str, number: int = 0, days_before: float = 100, days_left: float = 265, is_ca: bool = False
) -> bytes:
    """A certificate of the key of that number, issued by the key 9, or by itself if it is that of a CA."""
    now = datetime.datetime.now(datetime.UTC)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"key {number}")])
    issuer = subject if is_ca else x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "key 9")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key(number).public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - days_before * DAY)
        .not_valid_after(now + days_left * DAY)
        .add_extension(x509.BasicConstraints(is_ca, None), critical=True)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), critical=False)
    made = builder.sign(key(number if is_ca else 9), hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM)


def ca_pem(**options: Any) -> bytes:
    return certificate_pem(number=9, is_ca=True, **options)


def write_pair(folder: Path, name: str = "web", number: int = 0, names: tuple[str, ...] = (), **options: Any) -> None:
    """NAME.crt and NAME.key."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.crt").write_bytes(certificate_pem(*(names or (f"{name}.local",)), number=number, **options))
    (folder / f"{name}.key").write_bytes(key_pem(number))


def write_all(folder: Path) -> None:
    """What the golden files of tests name."""
    write_pair(folder, "web", 0, ("Web.local", "*.web.local", "127.0.0.1"))
    write_pair(folder, "me", 1, ("spiffe",))
    (folder / "ca.crt").write_bytes(ca_pem())
    (folder / "other.key").write_bytes(key_pem(2))
    (folder / "encrypted.key").write_bytes(key_pem(0, b"secret"))
    (folder / "empty.crt").write_bytes(b"")
    (folder / "both.pem").write_bytes(key_pem(0) + certificate_pem("both.local"))
    (folder / "broken.crt").write_bytes(certificate_pem("broken.local")[:200])
    write_pair(folder, "old", 0, ("old.local",), days_before=400, days_left=-35)


def _general(name: str) -> x509.GeneralName:
    if name.startswith("spiffe://"):
        return x509.UniformResourceIdentifier(name)
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
