"""The router, slow and obvious: try every route, then sort those that pass."""

import re
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from fastmesh.snapshot import PathMatch, Route, ValueMatch, ValueTest


class Request(NamedTuple):
    method: str
    authority: str
    path: str
    query: str = ""
    headers: tuple[tuple[str, str], ...] = ()


def host_of(authority: str) -> str:
    if authority.startswith("["):
        host = authority[: authority.index("]") + 1] if "]" in authority else ""
    else:
        host = authority.split(":")[0]
        host = host[:-1] if host.endswith(".") else host
    return host.lower() if len(host.encode()) <= 255 else ""


def host_rank(pattern: str, host: str) -> tuple[int, int] | None:
    """How specific a match is, or None."""
    if pattern == "":
        return (0, 0)
    if pattern.startswith("*."):
        return (1, len(pattern)) if len(host) > len(pattern) - 1 and host.endswith(pattern[1:]) else None
    return (2, 0) if pattern == host else None


def path_rank(route: Route, path: str) -> tuple[int, int] | None:
    if route.path_match == PathMatch.EXACT:
        return (2, 0) if path == route.path else None
    if route.path_match == PathMatch.REGEX:
        return (1, len(route.path)) if path.startswith("/") and re.fullmatch(route.path, path) else None
    prefix = route.path[:-1] if route.path.endswith("/") else route.path
    if prefix == "" or path == prefix or path.startswith(prefix + "/"):
        return (0, len(prefix))
    return None


def value_passes(test: ValueTest, value: str | None) -> bool:
    match test.match:
        case ValueMatch.PRESENT:
            passes = value is not None
        case ValueMatch.ABSENT:
            passes = value is None
        case ValueMatch.EXACT:
            passes = value == test.value
        case ValueMatch.PREFIX:
            passes = value is not None and value.startswith(test.value)
        case ValueMatch.REGEX:
            passes = value is not None and re.fullmatch(test.value, value) is not None
    return passes != test.negated


def header(request: Request, name: str) -> str | None:
    values = [value for key, value in request.headers if key.lower() == name]
    return ", ".join(values) if values else None


def parameter(request: Request, name: str) -> str | None:
    for piece in request.query.split("&"):
        key, _, value = piece.partition("=")
        if piece and unquote_to_bytes(key.replace("+", " ")) == name.encode():
            return unquote_to_bytes(value.replace("+", " ")).decode()
    return None


def match(routes: Sequence[Route], listener_index: int, request: Request) -> int:
    """The index of the route, or -1."""
    best: tuple[tuple[object, ...], int] = ((), -1)
    for index, route in enumerate(routes):
        place = path_rank(route, request.path)
        if (
            listener_index not in route.listener_indexes
            or place is None
            or (route.methods and request.method not in route.methods)
            or not all(value_passes(test, header(request, test.name)) for test in route.headers)
            or not all(value_passes(test, parameter(request, test.name)) for test in route.query)
        ):
            continue
        for pattern in route.hosts or ("",):
            host = host_rank(pattern, host_of(request.authority))
            if host is not None:
                rank = (host, place, bool(route.methods), len(route.headers), len(route.query), -index)
                best = max(best, (rank, index))
    return best[1]
