"""A configuration to a snapshot: names become numbers, defaults and shorthands become fields."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from fastmesh import snapshot as compiled
from fastmesh.config.addresses import join_address
from fastmesh.config.load import without_collection
from fastmesh.config.pem_files import NO_CERTIFICATES
from fastmesh.config.translate import (
    SERVICE_PROTOCOLS,
    Labels,
    alpn_of,
    hash_key_of,
    key_of,
    path_of,
    place,
    server_name_of,
    sorted_labels,
    value_test_of,
    written_out,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fastmesh.config import schema
    from fastmesh.config.pem_files import Certificates
    from fastmesh.config.schema_tls import ListenerTls


class IdRegistry(Protocol):
    """Hands out stable numbers for names: fastmesh.telemetry.ids, or a counter in tests."""

    def id_of(self, kind: Any, name: str | tuple[str, ...]) -> int:
        """The number of a name, from 1; 0: there are no more."""


class CompileCache:
    """What the last snapshot was made from: keep one for each registry."""

    def __init__(self) -> None:
        self.ids: IdRegistry | None = None
        self.routes: dict[str, _KnownRoute] = {}
        self.services: dict[str, _KnownService] = {}


class _Placement(NamedTuple):
    """What a route depends on beside itself. All else that is compiled of it stays as it was."""

    on: tuple[int, ...]  # indexes of listeners
    arms: tuple[tuple[int, int], ...]  # indexes of a service, and of a subset of it
    limit_index: int
    listener_names: tuple[str, ...]


_Wanted = tuple[tuple[str, Labels], ...]
"""Services with their subsets."""
Found = Mapping[str, tuple["schema.Endpoint", ...]]
"""By the name of a service: the endpoints that its sources have found."""
_Parts = tuple[tuple[int, ...], tuple[tuple[int, int], ...], int, tuple[str, ...]]


class _KnownRoute(NamedTuple):
    route: schema.Route
    wanted: _Wanted
    limit: compiled.Limit | None
    placement: _Placement
    compiled: compiled.Route


class _Setting(NamedTuple):
    """What a service depends on beside itself."""

    subsets: tuple[Labels, ...]
    limit_index: int
    found: tuple[schema.Endpoint, ...]  # by its sources
    addresses: tuple[tuple[str, ...], ...]  # of each endpoint, those found after those written: where it is now
    tls: compiled.ServiceTls | None  # with what is in its files


class _KnownService(NamedTuple):
    service: schema.Service
    setting: _Setting
    compiled: compiled.Service


def names_to_resolve(config: schema.Config) -> frozenset[str]:
    """The names in endpoint addresses."""
    return names_of(endpoint for service in config.services.values() for endpoint in service.endpoints)


def names_of(endpoints: Iterable[schema.Endpoint]) -> frozenset[str]:
    """The names in the addresses of these."""
    places = [place(endpoint.address) for endpoint in endpoints]
    return frozenset(each.host for each in places if not each.is_literal)


def compile_snapshot(
    config: schema.Config,
    version: str,
    ids: IdRegistry,
    resolved: Mapping[str, tuple[str, ...]],
    cache: CompileCache | None = None,
    certificates: Certificates = NO_CERTIFICATES,
    found: Found | None = None,
) -> compiled.Snapshot:
    """Compile a configuration without errors. `cache`: of the compilations before, by the same registry."""
    cache = cache or CompileCache()
    if cache.ids is not ids:
        cache.ids, cache.routes, cache.services = ids, {}, {}
    with without_collection():
        return _Compilation(config, ids, resolved, cache, certificates, found or {}).snapshot(version)


@lru_cache(maxsize=65536)
def _shared(wanted: _Wanted) -> _Wanted:
    """Equal ones are one object: 10,000 routes to few services then touch little memory."""
    return wanted


class _Compilation:
    """What is known while one snapshot is made."""

    def __init__(
        self,
        config: schema.Config,
        ids: IdRegistry,
        resolved: Mapping[str, tuple[str, ...]],
        cache: CompileCache,
        certificates: Certificates,
        found: Found,
    ) -> None:
        self.config, self.ids, self.resolved, self.cache = config, ids, resolved, cache
        self.files, self.found = certificates, found
        self.limits: list[compiled.Limit] = []
        self.certificates: list[compiled.Certificate] = []
        self.certificate_index: dict[tuple[str, str], int] = {}
        self.listener_names = tuple(config.listeners)
        spoken = [listener.spoken for listener in config.listeners.values()]
        self.everywhere = tuple([index for index, protocol in enumerate(spoken) if protocol != "tcp"])
        self.listener_index = {name: index for index, name in enumerate(config.listeners)}
        self.service_index = {name: index for index, name in enumerate(config.services)}
        self.arms: dict[_Wanted, tuple[tuple[int, int], ...]] = {}
        self.subsets: dict[str, dict[Labels, int]] = {name: {(): 0} for name in config.services}

    def snapshot(self, version: str) -> compiled.Snapshot:
        listeners = tuple(self.listener(name, listener) for name, listener in self.config.listeners.items())
        routes = self.routes()  # before the services: they say which subsets there are
        services = self.services()
        log = self.config.access_log
        access_log = compiled.AccessLog()
        if log is not None:
            access_log = compiled.AccessLog(True, "" if log.format == "json" else log.format, log.sample)
        return compiled.Snapshot(
            version, listeners, services, routes, tuple(self.limits), access_log, tuple(self.certificates)
        )

    def limit(self, kind: str, name: str, limit: schema.RateLimit | None) -> compiled.Limit | None:
        if limit is None:
            return None
        full = f"{kind}/{name}"
        return compiled.Limit(self.ids.id_of("limit", full), full, limit.rate, limit.burst, key_of(limit.key))

    def add_limit(self, limit: compiled.Limit | None) -> int:
        """Its index in the snapshot; -1: there is none."""
        if limit is None:
            return -1
        self.limits.append(limit)
        return len(self.limits) - 1

    def listener(self, name: str, listener: schema.Listener) -> compiled.Listener:
        host, port, _ = place(listener.address)
        limits, timeouts = listener.limits, listener.timeouts
        return compiled.Listener(
            id=self.ids.id_of("listener", name),
            name=name,
            host=host,
            port=port,
            request_line_max_bytes=limits.request_line,
            head_max_bytes=limits.head,
            header_max_count=limits.headers,
            body_max_bytes=limits.body,
            connections_max=limits.connections,
            connection_requests_max=limits.requests_per_connection,
            head_timeout_ms=timeouts.head,
            idle_timeout_ms=timeouts.idle,
            trusted_hops=listener.trusted_hops,
            via=listener.via or "",
            limit_index=self.add_limit(self.limit("listener", name, listener.rate_limit)),
            unrouted_series_id=self.ids.id_of("series", (name, "", "", "")),
            protocol=compiled.Protocol[listener.spoken.upper()],
            tls=self.listener_tls(listener, listener.tls) if listener.tls is not None else None,
            tcp_routes=self.tcp_routes(name, listener),
            proxy_protocol_from=tuple(listener.proxy_protocol.from_) if listener.proxy_protocol else (),
            detect_timeout_ms=timeouts.detect,
            streams_max=limits.streams,
            connection_age_max_ms=timeouts.connection_age,
            tcp_idle_timeout_ms=timeouts.tcp_idle,
        )

    def listener_tls(self, listener: schema.Listener, tls: ListenerTls) -> compiled.ListenerTls:
        return compiled.ListenerTls(
            certificate_indexes=tuple([self.certificate(pair.certificate, pair.key) for pair in tls.certificates]),
            client_certificate=compiled.ClientCertificate[tls.client_certificate.upper()],
            client_ca_pem=self.bundle(tls.client_ca),
            min_version=tls.min_version,
            ciphers=":".join(tls.ciphers),
            alpn=alpn_of(tls, listener.spoken),
            is_optional=tls.optional,
            handshake_timeout_ms=listener.timeouts.handshake,
            forwards_client_certificate=tls.forward_client_certificate,
        )

    def certificate(self, file: str, key: str) -> int:
        """Its index in the snapshot."""
        index = self.certificate_index.setdefault((file, key), len(self.certificates))
        if index == len(self.certificates):
            pair = self.files.pairs[file, key]
            self.certificates.append(compiled.Certificate(file, pair.chain_pem, pair.key_pem, pair.names))
        return index

    def bundle(self, file: str | None) -> bytes:
        return self.files.bundles[file].pem if file is not None else b""

    def tcp_routes(self, name: str, listener: schema.Listener) -> tuple[compiled.TcpRoute, ...]:
        if listener.tcp is None:
            return ()
        arms = [*listener.tcp.sni.items()]
        if listener.tcp.to:
            arms.append(("", listener.tcp.to))
        return tuple([self.tcp_route(name, sni, to) for sni, to in arms])

    def tcp_route(self, listener: str, sni: str, to: list[schema.Destination]) -> compiled.TcpRoute:
        name = f"tcp:{sni or '*'}"  # no HTTP route has a colon in its name
        on = (self.listener_index[listener],)
        arms = [self.arm(each.service, sorted_labels(each.subset)) for each in to]
        destinations = [self.destination(name, each, *arm, on) for each, arm in zip(to, arms, strict=True)]
        return compiled.TcpRoute(name, (sni,) if sni else (), tuple(destinations))

    def routes(self) -> tuple[compiled.Route, ...]:
        before, after = self.cache.routes, {}
        for name, route in self.config.routes.items():
            known = before.get(name)
            if known is None or known.route is not route:
                after[name] = self.new_route(name, route)
                continue
            placement = self.placement(route, known.wanted, known.limit)
            after[name] = known if placement == known.placement else self.moved_route(known, _Placement(*placement))
        self.cache.routes = after
        return tuple([known.compiled for known in after.values()])

    def placement(self, route: schema.Route, wanted: _Wanted, limit: compiled.Limit | None) -> _Parts:
        """The parts of a _Placement, which few routes need anew. Takes an index for the limit."""
        limit_index = -1
        if limit is not None:
            limit_index = len(self.limits)
            self.limits.append(limit)
        arms = self.arms.get(wanted)
        if arms is None:
            arms = self.arms[wanted] = tuple([self.arm(service, labels) for service, labels in wanted])
        return (self.on(route) if route.listeners else self.everywhere, arms, limit_index, self.listener_names)

    def on(self, route: schema.Route) -> tuple[int, ...]:
        return tuple(sorted({self.listener_index[listener] for listener in route.listeners}))

    def arm(self, service: str, labels: Labels) -> tuple[int, int]:
        subsets = self.subsets[service]
        return (self.service_index[service], subsets.setdefault(labels, len(subsets)))

    def new_route(self, name: str, route: schema.Route) -> _KnownRoute:
        wanted = _shared(tuple([(to.service, sorted_labels(to.subset)) for to in route.to]))
        limit = self.limit("route", name, route.rate_limit)
        placement = _Placement(*self.placement(route, wanted, limit))
        return _KnownRoute(route, wanted, limit, placement, self.route(name, route, placement))

    def moved_route(self, known: _KnownRoute, placement: _Placement) -> _KnownRoute:
        """A route that is the same, while others before it came or went."""
        old, on, destinations = known.compiled, placement.on, known.compiled.destinations
        if placement[:2] + placement[3:] != known.placement[:2] + known.placement[3:]:
            arms = zip(known.route.to, placement.arms, strict=True)
            destinations = tuple([self.destination(old.name, to, *arm, on) for to, arm in arms])
        moved = compiled.Route(
            old.id, old.name, on, old.hosts, old.path_match, old.path, old.methods, old.headers, old.query,
            destinations, placement.limit_index, old.client, old.allows_connect,
        )  # fmt: skip
        return known._replace(placement=placement, compiled=moved)

    def route(self, name: str, route: schema.Route, placement: _Placement) -> compiled.Route:
        on, arms = placement.on, placement.arms
        match, tests = route.match, written_out(route.match)
        path_match, path = path_of(tests.path)
        client: tuple[compiled.ValueTest, ...] = ()
        if match.client is not None:
            client = tuple([value_test_of(part, test) for part, test in match.client.tests().items()])
        return compiled.Route(
            id=self.ids.id_of("route", name),
            name=name,
            listener_indexes=on,
            hosts=tuple(match.hosts),
            path_match=path_match,
            path=path,
            methods=tuple(tests.methods),
            headers=tuple([value_test_of(header, test) for header, test in tests.headers.items()]),
            query=tuple([value_test_of(parameter, test) for parameter, test in match.query.items()]),
            destinations=tuple([self.destination(name, to, *arm, on) for to, arm in zip(route.to, arms, strict=True)]),
            limit_index=placement.limit_index,
            client=client,
            allows_connect=route.connect,
        )

    def destination(
        self, route: str, to: schema.Destination, service: int, subset: int, on: tuple[int, ...]
    ) -> compiled.Destination:
        shown = ",".join(f"{key}={value}" for key, value in sorted_labels(to.subset))
        series = [self.ids.id_of("series", (self.listener_names[index], route, to.service, shown)) for index in on]
        return compiled.Destination(service, subset, to.weight, tuple(series))

    def services(self) -> tuple[compiled.Service, ...]:
        before, after = self.cache.services, {}
        for name, service in self.config.services.items():
            limit_index = self.add_limit(self.limit("service", name, service.rate_limit))
            found = self.found.get(name, ())
            addresses = self.addresses((*service.endpoints, *found))
            setting = _Setting(tuple(self.subsets[name]), limit_index, found, addresses, self.service_tls(service))
            known = before.get(name)
            if known is None or known.service is not service or known.setting != setting:
                known = _KnownService(service, setting, self.service(name, service, setting))
            after[name] = known
        self.cache.services = after
        return tuple([known.compiled for known in after.values()])

    def addresses(self, endpoints: tuple[schema.Endpoint, ...]) -> tuple[tuple[str, ...], ...]:
        places = [place(endpoint.address) for endpoint in endpoints]
        return tuple([(place.host,) if place.is_literal else self.resolved.get(place.host, ()) for place in places])

    def service(self, name: str, service: schema.Service, setting: _Setting) -> compiled.Service:
        timeouts, pool = service.timeouts, service.pool
        return compiled.Service(
            id=self.ids.id_of("service", name),
            name=name,
            balance=compiled.Balance[service.balance.algorithm.upper()],
            hash_key=hash_key_of(service.balance),
            connect_timeout_ms=timeouts.connect,
            request_timeout_ms=timeouts.request,
            idle_timeout_ms=timeouts.idle,
            pool_connections_max=pool.connections,
            pool_idle_timeout_ms=pool.idle,
            pool_age_max_ms=pool.max_age,
            panic_percent=service.panic_threshold,
            limit_index=setting.limit_index,
            endpoints=self.endpoints(name, (*service.endpoints, *setting.found), setting.addresses),
            subsets=setting.subsets,
            protocol=SERVICE_PROTOCOLS[service.protocol],
            tls=setting.tls,
            proxy_protocol_version=int(service.proxy_protocol.removeprefix("v")) if service.proxy_protocol else 0,
            streams_max=pool.streams,
        )

    def service_tls(self, service: schema.Service) -> compiled.ServiceTls | None:
        tls = service.tls
        if tls is None:
            return None
        return compiled.ServiceTls(
            ca_pem=self.bundle(tls.ca),
            verifies=tls.verify,
            server_name=server_name_of(service),
            spiffe_ids=tuple(tls.spiffe_ids),
            certificate_index=self.certificate(tls.certificate, tls.key) if tls.certificate and tls.key else -1,
            min_version=tls.min_version,
        )

    def endpoints(
        self, name: str, endpoints: tuple[schema.Endpoint, ...], addresses: tuple[tuple[str, ...], ...]
    ) -> tuple[compiled.Endpoint, ...]:
        """Each address once, though two names may lead to it: as what is written first has it."""
        found: dict[str, compiled.Endpoint] = {}
        for endpoint, hosts in zip(endpoints, addresses, strict=True):
            port = place(endpoint.address).port
            for host in hosts:
                address = join_address(host, port)
                if address in found:
                    continue
                number = self.ids.id_of("endpoint", (name, address))
                found[address] = compiled.Endpoint(number, host, port, endpoint.weight, sorted_labels(endpoint.labels))
        return tuple(found.values())
