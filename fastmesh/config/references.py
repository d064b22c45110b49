"""Checks across resources: what refers to what, what excludes what, what nobody uses."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from fastmesh.config.addresses import split_address
from fastmesh.config.problem import Problem, Severity, did_you_mean, quoted
from fastmesh.config.reading import FAILED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastmesh.config.load import Item, Items
    from fastmesh.config.reading import Path
    from fastmesh.config.schema import Destination, Listener, Route, Service

LISTENERS_MAX = 255  # ids in shared memory
HINTS_MAX = 20


def check_references(items: Items) -> list[Problem]:
    """Everything without which a single entry is wrong, though it looks right by itself."""
    return [*_listeners(items), *_needs(items, _all_needs(items)), *_protocols(items)]


def _problem(item: Item, path: Path, message: str, *, text: str = "", expected: str = "", hint: str = "") -> Problem:
    source = item.at(path)
    return Problem(source.file, source.line, source.column, message, text, expected, hint)


def _warning(item: Item, path: Path, message: str, hint: str) -> Problem:
    source = item.at(path)
    return Problem(source.file, source.line, source.column, message, hint=hint, severity=Severity.WARNING)


class Need(NamedTuple):
    """A thing that another refers to; `labels`: of a subset."""

    kind: str
    name: str
    labels: tuple[tuple[str, str], ...]
    path: Path = ()  # where it is written; of a route without errors it is found when it is asked for


class _Bound(NamedTuple):
    item: Item
    path: Path
    host: str
    port: int


def _listeners(items: Items) -> list[Problem]:
    """No two on the same address, the admin API among them."""
    problems: list[Problem] = []
    listeners = items.get("listeners", {})
    bound: dict[int, list[_Bound]] = {}
    for kind, named in (("listeners", listeners), ("admin", items.get("admin", {}))):
        for name, item in named.items():
            if item.entry.value is FAILED:
                continue
            host, port = split_address(item.entry.value.address)
            path: Path = (kind, name, "address") if name else (kind, "address")
            here = _Bound(item, path, host, port)
            for other in bound.setdefault(port, []):
                if _overlap(here.host, other.host):
                    problems.append(_bound_twice(here, other))
                    break
            bound[port].append(here)
    if len(listeners) > LISTENERS_MAX:
        item = list(listeners.values())[LISTENERS_MAX]
        problems.append(_problem(item, (), f"{len(listeners)} listeners", expected=f"at most {LISTENERS_MAX}"))
    return problems


def _overlap(host: str, other: str) -> bool:
    if (":" in host) != (":" in other):
        return False
    return host == other or host in ("0.0.0.0", "::") or other in ("0.0.0.0", "::")


def _bound_twice(here: _Bound, other: _Bound) -> Problem:
    place, first = here.item.at(here.path), other.item.at(other.path)
    address = here.item.entry.value.address
    return Problem(
        place.file, place.line, place.column,
        f"{'.'.join(map(str, here.path))}: {quoted(address)} is taken by {'.'.join(map(str, other.path[:-1]))}",
        address, expected="an address of its own",
        first_file=first.file, first_line=first.line, first_column=first.column,
    )  # fmt: skip


def needs_of(route: Route) -> tuple[Need, ...]:
    """What a route refers to. Equal needs are one object: that of many routes is looked at once."""
    listeners = [Need("listeners", name, ()) for name in route.listeners]
    services = [Need("services", to.service, tuple(sorted(to.subset.items()))) for to in route.to]
    return _shared((*listeners, *services))


def tcp_needs_of(listener: Listener, path: Path) -> tuple[Need, ...]:
    """What a listener refers to; `path` is its own."""
    if listener.tcp is None:
        return ()
    arms: list[tuple[Path, list[Destination]]] = [((*path, "tcp", "to"), listener.tcp.to)]
    arms += [((*path, "tcp", "sni", name), to) for name, to in listener.tcp.sni.items()]
    return tuple(
        [
            Need("services", to.service, tuple(sorted(to.subset.items())), (*at, index, "service"))
            for at, arm in arms
            for index, to in enumerate(arm)
        ]
    )


def broken_needs(references: list[tuple[Path, str, str]]) -> tuple[Need, ...]:
    """Of a route or a listener with errors: what could be read of its needs."""
    return tuple([Need(kind, name, (), path) for path, kind, name in references])


@lru_cache(maxsize=65536)
def _shared(needs: tuple[Need, ...]) -> tuple[Need, ...]:
    return needs


def _needs(items: Items, needs: set[Need]) -> list[Problem]:
    """Routes and listeners name services, subsets and listeners that are there."""
    routes = items.get("routes", {})
    problems: list[Problem] = []
    if routes and not items.get("listeners"):
        hint = "write listeners: {web: {address: 127.0.0.1:8080}}"
        problems.append(_problem(next(iter(routes.values())), (), "there are routes, but no listener", hint=hint))
    unmet = {need for need in needs if not _is_met(need, items)}
    hints: dict[str, str] = {}
    for item in (*items.get("listeners", {}).values(), *routes.values()) if unmet else ():
        for need, path in zip(item.entry.needs, _need_paths(item), strict=True):
            if need in unmet and (need.kind != "listeners" or items.get("listeners")):
                problems.append(_unmet(item, path, need, items.get(need.kind, {}), hints))
    return problems


def _all_needs(items: Items) -> set[Need]:
    by_identity = {id(item.entry.needs): item.entry.needs for item in items.get("routes", {}).values()}
    listeners = [item.entry.needs for item in items.get("listeners", {}).values()]
    return set().union(*by_identity.values(), *listeners)


def _is_met(need: Need, items: Items) -> bool:
    item = items.get(need.kind, {}).get(need.name)
    if item is None or not need.labels or item.entry.value is FAILED:
        return item is not None
    if item.entry.value.discover:
        return True  # nobody knows yet what will be found
    wanted = set(need.labels)
    return any(wanted <= set(endpoint.labels.items()) for endpoint in item.entry.value.endpoints)


def _need_paths(item: Item) -> Iterator[Path]:
    """In the order of `needs_of`."""
    route: Route = item.entry.value
    if route is FAILED or item.entry.kind == "listeners":
        yield from [need.path for need in item.entry.needs]
        return
    for index in range(len(route.listeners)):
        yield ("routes", item.entry.name, "listeners", index)
    for index in range(len(route.to)):
        yield ("routes", item.entry.name, "to", index, "service")


def _unmet(item: Item, path: Path, need: Need, known: dict[str, Item], hints: dict[str, str]) -> Problem:
    """`hints` by name: to look for likenesses among thousands of names takes its time, so that only some get one."""
    where = f"{item.entry.kind}.{item.entry.name}"
    if need.name in known:
        shown = ", ".join(f"{key}: {value}" for key, value in need.labels)
        message = f"{where}: no endpoint of {quoted(need.name)} bears the labels {{{shown}}}"
        return _warning(item, path, message, "requests to this subset are answered with 503")
    expected = "one of " + ", ".join(list(known)[:10]) + (", ..." if len(known) > 10 else "") if known else ""
    kind = need.kind.removesuffix("s")
    if need.name not in hints and len(hints) < HINTS_MAX:
        hints[need.name] = did_you_mean(need.name, known)
    hint = hints.get(need.name, "") if known else f"there is no {kind} at all"
    message = f"{where}: no {kind} is named {quoted(need.name)}"
    return _problem(item, path, message, text=need.name, expected=expected, hint=hint)


def _protocols(items: Items) -> list[Problem]:
    """HTTP routes stand on listeners that speak it, and ask for identities where those are verified."""
    listeners = {name: item.entry.value for name, item in items.get("listeners", {}).items()}
    if FAILED in listeners.values():
        return []
    plain = {name for name, listener in listeners.items() if listener.spoken == "tcp"}
    strange = {name for name, listener in listeners.items() if not asks_for_certificates(listener)}
    if not plain and not strange:
        return []
    problems: list[Problem] = []
    routes = items.get("routes", {})
    if routes and listeners and len(plain) == len(listeners):
        hint = "TCP connections go where the listener's `tcp` says"
        problems.append(
            _problem(next(iter(routes.values())), (), "there are routes, but no listener for HTTP", hint=hint)
        )
        return problems
    sound = [item for item in routes.values() if item.entry.value is not FAILED]
    for item in sound if plain else ():
        for index, listener in enumerate(item.entry.value.listeners):
            if listener in plain:
                path = ("routes", item.entry.name, "listeners", index)
                hint = "its connections go where its `tcp` says; with protocol: detect it would have routes, too"
                message = f"routes.{item.entry.name}: {quoted(listener)} is for TCP"
                problems.append(_problem(item, path, message, hint=hint))
    for item in [item for item in sound if _goes_by_identity(item.entry.value)]:
        if strange.issuperset(item.entry.value.listeners or listeners):
            message = f"routes.{item.entry.name}: no listener of it verifies who a client is"
            hint = "add tls: {client_certificate: optional, client_ca: ...} to a listener"
            problems.append(_warning(item, (), message, hint))
    return problems


def _goes_by_identity(route: Route) -> bool:
    return route.match.client is not None or (route.rate_limit is not None and route.rate_limit.key == "client")


def asks_for_certificates(listener: Listener) -> bool:
    """Whether clients may have an identity there."""
    return listener.tls is not None and listener.tls.client_certificate != "none"


def idle_services(items: Items) -> list[Problem]:
    """A warning for each service that is not used, or that nobody answers for. The items are free of errors."""
    problems: list[Problem] = []
    used = {need.name for need in _all_needs(items) if need.kind == "services"}
    for name, item in items.get("services", {}).items():
        if name not in used:
            problems.append(_warning(item, (), f"services.{name}: no route uses it", "add a route, or remove it"))
        service: Service = item.entry.value
        if not service.discover and not any(endpoint.weight for endpoint in service.endpoints):
            hint = "requests to it are answered with 503"
            problems.append(_warning(item, (), f"services.{name}: every endpoint has weight 0", hint))
    return problems
