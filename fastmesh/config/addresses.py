"""Where things are: addresses with a port, IP address literals, and the hosts that a route matches."""

from __future__ import annotations

import ipaddress
import re

from fastmesh.config.problem import InvalidText, quoted

_HOST = re.compile(r"(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*")


def is_ip(text: str) -> bool:
    """Whether a text is an IP address literal, without a zone."""
    try:
        return "%" not in text and bool(ipaddress.ip_address(text))
    except ValueError:
        return False


def split_address(text: str) -> tuple[str, int]:
    """Host and port of `127.0.0.1:80`, `[::1]:80`, `name:80`; raises InvalidText."""
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if is_ip(text) or (not colon and text):
        shown = f"127.0.0.1:{text}" if text.isdigit() else f"[{text}]:8080" if ":" in text else f"{text}:8080"
        if port.isdigit() and is_ip(host):
            shown = f"[{host}]:{port}"
        raise InvalidText(f"did you mean {quoted(shown)}?")
    if "://" in text:
        raise InvalidText("an address has no scheme and no path")
    if not (port.isascii() and port.isdigit()) or len(port) > 5 or not 1 <= int(port) <= 65535:
        raise InvalidText("a port is a number from 1 to 65535", message=f"bad port {quoted(port)} in {quoted(text)}")
    if bracketed:
        if ":" not in host or not is_ip(host[1:-1]):
            raise InvalidText("only an IPv6 address, without a zone, stands in brackets")
        return str(ipaddress.ip_address(host[1:-1])), int(port)
    if ":" in host:
        raise InvalidText(f"an IPv6 address stands in brackets: {quoted(f'[{host}]:{port}')}")
    return host, int(port)


def read_bound_address(text: str) -> str:
    """An IP address literal and a port on which to listen."""
    host, port = split_address(text)
    if not host or host == "*":
        raise InvalidText(f"'0.0.0.0:{port}' is every IPv4 address of this machine, '127.0.0.1:{port}' only itself")
    if not is_ip(host):
        raise InvalidText(f"names are not looked up here: {quoted(f'127.0.0.1:{port}')} for this machine only")
    return join_address(host, port)


def read_endpoint_address(text: str) -> str:
    """Where an endpoint is: an IP address literal, or a name that is resolved by DNS, and a port."""
    host, port = split_address(text)
    if is_ip(host):
        return join_address(host, port)
    lowered = host.lower().rstrip(".")
    if _HOST.fullmatch(lowered) is None or re.fullmatch(r"[0-9.]+", lowered):
        raise InvalidText(message=f"bad host {quoted(host)} in {quoted(text)}")
    return f"{lowered}:{port}"


def join_address(host: str, port: int) -> str:
    """The written form, IPv6 in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def read_ip(text: str) -> str:
    """An IP address literal."""
    if not is_ip(text):
        raise InvalidText("without a port" if is_ip(text.rpartition(":")[0]) else "")
    return str(ipaddress.ip_address(text))


def read_host(text: str) -> str:
    """A host of a match: a name, `*.name`, or an IP address literal; lower case, no port."""
    lowered = text.lower()
    bare = lowered[2:] if lowered.startswith("*.") else lowered
    if lowered == "*":
        raise InvalidText("leave `hosts` out to match any host")
    if lowered.startswith("[") and lowered.endswith("]") and is_ip(lowered[1:-1]):
        return f"[{ipaddress.ip_address(lowered[1:-1])}]"
    if "*" in bare:
        raise InvalidText("the only wildcard is '*.' at the beginning")
    if not bare.isascii():
        raise InvalidText("a name outside ASCII is written in its xn-- form")
    if re.fullmatch(r".*:[0-9]+", bare):
        raise InvalidText(f"hosts have no port: {quoted(text.rpartition(':')[0])}")
    if _HOST.fullmatch(bare) is None:
        raise InvalidText()
    return lowered


def read_server_name(text: str) -> str:
    """A name as TLS clients send it (SNI): no wildcard, no IP address, no port; lower case."""
    lowered = text.lower().rstrip(".")
    if is_ip(lowered) or text.startswith("["):
        raise InvalidText("an IP address is no server name: without one, the address of the endpoint is verified")
    if _HOST.fullmatch(lowered) is None or lowered.replace(".", "").isdigit():
        raise InvalidText("a name outside ASCII is written in its xn-- form" if not text.isascii() else "")
    return lowered


def read_sni(text: str) -> str:
    """What a server name is compared with: a name, or `*.name` for all names below it."""
    if text == "*":
        raise InvalidText("connections with any other name, or none, go where `to` says")
    bare = read_server_name(text.removeprefix("*."))
    return f"*.{bare}" if text.startswith("*.") else bare


def read_network(text: str) -> str:
    """A block of addresses; one address is a block of its own."""
    try:
        if "%" not in text:
            return str(ipaddress.ip_network(text))
    except ValueError:
        pass
    try:
        shown = str(ipaddress.ip_network(text, strict=False))
    except ValueError:
        raise InvalidText() from None
    raise InvalidText(f"did you mean {quoted(shown)}?")
