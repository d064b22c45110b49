"""What becomes of one request: every rule in order and why it missed, filters, destinations, endpoints. Pure.

    explainer = Explainer(result, Live())                       # Live: what a running mesh knows of endpoints
    for index in listeners_of(explainer.snapshot, 8080): explainer.explain(index, b"GET / HTTP/1.1\r\n...")

The verdict is that of the compiled router, over the snapshot that the workers would get; the reasons are those of
`matching`, which a property test holds to the same verdict.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from msgspec import Struct

from fastmesh._core.http1_parser import ParseError, find_head_end, parse_request
from fastmesh._core.router import Router
from fastmesh.config.compile import compile_snapshot
from fastmesh.config.explanation_endpoints import EndpointView, Live, endpoint_views
from fastmesh.config.matching import Considered, Finding, Request, considered, why_before
from fastmesh.config.phrases import limit_phrase, share_phrase
from fastmesh.config.quantities import write_duration, write_size
from fastmesh.snapshot import KeySource, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fastmesh.config.load import LoadResult
    from fastmesh.snapshot import Destination, Limit, Listener, Route, Service, Snapshot

METHOD_TUNNEL = "CONNECT"
PARSER_FIELDS_MAX = 256  # what the parser's face to Python takes


class RuleView(Struct, frozen=True):
    """A route of the listener."""

    name: str
    source: str  # file:line
    verdict: str  # "matches", "misses", "hidden": it would match, but another goes first
    why: str
    tests: tuple[Finding, ...]


class FilterView(Struct, frozen=True):
    """What may stop or change the request on its way."""

    name: str  # "rate limit of route hello", "request body", "forwarding headers"
    what: str
    source: str


class DestinationView(Struct, frozen=True):
    """An arm of the route."""

    service: str
    subset: dict[str, str]
    weight: int
    share: str
    source: str
    balance: str
    timeouts: str
    note: str  # whether too few are healthy, or known
    endpoints: tuple[EndpointView, ...]


class Explanation(Struct, frozen=True):
    """What becomes of the request at one listener."""

    listener: str
    address: str
    source: str
    refused: str  # why its head is not even looked at; empty: it is valid
    route: str  # empty: none
    outcome: str
    rules: tuple[RuleView, ...]
    filters: tuple[FilterView, ...]
    destinations: tuple[DestinationView, ...]


class Numbers:
    """Ids for a snapshot that nobody serves."""

    def __init__(self) -> None:
        self._ids: dict[tuple[str, object], int] = {}

    def id_of(self, kind: str, name: str | tuple[str, ...]) -> int:
        """Numbers in the order of asking."""
        return self._ids.setdefault((kind, name), len(self._ids) + 1)


class Explainer:
    """A directory without errors, compiled, and what is known of its endpoints."""

    def __init__(self, result: LoadResult, live: Live) -> None:
        assert result.config is not None
        self._result = result
        self._config = result.config
        self._live = live
        self.snapshot: Snapshot = compile_snapshot(
            result.config,
            result.digest,
            Numbers(),
            live.addresses,
            certificates=result.certificates,
            found=live.found,
        )
        self._router = Router(len(self.snapshot.listeners))
        self._router.add(self.snapshot.routes, 0)
        self._router.finish_step()

    def explain(
        self, listener_index: int, head: bytes, client: tuple[str | None, str | None, str | None] | None = None
    ) -> Explanation:
        """`head`: of the request, as HTTP/1.1 would carry it. `client`: its verified identity, see Router.match."""
        listener = self.snapshot.listeners[listener_index]
        try:
            request = read_request(head, listener, client)
        except ParseError as error:
            return self._explanation(listener, refused=error.name, outcome=f"refused before routing: {error.name}")
        rules = considered(self.snapshot.routes, listener_index, request)
        index = self._router.match(listener_index, *request)
        views = tuple(self._rule_views(rules, index))
        if index < 0:
            return self._explanation(listener, outcome="no route matches: 404 no_route", rules=views)
        route = self.snapshot.routes[index]
        outcome = f"route {route.name} takes it"
        if request.method == METHOD_TUNNEL and not route.allows_connect:
            outcome += ", but CONNECT is not let through: 501 connect_not_supported"
        return self._explanation(
            listener, outcome=outcome, route=route.name, rules=views,
            filters=tuple(self._filters(listener, route, request)), destinations=tuple(self._destinations(route)),
        )  # fmt: skip

    def place(self, kind: str, name: str) -> str:
        """The file:line of a thing."""
        source = self._result.items[kind][name].source()
        return f"{source.file}:{source.line}"

    def _explanation(
        self, listener: Listener, *, outcome: str, refused: str = "", route: str = "",
        rules: tuple[RuleView, ...] = (), filters: tuple[FilterView, ...] = (),
        destinations: tuple[DestinationView, ...] = (),
    ) -> Explanation:  # fmt: skip
        address = self._config.listeners[listener.name].address
        source = self.place("listeners", listener.name)
        return Explanation(listener.name, address, source, refused, route, outcome, rules, filters, destinations)

    def _rule_views(self, rules: Sequence[Considered], winner_index: int) -> Iterator[RuleView]:
        winner = next((rule for rule in rules if rule.route_index == winner_index), None)
        for rule in rules:
            name = self.snapshot.routes[rule.route_index].name
            missed = [f"{test.of} {test.wanted}: no, {test.found}" for test in rule.findings if not test.passed]
            if rule is winner:
                verdict, why = "matches", ""
            elif winner is not None and not missed:
                winner_name = self.snapshot.routes[winner_index].name
                verdict = "hidden"
                why = f"{winner_name} goes first: {why_before(winner.precedence, rule.precedence)}"
            else:
                verdict, why = "misses", "; ".join(missed)
            yield RuleView(name, self.place("routes", name), verdict, why, rule.findings)

    def _filters(self, listener: Listener, route: Route, request: Request) -> Iterator[FilterView]:
        """In the order in which they run."""
        services = dict.fromkeys(destination.service_index for destination in route.destinations)
        limited = [("listeners", listener.name, listener.limit_index), ("routes", route.name, route.limit_index)]
        for index in services:
            service = self.snapshot.services[index]
            limited.append(("services", service.name, service.limit_index))
        for kind, name, limit_index in limited:
            if limit_index >= 0:
                limit = self.snapshot.limits[limit_index]
                what = limit_phrase(limit) + _bucket(limit, request)
                yield FilterView(f"rate limit of {kind[:-1]} {name}", what, self.place(kind, name))
        source = self.place("listeners", listener.name)
        most = listener.body_max_bytes
        yield FilterView("request body", f"at most {write_size(most)}" if most else "no limit", source)
        yield FilterView("forwarding headers", _forwarding(listener), source)

    def _destinations(self, route: Route) -> Iterator[DestinationView]:
        total = sum(destination.weight for destination in route.destinations)
        for destination in route.destinations:
            service = self.snapshot.services[destination.service_index]
            yield self._destination(destination, service, Fraction(destination.weight, total))

    def _destination(self, destination: Destination, service: Service, share: Fraction) -> DestinationView:
        labels = service.subsets[destination.subset_index]
        item = self._result.items["services"][service.name]
        endpoints, note = endpoint_views(item, self._config.services[service.name], service, labels, self._live)
        timeouts = {
            "connect": service.connect_timeout_ms,
            "request": service.request_timeout_ms,
            "idle": service.idle_timeout_ms,
        }
        return DestinationView(
            service=service.name,
            subset=dict(labels),
            weight=destination.weight,
            share=share_phrase(share),
            source=self.place("services", service.name),
            balance=service.balance.name.lower(),
            timeouts=", ".join(
                f"{name} {write_duration(value) if value else 'none'}" for name, value in timeouts.items()
            ),
            note=note,
            endpoints=endpoints,
        )


def read_request(head: bytes, listener: Listener, client: tuple[str | None, str | None, str | None] | None) -> Request:
    """What the listener's parser makes of a head. Raises ParseError."""
    line_max, head_max = listener.request_line_max_bytes, listener.head_max_bytes
    find_head_end(head, start_line_max=line_max, head_max=head_max)
    fields_max = min(listener.header_max_count, PARSER_FIELDS_MAX)
    parsed = parse_request(head, start_line_max=line_max, head_max=head_max, header_max=fields_max)
    headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in parsed.fields)
    parts = (parsed.method, parsed.authority, parsed.path, parsed.query)
    method, authority, path, query = (part.decode("latin-1") for part in parts)
    return Request(method, authority, path, query, headers, client)


def listeners_of(snapshot: Snapshot, port: int | None) -> list[int]:
    """The indexes of the listeners that a URL with this port may lead to: all that speak HTTP, if none has it."""
    speaking = [index for index, each in enumerate(snapshot.listeners) if each.protocol is not Protocol.TCP]
    return [index for index in speaking if snapshot.listeners[index].port == port] or speaking


def _bucket(limit: Limit, request: Request) -> str:
    """Whose bucket this request takes from, where its headers say so."""
    if limit.key.source is not KeySource.HEADER:
        return ""
    values = [value for name, value in request.headers if name.lower() == limit.key.name]
    return f" (here {values[0]!r})" if values else " (here without it)"


def _forwarding(listener: Listener) -> str:
    hops = listener.trusted_hops
    believed = f"{hops} proxies in front are believed" if hops > 1 else "the proxy in front is believed"
    text = f"X-Forwarded-* are continued: {believed}" if hops else "X-Forwarded-* are replaced: nobody is believed"
    return f"{text}; X-Request-Id" + (f"; Via: {listener.via}" if listener.via else "")
