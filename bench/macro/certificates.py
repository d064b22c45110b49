"""The certificates of a run: an authority, a server and a client, all ECDSA P-256."""

import ssl
from pathlib import Path

import trustme

from bench.macro.shapes import SERVER_NAME


def make(folder: Path) -> None:
    """Write ca.crt, server.crt, .key and .pem (both in one), and the same of client."""
    folder.mkdir(parents=True)
    authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
    authority.cert_pem.write_to_path(folder / "ca.crt")
    identities = {"server": (SERVER_NAME, "127.0.0.1", "127.0.0.2"), "client": ("client.bench.example",)}
    for name, names in identities.items():
        leaf = authority.issue_cert(*names, key_type=trustme.KeyType.ECDSA)
        certificate = b"".join(each.bytes() for each in leaf.cert_chain_pems)
        key = leaf.private_key_pem.bytes()
        for suffix, content in ((".crt", certificate), (".key", key), (".pem", certificate + key)):
            path = folder / (name + suffix)
            path.touch(mode=0o600)
            path.write_bytes(content)


def client_settings(folder: Path, *, known: bool) -> ssl.SSLContext:
    """What a client of TLS 1.3 needs; only a known one has a certificate."""
    settings = ssl.create_default_context(cafile=str(folder / "ca.crt"))
    settings.minimum_version = ssl.TLSVersion.TLSv1_3
    if known:
        settings.load_cert_chain(folder / "client.crt", folder / "client.key")
    return settings
