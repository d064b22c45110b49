"""The certificates of the example mesh: an authority, and those that it issues. For trying things out only.

python certificates.py      writes them to config/certs/, which git ignores

The authority's key is never written: nobody can issue more. Each start of `make run` makes all of them anew.
"""

import datetime
import ipaddress
import os
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

FOLDER = Path(__file__).resolve().parent.parent / "certs"
LIFETIME = datetime.timedelta(days=30)
TRUST_DOMAIN = "spiffe://example.org"
ISSUED = {  # file: the identity, as a SPIFFE id, and the names of the certificate
    "mesh": ("/mesh", ["localhost", "127.0.0.1"]),
    "greeter": ("/greeter", ["127.0.0.1"]),
    "ada": ("/people/ada", []),
}


def named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])


def alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def builder(subject: str, key: ec.EllipticCurvePrivateKey, *, is_ca: bool) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(named(subject))
        .issuer_name(named("example CA"))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
    )


def write(file: Path, content: bytes, mode: int) -> None:
    """Beside it, then over it: whoever watches the folder never sees half a file."""
    beside = file.with_name(f".{file.name}")
    beside.unlink(missing_ok=True)
    with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as new:
        new.write(content)
    beside.rename(file)


def make(folder: Path = FOLDER) -> Path:
    """Write ca.crt, and NAME.crt and NAME.key for each that is issued; the folder."""
    folder.mkdir(exist_ok=True)
    ca_key = ec.generate_private_key(ec.SECP256R1())
    authority = builder("example CA", ca_key, is_ca=True).sign(ca_key, hashes.SHA256())
    write(folder / "ca.crt", authority.public_bytes(serialization.Encoding.PEM), 0o644)
    for file, (identity, names) in ISSUED.items():
        key = ec.generate_private_key(ec.SECP256R1())
        alternatives = [x509.UniformResourceIdentifier(TRUST_DOMAIN + identity), *map(alternative, names)]
        certificate = builder(file, key, is_ca=False).add_extension(
            x509.SubjectAlternativeName(alternatives), critical=False
        )
        issued = certificate.sign(ca_key, hashes.SHA256())
        secret = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        write(folder / f"{file}.key", secret, 0o600)
        write(folder / f"{file}.crt", issued.public_bytes(serialization.Encoding.PEM), 0o644)
    return folder


if __name__ == "__main__":
    print(f"certificates for {LIFETIME.days} days: {make()}")
