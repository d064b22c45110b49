"""ClientHellos for tests: real ones, as Python's ssl sends them, and ones put together piece by piece."""

import contextlib
import ssl
import struct


def client_hello(
    name: str | None, alpn: list[str] | None = None, most: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
) -> bytes:
    """The first bytes that OpenSSL sends."""
    settings = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    settings.check_hostname = False
    settings.verify_mode = ssl.CERT_NONE
    settings.maximum_version = most
    if alpn is not None:
        settings.set_alpn_protocols(alpn)
    sent = ssl.MemoryBIO()
    client = settings.wrap_bio(ssl.MemoryBIO(), sent, server_hostname=name)
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return sent.read()


def records(message: bytes, size: int) -> bytes:
    """A handshake message in records of `size` bytes."""
    pieces = [message[i : i + size] for i in range(0, len(message), size)]
    return b"".join(b"\x16\x03\x01" + struct.pack("!H", len(piece)) + piece for piece in pieces)


def vector(size: int, data: bytes) -> bytes:
    return len(data).to_bytes(size, "big") + data


def extension(kind: int, data: bytes) -> bytes:
    return struct.pack("!H", kind) + vector(2, data)


def server_name(name: bytes) -> bytes:
    return extension(0, vector(2, b"\0" + vector(2, name)))


def alpn(*protocols: bytes) -> bytes:
    return extension(16, vector(2, b"".join(vector(1, each) for each in protocols)))


def message(
    extensions: bytes | None = b"",
    *,
    version: bytes = b"\3\3",
    session: bytes = b"",
    suites: bytes = b"\x13\x01",
    compressions: bytes = b"\0",
    behind: bytes = b"",
) -> bytes:
    """A handshake message; `extensions` None: there is no such field."""
    body = version + bytes(32) + vector(1, session) + vector(2, suites) + vector(1, compressions)
    body += (b"" if extensions is None else vector(2, extensions)) + behind
    return b"\1" + vector(3, body)


def hello(*extensions: bytes) -> bytes:
    """A whole ClientHello in one record."""
    return records(message(b"".join(extensions)), 16384)
