"""Slow twins of what is read before HTTP: the PROXY header and the ClientHello, each written from its specification."""

import ipaddress
import re
import struct

from fastmesh._core import proxy_protocol, tls_hello

# Family, source, its port, destination, its port.
Claim = tuple[int, str, int, str, int]
UNSPECIFIED: Claim = (0, "", 0, "", 0)
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_PORT = rb"(0|[1-9][0-9]{0,4})"
_LINE = re.compile(
    rb"PROXY (?:UNKNOWN(?: [^\n]*)?|TCP([46]) ([0-9a-fA-F.:]+) ([0-9a-fA-F.:]+) " + _PORT + b" " + _PORT + rb")\r\n"
)


def address(text: str, family: int) -> str:
    """As inet_ntop writes it; raises ValueError."""
    if family == 4:
        return str(ipaddress.IPv4Address(text))
    found = ipaddress.IPv6Address(text)
    if found.ipv4_mapped is not None:
        return f"::ffff:{found.ipv4_mapped}"
    low = int(found)
    # RFC 5952 5 leaves the choice; inet_ntop writes the deprecated IPv4-compatible form of what is larger than 16 bits.
    return f"::{ipaddress.IPv4Address(low)}" if 0xFFFF < low < 1 << 32 else str(found)


def _read_line(data: bytes) -> tuple[int, Claim]:
    end = data.find(b"\n", 0, 107)
    if end < 0:
        return (0 if len(data) < 107 else proxy_protocol.MALFORMED), UNSPECIFIED
    match = _LINE.fullmatch(data[: end + 1])
    if match is None:
        return proxy_protocol.MALFORMED, UNSPECIFIED
    if match[1] is None:
        return end + 1, UNSPECIFIED
    family, source_port, destination_port = int(match[1]), int(match[4]), int(match[5])
    try:
        source, destination = address(match[2].decode(), family), address(match[3].decode(), family)
    except ValueError:
        return proxy_protocol.MALFORMED, UNSPECIFIED
    if max(source_port, destination_port) > 65535:
        return proxy_protocol.MALFORMED, UNSPECIFIED
    return end + 1, (family, source, source_port, destination, destination_port)


def _tlvs_add_up(data: bytes) -> bool:
    while data:
        if len(data) < 3:
            return False
        (size,) = struct.unpack_from("!H", data, 1)
        if len(data) < 3 + size:
            return False
        data = data[3 + size :]
    return True


def _read_block(data: bytes) -> tuple[int, Claim]:
    if len(data) < 16:
        return 0, UNSPECIFIED
    command, form, length = struct.unpack_from("!BBH", data, 12)
    family, protocol = form >> 4, form & 15
    if command not in (0x20, 0x21) or family > 3 or protocol > 2 or 16 + length > proxy_protocol.MAX_BYTES:
        return proxy_protocol.MALFORMED, UNSPECIFIED
    room = (0, 12, 36, 216)[family]
    if command == 0x21 and length < room:
        return proxy_protocol.MALFORMED, UNSPECIFIED
    if len(data) < 16 + length:
        return 0, UNSPECIFIED
    if command == 0x20 or family == 0:
        return 16 + length, UNSPECIFIED
    if not _tlvs_add_up(data[16 + room : 16 + length]):
        return proxy_protocol.MALFORMED, UNSPECIFIED
    if form not in (0x11, 0x21):
        return 16 + length, UNSPECIFIED
    size = 4 if family == 1 else 16
    raw = struct.unpack_from(f"!{size}s{size}sHH", data, 16)
    source, destination = (address(str(ipaddress.ip_address(each)), 4 if family == 1 else 6) for each in raw[:2])
    return 16 + length, (4 if family == 1 else 6, source, raw[2], destination, raw[3])


def read_proxy(data: bytes) -> tuple[int, int, str, int, str, int]:
    """What proxy_protocol.read must say."""
    if not data:
        return 0, *UNSPECIFIED
    if b"PROXY "[: len(data)] == data[:6]:
        result, claim = _read_line(data) if len(data) >= 6 else (0, UNSPECIFIED)
    elif SIGNATURE[: len(data)] == data[:12]:
        result, claim = _read_block(data)
    else:
        result, claim = proxy_protocol.NONE, UNSPECIFIED
    return result, *claim


class Malformed(Exception):
    """A ClientHello that is none."""


def _vector(data: bytes, size: int) -> tuple[bytes, bytes]:
    """The vector that `data` begins with, and what is behind it."""
    end = size + int.from_bytes(data[:size], "big")
    if len(data) < size or len(data) < end:
        raise Malformed
    return data[size:end], data[end:]


def _only(data: bytes, size: int) -> bytes:
    vector, rest = _vector(data, size)
    if rest:
        raise Malformed
    return vector


_NAME = re.compile(rb"(?!.{254})(?:[0-9A-Za-z_-]{1,63}\.)*([0-9A-Za-z_-]{1,63})")
_IPV6 = re.compile(rb"[0-9A-Fa-f.]*(?::[0-9A-Fa-f.]*){2,}")


def _server_name(extension: bytes) -> str:
    names = _only(extension, 2)
    if names[:1] != b"\0":
        raise Malformed
    name = _only(names[1:], 2)
    if _IPV6.fullmatch(name):
        return ""
    match = _NAME.fullmatch(name.removesuffix(b"."))
    if match is None:
        raise Malformed
    return "" if match[1].isdigit() else name.removesuffix(b".").decode().lower()


def _protocols(extension: bytes) -> set[str]:
    rest, found = _only(extension, 2), set()
    if not rest:
        raise Malformed
    while rest:
        protocol, rest = _vector(rest, 1)
        if not protocol:
            raise Malformed
        found.add({b"h2": "h2", b"http/1.1": "http/1.1"}.get(protocol, "other"))
    return found


def read_message(body: bytes) -> tuple[str, set[str]]:
    """Server name and protocols of a ClientHello, behind the four bytes of its head; raises Malformed."""
    if len(body) < 34 or body[0] != 3:
        raise Malformed
    session, rest = _vector(body[34:], 1)
    suites, rest = _vector(rest, 2)
    compressions, rest = _vector(rest, 1)
    if len(session) > 32 or not suites or len(suites) % 2 or not compressions:
        raise Malformed
    extensions: dict[int, bytes] = {}
    rest = _only(rest, 2) if rest else b""
    while rest:
        kind, rest = int.from_bytes(rest[:2], "big"), rest[2:]
        value, rest = _vector(rest, 2)
        if kind in (0, 16) and kind in extensions:
            raise Malformed
        extensions[kind] = value
    name = _server_name(extensions[0]) if 0 in extensions else ""
    return name, _protocols(extensions[16]) if 16 in extensions else set()


def read_hello(data: bytes) -> tuple[int, str, set[str]]:
    """What tls_hello.read must say."""
    message, rest, more = b"", data[: tls_hello.MAX_BYTES], 0
    if len(data) >= tls_hello.MAX_BYTES:
        more = tls_hello.MALFORMED
    while True:
        if not all(byte in good for byte, good in zip(rest, ((22,), (3,), range(5)), strict=False)):
            return (tls_hello.MALFORMED if message else tls_hello.NOT_TLS), "", set()
        if len(rest) < 5:
            return more, "", set()
        size = int.from_bytes(rest[3:5], "big")
        if not 0 < size <= 16384:
            return tls_hello.MALFORMED, "", set()
        message, rest = message + rest[5 : 5 + size], rest[5 + size :]
        length = 4 + int.from_bytes(message[1:4], "big") if len(message) >= 4 else 4
        if message[:1] not in (b"", b"\1") or length > tls_hello.MESSAGE_MAX_BYTES:
            return tls_hello.MALFORMED, "", set()
        if len(message) >= 4 and len(message) >= length:
            break
    try:
        return 1, *read_message(message[4:length])
    except Malformed:
        return tls_hello.MALFORMED, "", set()
