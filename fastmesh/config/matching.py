"""Which routes take a request, and why: slow and obvious, rule by rule, where `_core.router` is compiled.

The router is what decides. This module tells its reasons, and is the twin that it is tested against.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote_to_bytes

from msgspec import Struct

from fastmesh._core import regex
from fastmesh._core.router import normalise_host
from fastmesh.config.phrases import either, path_phrase, value_phrase
from fastmesh.config.problem import quoted
from fastmesh.snapshot import IdentityPart, PathMatch, Route, ValueMatch, ValueTest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

VALUE_MAX_BYTES = 8192  # as in _core.router_values: a longer value equals nothing, and matches no expression


class Request(NamedTuple):
    """A request's head, in the order in which `Router.match` takes its parts."""

    method: str
    authority: str
    path: str
    query: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    client: tuple[str | None, str | None, str | None] | None = None


class Finding(Struct, frozen=True):
    """One test of a route, and what it found in a request."""

    of: str  # "host", "path", "method", "header x-a", "parameter q", "client uri"
    wanted: str  # to follow it: "is GET or HEAD", "begins with 'b'"
    found: str
    passed: bool


class Precedence(NamedTuple):
    """How specific a route is; of those whose tests all pass, the greatest wins."""

    host: tuple[int, int]  # exact, then the longest wildcard, then any
    path: tuple[int, int]  # exact, then the longest expression, then the longest prefix
    methods: bool
    client_tests: int
    header_tests: int
    query_tests: int
    before: int  # the first written wins: the negated index


REASONS = {
    "host": "its host is more specific",
    "path": "its path is more specific",
    "methods": "it names methods",
    "client_tests": "it has more tests of the client",
    "header_tests": "it has more header tests",
    "query_tests": "it has more query tests",
    "before": "it was written first",
}


class Considered(NamedTuple):
    """A route of the listener, and how it bears on the request."""

    route_index: int  # into Snapshot.routes
    precedence: Precedence
    findings: tuple[Finding, ...]

    @property
    def passes(self) -> bool:
        """Whether it would take the request, if no other did."""
        return all(finding.passed for finding in self.findings)


def considered(routes: Sequence[Route], listener_index: int, request: Request) -> list[Considered]:
    """Every route of a listener in order of precedence: the first one that passes takes the request."""
    host = normalise_host(request.authority)
    found = [
        _consider(route, index, request, host)
        for index, route in enumerate(routes)
        if listener_index in route.listener_indexes
    ]
    return sorted(found, key=lambda each: each.precedence, reverse=True)


def match(routes: Sequence[Route], listener_index: int, request: Request) -> int:
    """The index of the route that takes the request, or -1."""
    return next((each.route_index for each in considered(routes, listener_index, request) if each.passes), -1)


def why_before(winner: Precedence, other: Precedence) -> str:
    """Why the winner goes first."""
    differing = next(field for field in Precedence._fields if getattr(winner, field) != getattr(other, field))
    return REASONS[differing]


def path_precedence(path_match: PathMatch, path: str) -> tuple[int, int]:
    """How specific the path of a route is."""
    if path_match is PathMatch.EXACT:
        return (2, 0)
    if path_match is PathMatch.REGEX:
        return (1, len(path))
    return (0, len(path.removesuffix("/")))


def _consider(route: Route, index: int, request: Request, host: str) -> Considered:
    """The tests in the order of the router's."""
    patterns = route.hosts or ("",)
    fitting = [pattern for pattern in patterns if _host_fits(pattern, host)]
    wanted_path = "is " + path_phrase(route.path_match, route.path)
    wanted_hosts = f"is {either(route.hosts)}" if route.hosts else "is any host"
    wanted_methods = f"is {either(route.methods)}" if route.methods else "is any method"
    findings = (
        Finding("host", wanted_hosts, host or "none", bool(fitting)),
        Finding("path", wanted_path, request.path, _path_fits(route, request.path)),
        Finding("method", wanted_methods, request.method, not route.methods or request.method in route.methods),
        *_value_tests("client", route.client, lambda name: _identity(request, name)),
        *_value_tests("header", route.headers, lambda name: _header(request, name)),
        *_value_tests("parameter", route.query, lambda name: _parameter(request, name)),
    )
    precedence = Precedence(
        max(map(_host_precedence, fitting or patterns)), path_precedence(route.path_match, route.path),
        bool(route.methods), len(route.client), len(route.headers), len(route.query), -index,
    )  # fmt: skip
    return Considered(index, precedence, findings)


def _host_precedence(pattern: str) -> tuple[int, int]:
    if pattern == "":
        return (0, 0)
    return (1, len(pattern)) if pattern.startswith("*.") else (2, 0)


def _host_fits(pattern: str, host: str) -> bool:
    if pattern.startswith("*."):
        return len(host) > len(pattern) - 1 and host.endswith(pattern[1:])
    return pattern in ("", host)


def _path_fits(route: Route, path: str) -> bool:
    if route.path_match is PathMatch.EXACT:
        return path == route.path
    if route.path_match is PathMatch.REGEX:
        return path.startswith("/") and _pattern(route.path)(path.encode()) is not None
    prefix = route.path.removesuffix("/")
    return prefix == "" or path == prefix or path.startswith(prefix + "/")


@lru_cache(maxsize=1024)
def _pattern(text: str) -> Callable[[bytes], object | None]:
    return regex.compile(text)


def _value_tests(kind: str, tests: tuple[ValueTest, ...], value_of: Callable[[str], bytes | None]) -> Iterator[Finding]:
    for test in tests:
        value = value_of(test.name)
        found = "missing" if value is None else quoted(value.decode(errors="replace"))
        yield Finding(f"{kind} {test.name}", value_phrase(test), found, _value_passes(test, value))


def _value_passes(test: ValueTest, value: bytes | None) -> bool:
    match test.match:
        case ValueMatch.PRESENT:
            passes = value is not None
        case ValueMatch.ABSENT:
            passes = value is None
        case ValueMatch.PREFIX:
            passes = value is not None and value.startswith(test.value.encode())
        case ValueMatch.EXACT:
            passes = value is not None and len(value) <= VALUE_MAX_BYTES and value == test.value.encode()
        case ValueMatch.REGEX:
            short = value is not None and len(value) <= VALUE_MAX_BYTES
            passes = short and _pattern(test.value)(value or b"") is not None
    return passes != test.negated


def _identity(request: Request, name: str) -> bytes | None:
    part = request.client[IdentityPart[name.upper()]] if request.client is not None else None
    return None if part is None else part.encode()


def _header(request: Request, name: str) -> bytes | None:
    """Several fields of a name count as one (RFC 9110 5.3)."""
    values = [value.encode("latin-1") for key, value in request.headers if key.lower() == name]
    return b", ".join(values) if values else None


def _parameter(request: Request, name: str) -> bytes | None:
    for piece in request.query.split("&"):
        key, _, value = piece.partition("=")
        if piece and unquote_to_bytes(key.replace("+", " ")) == name.encode():
            return unquote_to_bytes(value.replace("+", " "))
    return None
