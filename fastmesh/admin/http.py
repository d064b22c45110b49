"""Requests and responses of the admin API, and who may make them."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec

JSON = "application/json"
CHUNK_BYTES = 32768


@dataclass(slots=True)
class Request:
    """One request, read whole."""

    method: str
    target: str
    headers: Mapping[str, str]  # names in lower case; of repeated ones the last
    body: bytes = b""
    parameters: dict[str, str] = field(default_factory=dict)  # of the path: "/services/{name}"

    @property
    def path(self) -> str:
        """Without query, percent-decoded."""
        return unquote(self.target.partition("?")[0])

    def fill(self, pattern: Sequence[str], parts: Sequence[str]) -> None:
        """Take parameters from the segments of a path, where the pattern has a name in braces."""
        for want, part in zip(pattern, parts, strict=True):
            if want.startswith("{"):
                self.parameters[want[1:-1]] = unquote(part)


@dataclass(slots=True)
class Response:
    """One answer; a body in chunks is sent as they come."""

    status: int
    body: bytes | Iterator[bytes] = b""
    media: str = JSON
    headers: dict[str, str] = field(default_factory=dict)


def json_response(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A value that msgspec can encode.

    An iterator becomes a list, and is sent piece by piece; so is a mapping, with the iterators in it.
    """
    if isinstance(value, dict | Iterator):
        return Response(status, _chunks(value), JSON, headers or {})
    return Response(status, _encoded(value) + b"\n", JSON, headers or {})


def _chunks(value: dict[str, Any] | Iterator[Any]) -> Iterator[bytes]:
    """Piece by piece, so that ten thousand routes neither stand in memory at once nor hold up the event loop."""
    text = b""
    for piece in _pieces(value):
        text += piece
        if len(text) >= CHUNK_BYTES:
            yield text
            text = b""
    yield text + b"\n"


def _pieces(value: Any) -> Iterator[bytes]:
    if isinstance(value, dict):
        separator = b"{\n"
        for name, each in value.items():
            yield separator + _encoded(name) + b": "
            yield from _pieces(each)
            separator = b",\n"
        yield b"\n}" if value else b"{}"
    elif isinstance(value, Iterator):
        separator = b"[\n"
        for each in value:
            yield separator + _encoded(each)
            separator = b",\n"
        yield b"\n]" if separator == b",\n" else b"[]"
    else:
        yield _encoded(value)


def _encoded(value: Any) -> bytes:
    """Indented: people read it with curl."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2)


class ApiError(Exception):
    """A request that cannot be served, in words for whoever made it."""

    def __init__(self, status: int, error: str, hint: str = "", **headers: str) -> None:
        super().__init__(error)
        self.status = status
        self.error = error
        self.hint = hint
        self.headers = headers

    def response(self) -> Response:
        """As JSON."""
        return json_response({"error": self.error, "hint": self.hint}, self.status, self.headers)


def guard(request: Request, own_host: str) -> None:
    """Refuse what a web page of another site could make a browser send here; raises `ApiError`.

    `own_host`: the address that the admin API is bound to, without port. Two ways lead a browser to us: a request
    across sites, which carries an Origin that is not ours, and a name of a stranger that resolves to our address (DNS
    rebinding), which stands in Host. Reading under another name is let through only where the admin API was opened to
    the network on purpose: a scraper there may well know us by a name of its own.
    """
    authority = request.headers.get("host", "")
    changes = request.method not in ("GET", "HEAD")
    if (changes or is_loopback(own_host)) and not _is_plain_host(authority, own_host):
        raise ApiError(403, f"refused: Host is {authority!r}", "use the IP address or localhost as host in the URL")
    origin = request.headers.get("origin")
    if origin is not None and origin.lower() != f"http://{authority.lower()}":
        raise ApiError(403, f"refused: the request comes from {origin!r}", "use a program that is not a browser")
    if changes and request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        raise ApiError(403, "refused: the request comes from another site", "use a program that is not a browser")


def is_loopback(host: str) -> bool:
    """Whether an address is reached from this machine alone."""
    return host == "localhost" or ipaddress.ip_address(host).is_loopback


def _is_plain_host(authority: str, own_host: str) -> bool:
    """Whether a Host cannot be a name that a stranger has made resolve to us."""
    try:
        split = urlsplit(f"//{authority}")
        host = split.hostname or ""
        if split.netloc != authority or split.username is not None or split.port == 0:
            return False
        if host in ("localhost", own_host):
            return True
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
