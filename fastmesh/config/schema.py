"""The language: every kind, field, default and description. The JSON Schema and the reference are made from this
file and `schema_tls`."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from fastmesh.config.addresses import is_ip, split_address
from fastmesh.config.fields import HOUR, MINUTE, SECOND, Flaw, Mapping, OneOrMany
from fastmesh.config.scalars import (
    Bool,
    BoundAddress,
    CookieName,
    Directory,
    Duration,
    EndpointAddress,
    FilePattern,
    GrpcMethod,
    GrpcService,
    HeaderName,
    Host,
    IpAddress,
    Label,
    ListenerName,
    LogFormat,
    Method,
    Name,
    Network,
    Percent,
    QueryName,
    Rate,
    Regex,
    ServiceName,
    ServiceRecord,
    Share,
    Size,
    Sni,
    Statuses,
    Text,
    Token,
    UrlPath,
    integer,
    one_of,
)
from fastmesh.config.schema_tls import ListenerTls, ServiceTls

KIB = 1024
HEAD_MAX_BYTES = 96 * KIB  # with what forwarding adds, and its table, a head fits the largest buffer of the engine
HASHING = ("ring_hash", "maglev")
GRPC_HEADER = "content-type"

Weight = Annotated[int, integer(0, 10_000)]
Count = Annotated[int, integer(1, 1_000_000)]
Streams = Annotated[int, integer(1, 10_000)]
CountOrNone = Annotated[int, integer(0, 1_000_000_000)]


class Admin(Mapping, frozen=True):
    """The admin API: health, readiness, metrics, the active configuration, drain."""

    address: Annotated[
        BoundAddress,
        Meta(description="Where the admin API listens. Whoever reaches it may drain the mesh: keep it private."),
    ] = "127.0.0.1:9900"


class HeaderKey(Mapping, frozen=True):
    """The key of a hash balancer or of a rate limit. A request without the header or cookie has the empty key."""

    choices: ClassVar[tuple[str, ...]] = ("header", "cookie")
    header: Annotated[HeaderName | None, Meta(description="The value of this request header.")] = None
    cookie: Annotated[CookieName | None, Meta(description="The value of this cookie.")] = None


class RateLimit(Mapping, frozen=True):
    """A token bucket, exact across all workers. What it refuses is answered with 429 and Retry-After."""

    rate: Annotated[Rate, Meta(description="Requests let through on average.")]
    burst: Annotated[
        Annotated[int, integer(1, 10_000_000)],
        Meta(description="Requests let through at once when the bucket is full."),
    ] = 1
    key: Annotated[
        HeaderKey | Annotated[str, one_of("source_address", "client")] | None,
        Meta(
            description="One bucket for each value of `{header: name}`, `{cookie: name}`, `source_address` or `client`"
            " (the verified identity: URI, else DNS name, else subject); without it, one for all."
        ),
    ] = None


class ListenerLimits(Mapping, frozen=True):
    """What a stranger may send."""

    request_line: Annotated[Size, Meta(description="Longest request line; more is answered with 414.")] = 8 * KIB
    head: Annotated[Size, Meta(description="Largest request head; more is answered with 431.")] = 60 * KIB
    headers: Annotated[
        Annotated[int, integer(1, 1000)], Meta(description="Most header fields; more are answered with 431.")
    ] = 100
    body: Annotated[
        Size,
        Meta(
            description="Largest request body; more is answered with 413. 0: no limit; bodies are streamed, never held."
        ),
    ] = 0
    connections: Annotated[Count, Meta(description="Most open connections; more are closed at once.")] = 100_000
    requests_per_connection: Annotated[
        CountOrNone, Meta(description="A connection is closed after so many requests. 0: no limit.")
    ] = 0
    streams: Annotated[Streams, Meta(description="HTTP/2: most requests at a time on a connection.")] = 128

    def flaw(self) -> Flaw | None:
        """Bounds that keep the memory of a connection bounded."""
        if not KIB <= self.head <= HEAD_MAX_BYTES:
            return Flaw("head", f"it must be from 1KiB to {HEAD_MAX_BYTES // KIB}KiB")
        if not 64 <= self.request_line <= self.head:
            return Flaw("request_line", "it must be from 64B to the size of `head`")
        return None


class ListenerTimeouts(Mapping, frozen=True):
    """How long a stranger may take."""

    head: Annotated[
        Duration,
        Meta(description="From the first byte of a request to the end of its head, then 408; and for a PROXY header."),
    ] = 10 * SECOND
    idle: Annotated[Duration, Meta(description="Without a request; then the connection is closed.")] = 60 * SECOND
    handshake: Annotated[Duration, Meta(description="For the TLS handshake; then the connection is closed.")] = (
        10 * SECOND
    )
    detect: Annotated[
        Duration, Meta(description="With `protocol: detect`: after so long a silence it is not HTTP.")
    ] = 100
    tcp_idle: Annotated[
        Duration, Meta(description="TCP: without a byte in either direction; then the connection is closed.")
    ] = 1 * HOUR
    connection_age: Annotated[
        Duration,
        Meta(description="A connection is asked to end after so long, with jitter; requests finish. 0s: no limit."),
    ] = 0

    def flaw(self) -> Flaw | None:
        """A stranger never has for ever."""
        return self._zero("head", "idle", "handshake", "detect", "tcp_idle")


class Destination(Mapping, frozen=True):
    """Where a route sends requests. The name of a service may stand for it."""

    short: ClassVar[str] = "service"
    service: Annotated[ServiceName, Meta(description="The name of a service.")]
    subset: Annotated[dict[Label, Label], Meta(description="Only endpoints that bear all these labels.")] = {}
    weight: Annotated[Weight, Meta(description="Its share of the route's requests.")] = 1


def weightless(field: str, to: list[Destination]) -> Flaw | None:
    """Somebody must get the requests."""
    if not to or any(destination.weight for destination in to):
        return None
    return Flaw(field, "all weights are 0", "give one of them a weight of at least 1")


class ListenerTcp(Mapping, frozen=True):
    """Where TCP connections go: bytes to bytes, whatever they mean."""

    to: Annotated[
        list[Destination],
        OneOrMany(),
        Meta(
            description="A service, or several that share the connections by weight. Without it, what `sni` does not"
            " name is refused."
        ),
    ] = []
    sni: Annotated[
        dict[Sni, Annotated[list[Destination], OneOrMany()]],
        Meta(
            description="By the server name that a TLS client asks for, or `*.name` for all names below it: a service,"
            " or several. TLS passes through untouched."
        ),
    ] = {}

    def flaw(self) -> Flaw | None:
        """There is somewhere to go."""
        if not self.to and not self.sni:
            return Flaw("", "it says nothing", "write to: SERVICE, or sni: {NAME: SERVICE}")
        flaws = [weightless(f"sni.{name}", to) for name, to in self.sni.items()]
        return next((flaw for flaw in [weightless("to", self.to), *flaws] if flaw), None)


class ProxyProtocolIn(Mapping, frozen=True, rename={"from_": "from"}):
    """Connections that begin with a PROXY header (version 1 or 2), which says who the client is."""

    from_: Annotated[
        list[Network],
        Meta(
            description="Proxies that are believed: every connection from there must begin with a PROXY header. From"
            " elsewhere, it is an error."
        ),
    ]


class Listener(Mapping, frozen=True):
    """An address on which requests arrive."""

    short: ClassVar[str] = "address"
    address: Annotated[
        BoundAddress,
        Meta(description="An IP address and a port; 0.0.0.0: all of IPv4, [::]: all of IPv6."),
    ]
    limits: Annotated[ListenerLimits, Meta(description="What a stranger may send.")] = ListenerLimits()
    timeouts: Annotated[ListenerTimeouts, Meta(description="How long a stranger may take.")] = ListenerTimeouts()
    trusted_hops: Annotated[
        Annotated[int, integer(0, 16)],
        Meta(
            description="Proxies in front of this listener that are believed. 0: X-Forwarded-* headers are replaced."
            " Else the client is the address that the first of them saw, and what stands before it is cut off."
        ),
    ] = 0
    via: Annotated[
        Token | None, Meta(description="The name under which Via mentions this proxy; without it there is no Via.")
    ] = None
    rate_limit: Annotated[RateLimit | None, Meta(description="For all requests of this listener.")] = None
    protocol: Annotated[
        Annotated[str, one_of("http", "http1", "http2", "tcp", "detect")] | None,
        Meta(
            description="`http`, the default: HTTP/1 and HTTP/2, told apart by the first bytes, with TLS by ALPN."
            " `http1`, `http2`: one alone. `tcp`, the default with `tcp`: bytes. `detect`: HTTP, and `tcp` for all else"
            " and for clients that are silent."
        ),
    ] = None
    tls: Annotated[ListenerTls | None, Meta(description="How TLS is terminated. Without it: there is none.")] = None
    tcp: Annotated[ListenerTcp | None, Meta(description="Where connections go that are not HTTP.")] = None
    proxy_protocol: Annotated[
        ProxyProtocolIn | None, Meta(description="Proxies that say by a PROXY header who the client is.")
    ] = None

    @property
    def spoken(self) -> str:
        """The protocol, with its default."""
        return self.protocol or ("http" if self.tcp is None else "tcp")

    def flaw(self) -> Flaw | None:
        """The protocol, TLS and TCP fit together."""
        return self._tcp_flaw() or self._tls_flaw()

    def _tcp_flaw(self) -> Flaw | None:
        if self.spoken in ("tcp", "detect"):
            if self.tcp is None:
                return Flaw(
                    "protocol", f"{self.spoken}, but nothing says where connections go", "add tcp: {to: SERVICE}"
                )
        elif self.tcp is not None:
            return Flaw("tcp", f"protocol {self.spoken} has no such connections", "write protocol: tcp, or detect")
        if self.spoken == "tcp" and self.rate_limit is not None and isinstance(self.rate_limit.key, HeaderKey):
            return Flaw("rate_limit.key", "TCP has neither headers nor cookies", "write key: source_address")
        return None

    def _tls_flaw(self) -> Flaw | None:
        if self.tls is None:
            return None
        if self.tcp is not None and self.tcp.sni:
            hint = "remove `tls`: whoever answers shows the certificate; or send all to one service by tcp.to"
            return Flaw("tcp.sni", "TLS cannot both end here and pass through", hint)
        known = {"http1": ("http/1.1",), "http2": ("h2",), "http": ("h2", "http/1.1")}.get(self.spoken)
        foreign = [name for name in self.tls.alpn if known and name not in known]
        if foreign:
            return Flaw("tls.alpn", f"protocol {self.spoken} does not speak {foreign[0]}", "remove it from one of them")
        return None


class Endpoint(Mapping, frozen=True):
    """One place where a service answers. An address alone may stand for it."""

    short: ClassVar[str] = "address"
    address: Annotated[
        EndpointAddress,
        Meta(description="An IP address or a name, and a port. All addresses of a name are used, and followed."),
    ]
    labels: Annotated[dict[Label, Label], Meta(description="What subsets choose by.")] = {}
    weight: Annotated[Weight, Meta(description="Its share of the requests. 0: no new ones.")] = 1


class Discover(Mapping, frozen=True):
    """A source of endpoints that is followed while the mesh runs. The path of a registry may stand for it."""

    short: ClassVar[str] = "registry"
    choices: ClassVar[tuple[str, ...]] = ("srv", "files", "registry")
    srv: Annotated[
        ServiceRecord | None,
        Meta(description="SRV records of this name: those of the lowest priority level, with their weights."),
    ] = None
    files: Annotated[
        FilePattern | None,
        Meta(
            description="Files that other tools write: lists of endpoints, or of groups as Prometheus has them"
            " (`file_sd`). A relative path begins at the directory of the configuration."
        ),
    ] = None
    registry: Annotated[
        Directory | None,
        Meta(
            description="The directory where `fastmesh sidecar` registers instances. A relative path begins at the"
            " directory of the configuration; `registry` is where `--config` leads."
        ),
    ] = None
    labels: Annotated[
        dict[Label, Label], Meta(description="Put on every endpoint that is found; its own labels come first.")
    ] = {}
    allow_empty: Annotated[
        Bool,
        Meta(
            description="`true`: a source that says that there is none is believed. Without it the last endpoints stay."
        ),
    ] = False

    @property
    def kind(self) -> str:
        """Which of the choices is written."""
        return "srv" if self.srv else "files" if self.files else "registry"

    @property
    def place(self) -> str:
        """Where it looks, as it is written."""
        return self.srv or self.files or self.registry or ""


class Balance(Mapping, frozen=True):
    """How an endpoint is chosen. The algorithm alone may stand for it."""

    short: ClassVar[str] = "algorithm"
    algorithm: Annotated[
        Annotated[str, one_of("round_robin", "random", "least_request", "peak_ewma", "ring_hash", "maglev")],
        Meta(
            description="`round_robin`: in turn. `random`. `least_request`: of two at random, the one with fewer"
            " requests."
            " `peak_ewma`: of two at random, the one that answers sooner. `ring_hash`, `maglev`: the same key, the"
            " same endpoint."
        ),
    ] = "least_request"
    key: Annotated[
        HeaderKey | Annotated[str, one_of("source_address", "path", "client")] | None,
        Meta(
            description="For `ring_hash` and `maglev`: `{header: name}`, `{cookie: name}`, `path`, `client` (the"
            " verified identity) or `source_address`, which is the default."
        ),
    ] = None

    def flaw(self) -> Flaw | None:
        """Only hashing has a key."""
        if self.key is not None and self.algorithm not in HASHING:
            return Flaw("key", f"{self.algorithm} has no key", "it is for " + " and ".join(HASHING))
        return None


class ServiceTimeouts(Mapping, frozen=True):
    """How long a service may take."""

    connect: Annotated[
        Duration, Meta(description="To accept a connection; then another endpoint, then 503 `connect_timeout`.")
    ] = 1 * SECOND
    request: Annotated[
        Duration,
        Meta(
            description="From the end of the request to the response's head, all tries together; then 504"
            " `request_timeout`. 0s: for ever."
        ),
    ] = 15 * SECOND
    idle: Annotated[
        Duration, Meta(description="Within an exchange, without a byte in either direction. 0s: for ever.")
    ] = 5 * MINUTE

    def flaw(self) -> Flaw | None:
        """A connection is not waited for for ever."""
        return self._zero("connect")


class Pool(Mapping, frozen=True):
    """Connections kept to each endpoint, in each worker."""

    connections: Annotated[
        Count, Meta(description="Most open connections to one endpoint; beyond them 503 `pool_exhausted`.")
    ] = 1024
    idle: Annotated[
        Duration, Meta(description="An unused connection is kept so long: less than the service itself keeps it.")
    ] = 30 * SECOND
    max_age: Annotated[
        Duration, Meta(description="A connection is closed after so long, with jitter, once unused. 0s: no limit.")
    ] = 1 * HOUR
    streams: Annotated[
        Streams, Meta(description="HTTP/2: most requests at a time on a connection, if the endpoint allows more.")
    ] = 128

    def flaw(self) -> Flaw | None:
        """Idle connections end."""
        return self._zero("idle")


class HttpCheck(Mapping, frozen=True):
    """A GET whose status tells. A path alone may stand for it."""

    short: ClassVar[str] = "path"
    path: Annotated[UrlPath, Meta(description="What is asked for.")] = "/"
    status: Annotated[Statuses, Meta(description="Healthy statuses.")] = (200, 399)
    host: Annotated[Text, Meta(description="The Host header; empty: the endpoint's own address.")] = ""


class GrpcCheck(Mapping, frozen=True):
    """A call of grpc.health.v1.Health/Check that must be answered with SERVING. The service alone may stand for it."""

    short: ClassVar[str] = "service"
    service: Annotated[Text, Meta(description="The service that is asked about; empty: the server as a whole.")] = ""


class HealthCheck(Mapping, frozen=True):
    """Every endpoint is asked, once a node. Without a check, an endpoint counts as healthy."""

    choices: ClassVar[tuple[str, ...]] = ("http", "tcp", "grpc")
    http: Annotated[HttpCheck | None, Meta(description="Ask by HTTP: `{path: /health}`.")] = None
    tcp: Annotated[Bool | None, Meta(description="`true`: a connection that is accepted is enough.")] = None
    grpc: Annotated[GrpcCheck | None, Meta(description="Ask by gRPC: `{service: shop.Orders}`, or `{}`.")] = None
    interval: Annotated[Duration, Meta(description="Between two checks of an endpoint, jittered.")] = 2 * SECOND
    timeout: Annotated[Duration, Meta(description="For a whole check.")] = 1 * SECOND
    rise: Annotated[
        Annotated[int, integer(1, 100)], Meta(description="Successes in a row that make an endpoint healthy again.")
    ] = 2
    fall: Annotated[Annotated[int, integer(1, 100)], Meta(description="Failures in a row that make it unhealthy.")] = 3

    def flaw(self) -> Flaw | None:
        """Checks take time."""
        if self.tcp is False:
            return Flaw("tcp", "it can only be true", "leave it out")
        return self._zero("interval", "timeout")


class Service(Mapping, frozen=True):
    """A logical name, and the endpoints that answer to it."""

    needed: ClassVar[tuple[str, ...]] = ("endpoints", "discover")
    endpoints: Annotated[list[Endpoint], Meta(description="Where the service answers.")] = []
    discover: Annotated[
        list[Discover],
        OneOrMany(),
        Meta(description="Where more endpoints are found while the mesh runs: one source or several."),
    ] = []
    balance: Annotated[Balance, Meta(description="How an endpoint is chosen.")] = Balance()
    timeouts: Annotated[ServiceTimeouts, Meta(description="How long the service may take.")] = ServiceTimeouts()
    pool: Annotated[Pool, Meta(description="Connections kept to each endpoint.")] = Pool()
    health_check: Annotated[HealthCheck | None, Meta(description="How endpoints are checked.")] = None
    panic_threshold: Annotated[
        Percent, Meta(description="When a smaller share of the endpoints is healthy, all of them are used. 0%: never.")
    ] = 50
    rate_limit: Annotated[RateLimit | None, Meta(description="For all requests to this service.")] = None
    protocol: Annotated[
        Annotated[str, one_of("http1", "http2", "auto", "grpc")],
        Meta(
            description="What its endpoints speak. `grpc`: the same as `http2`. `auto`: HTTP/2 where the endpoint"
            " chooses it in the TLS handshake. TCP connections are passed on as they are."
        ),
    ] = "http1"
    tls: Annotated[ServiceTls | None, Meta(description="How connections are secured. Without it: they are not.")] = None
    proxy_protocol: Annotated[
        Annotated[str, one_of("v1", "v2")] | None,
        Meta(
            description="Each connection begins with a PROXY header that names the client for which it was opened; for"
            " TCP, above all."
        ),
    ] = None

    def flaw(self) -> Flaw | None:
        """Each address and each source stands once, and it is known whom to expect there."""
        if self.protocol == "auto" and self.tls is None:
            return Flaw("protocol", "auto is for services with TLS", "add `tls`, or write http1 or http2")
        return self._unnamed() or self._repeated()

    def _unnamed(self) -> Flaw | None:
        """Names that are found say nothing of who may answer: otherwise, whoever is found would be believed."""
        if self.tls is not None and self.tls.verify and not self.tls.spiffe_ids and not self.tls.server_name:
            if self.discover:
                hint = "add server_name: the name in their certificates; or spiffe_ids"
                return Flaw("tls", "endpoints are found while the mesh runs: which name is verified?", hint)
            hosts = {split_address(endpoint.address)[0] for endpoint in self.endpoints}
            names = {host for host in hosts if not is_ip(host)}
            if names and len(hosts) > 1:
                hint = "add server_name: the name in their certificates"
                return Flaw("tls", "the endpoints have different hosts: which name is verified?", hint)
        return None

    def _repeated(self) -> Flaw | None:
        sources: set[tuple[str, str]] = set()
        for source in self.discover:
            if (source.kind, source.place) in sources:
                return Flaw("discover", f"{source.kind} {source.place} is there twice", "remove one of them")
            sources.add((source.kind, source.place))
        seen: set[str] = set()
        for endpoint in self.endpoints:
            if endpoint.address in seen:
                return Flaw("endpoints", f"{endpoint.address} is there twice", "give it more weight instead")
            seen.add(endpoint.address)
        return None


class PathTest(Mapping, frozen=True):
    """Which paths match."""

    choices: ClassVar[tuple[str, ...]] = ("exact", "prefix", "regex")
    exact: Annotated[UrlPath | None, Meta(description="This path and no other.")] = None
    prefix: Annotated[
        UrlPath | None,
        Meta(
            description="This path, and all below it: /a matches /a and /a/b, not /ab. A / at the end makes no"
            " difference."
        ),
    ] = None
    regex: Annotated[Regex | None, Meta(description="The whole path matches this expression (RE2, linear time).")] = (
        None
    )


ANY_PATH = PathTest(prefix="/")


class PlainValueTest(Mapping, frozen=True):
    """A test of a value. A text alone stands for `exact`."""

    short: ClassVar[str] = "exact"
    choices: ClassVar[tuple[str, ...]] = ("exact", "prefix", "regex", "present", "absent")
    exact: Annotated[Text | None, Meta(description="The value is this text.")] = None
    prefix: Annotated[Text | None, Meta(description="The value begins with this text.")] = None
    regex: Annotated[Regex | None, Meta(description="The whole value matches this expression (RE2, linear time).")] = (
        None
    )
    present: Annotated[Bool | None, Meta(description="`true`: it is there, whatever its value.")] = None
    absent: Annotated[Bool | None, Meta(description="`true`: it is not there.")] = None

    def flaw(self) -> Flaw | None:
        """`present` and `absent` are opposites, not values."""
        if self.present is False:
            return Flaw("present", "it can only be true", "write {absent: true}")
        if self.absent is False:
            return Flaw("absent", "it can only be true", "write {present: true}")
        return None


class ValueTest(PlainValueTest, frozen=True, rename={"not_": "not"}):
    """A test of a header or of a query parameter. A text alone stands for `exact`."""

    choices: ClassVar[tuple[str, ...]] = (*PlainValueTest.choices, "not")
    not_: Annotated[
        PlainValueTest | None, Meta(description="The test in here fails; so it matches too where the value is missing.")
    ] = None


class GrpcMatch(Mapping, frozen=True):
    """Which gRPC calls match. `{}`: every one. The name of a service alone may stand for it."""

    short: ClassVar[str] = "service"
    service: Annotated[GrpcService | None, Meta(description="The full name of a service, such as shop.Orders.")] = None
    method: Annotated[GrpcMethod | None, Meta(description="One method of it; without it, all.")] = None

    def flaw(self) -> Flaw | None:
        """A method belongs to a service."""
        return Flaw("method", "of which service?", "add `service`") if self.method and not self.service else None


class ClientMatch(Mapping, frozen=True):
    """Tests of the client's identity, as its certificate was verified: `listeners.*.tls.client_certificate`."""

    uri: Annotated[ValueTest | None, Meta(description="The first URI of the certificate, such as a SPIFFE id.")] = None
    dns: Annotated[ValueTest | None, Meta(description="The first DNS name of the certificate.")] = None
    subject: Annotated[
        ValueTest | None, Meta(description="The subject of the certificate, such as `CN=web,O=example` (RFC 4514).")
    ] = None

    def tests(self) -> dict[str, ValueTest]:
        """Those that are written, by the part of the identity."""
        tests = {"uri": self.uri, "dns": self.dns, "subject": self.subject}
        return {part: test for part, test in tests.items() if test is not None}

    def flaw(self) -> Flaw | None:
        """Something is tested."""
        return (
            None if self.tests() else Flaw("", "it says nothing", "for any verified client: {subject: {present: true}}")
        )


class Match(Mapping, frozen=True):
    """Which requests a route takes: those that pass every test."""

    hosts: Annotated[
        list[Host],
        Meta(
            description="Any of these: a name, or `*.name` for all names below it. Without it: any host. Ports are"
            " not compared."
        ),
    ] = []
    path: Annotated[PathTest, Meta(description="The path, without the query.")] = ANY_PATH
    methods: Annotated[list[Method], Meta(description="Any of these methods. Without it: any method.")] = []
    headers: Annotated[dict[HeaderName, ValueTest], Meta(description="Tests of request headers, by name.")] = {}
    query: Annotated[dict[QueryName, ValueTest], Meta(description="Tests of query parameters, by name.")] = {}
    grpc: Annotated[
        GrpcMatch | None,
        Meta(
            description="gRPC calls: stands for method POST, the path `/service/method` or all below `/service`, and a"
            " test that `content-type` begins with `application/grpc`."
        ),
    ] = None
    client: Annotated[
        ClientMatch | None,
        Meta(
            description="Tests of the client's verified identity. Without a verified identity, every value is missing."
        ),
    ] = None

    def flaw(self) -> Flaw | None:
        """What gRPC stands for is not written as well."""
        if self.grpc is None:
            return None
        if self.path != ANY_PATH:
            return Flaw("path", "`grpc` says which path", "remove one of them")
        if self.methods:
            return Flaw("methods", "gRPC has POST alone", "grpc: {service: ..., method: ...} names a method of gRPC")
        if GRPC_HEADER in self.headers:
            return Flaw("headers", f"`grpc` tests {GRPC_HEADER}", "remove one of them")
        return None


class Route(Mapping, frozen=True, kw_only=True):
    """A rule that turns a request into a choice of services."""

    listeners: Annotated[list[ListenerName], Meta(description="Where it applies. Without it: on all listeners.")] = []
    match: Annotated[Match, Meta(description="Which requests it takes. Without it: all.")] = Match()
    to: Annotated[
        list[Destination], OneOrMany(), Meta(description="A service, or several that share the requests by weight.")
    ]
    rate_limit: Annotated[RateLimit | None, Meta(description="For all requests of this route.")] = None
    connect: Annotated[
        Bool,
        Meta(
            description="`true`: CONNECT is let through, and makes a tunnel to the service. WebSocket over HTTP/2 needs"
            " no leave."
        ),
    ] = False

    def flaw(self) -> Flaw | None:
        """Somebody must get the requests."""
        if self.connect and (self.match.grpc or (self.match.methods and "CONNECT" not in self.match.methods)):
            return Flaw("connect", "the match lets no CONNECT through", "add CONNECT to the methods, or remove this")
        return weightless("to", self.to)


class AccessLog(Mapping, frozen=True):
    """One line for each exchange. Without this kind there is none."""

    path: Annotated[
        Text,
        Meta(description="`stdout`, or a file (from the folder where fastmesh was started); opened again on SIGUSR1."),
    ] = "stdout"
    format: Annotated[
        LogFormat, Meta(description="`json`, or a template such as `{client} {method} {path} {status}`.")
    ] = "json"
    sample: Annotated[
        Share, Meta(description="The share of exchanges that is logged; those that failed always are.")
    ] = 1_000_000


class Log(Mapping, frozen=True):
    """What fastmesh says about itself, on standard error."""

    level: Annotated[
        Annotated[str, one_of("debug", "info", "warning", "error")], Meta(description="The least that is said.")
    ] = "info"
    format: Annotated[Annotated[str, one_of("text", "json")], Meta(description="For people or for programs.")] = "text"


class Dns(Mapping, frozen=True):
    """How names in endpoint addresses are resolved."""

    servers: Annotated[
        list[IpAddress], Meta(description="Whom to ask. Without it: the servers of /etc/resolv.conf.")
    ] = []
    port: Annotated[Annotated[int, integer(1, 65535)], Meta(description="The port of these servers.")] = 53


class Drain(Mapping, frozen=True):
    """How listeners and the whole mesh end."""

    timeout: Annotated[Duration, Meta(description="Exchanges may finish for so long; then they are closed.")] = (
        30 * SECOND
    )


class Config(Mapping, frozen=True):
    """A directory of `*.yaml` files. Each may hold any of these kinds; named things of all files are put together."""

    admin: Annotated[Admin, Meta(description="The admin API.")] = Admin()
    listeners: Annotated[dict[Name, Listener], Meta(description="Addresses on which requests arrive, by name.")] = {}
    services: Annotated[dict[Name, Service], Meta(description="Logical names and their endpoints, by name.")] = {}
    routes: Annotated[
        dict[Name, Route],
        Meta(
            description="Rules that turn a request into a choice of services, by name. The most specific wins; ties"
            " go to"
            " the one first written, files in the order of their names."
        ),
    ] = {}
    access_log: Annotated[AccessLog | None, Meta(description="One line for each exchange.")] = None
    log: Annotated[Log, Meta(description="What fastmesh says about itself.")] = Log()
    dns: Annotated[Dns, Meta(description="How names are resolved.")] = Dns()
    drain: Annotated[Drain, Meta(description="How listeners and the whole mesh end.")] = Drain()


NamedKind = Literal["listeners", "services", "routes"]
NAMED_KINDS: tuple[NamedKind, ...] = ("listeners", "services", "routes")
