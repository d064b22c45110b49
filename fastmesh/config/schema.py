"""The language: every kind, field, default and description. The JSON Schema and the reference are made from this"
" file."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, NamedTuple

from msgspec import Meta, Struct

from fastmesh.config.scalars import (
    Bool,
    BoundAddress,
    CookieName,
    Directory,
    Duration,
    EndpointAddress,
    FilePattern,
    HeaderName,
    Host,
    IpAddress,
    Label,
    ListenerName,
    LogFormat,
    Method,
    Name,
    Percent,
    QueryName,
    Rate,
    Regex,
    ServiceName,
    ServiceRecord,
    Share,
    Size,
    Statuses,
    Text,
    Token,
    UrlPath,
    integer,
    one_of,
)

KIB = 1024
HEAD_MAX_BYTES = 96 * KIB  # with what forwarding adds, and its table, a head fits the largest buffer of the engine
HASHING = ("ring_hash", "maglev")
SECOND, MINUTE, HOUR = 1000, 60_000, 3_600_000

Weight = Annotated[int, integer(0, 10_000)]
Count = Annotated[int, integer(1, 1_000_000)]
CountOrNone = Annotated[int, integer(0, 1_000_000_000)]


class Flaw(NamedTuple):
    """Fields that are right each by itself, and wrong together."""

    field: str
    message: str
    hint: str = ""


class Mapping(Struct, frozen=True, gc=False):
    """Base of everything that is written as a mapping. Where `short` names a field, its value may stand for the"
    " whole."""

    short: ClassVar[str] = ""
    choices: ClassVar[tuple[str, ...]] = ()
    """Fields of which exactly one is written."""
    needed: ClassVar[tuple[str, ...]] = ()
    """Fields of which at least one is written."""

    def flaw(self) -> Flaw | None:
        """What the types cannot say."""
        return None

    def _zero(self, *fields: str) -> Flaw | None:
        zero = next((field for field in fields if getattr(self, field) == 0), None)
        return Flaw(zero, "it must be more than 0") if zero else None


class OneOrMany:
    """Marks a list that may be written as its only element."""


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
        HeaderKey | Annotated[str, one_of("source_address")] | None,
        Meta(
            description="One bucket for each value of `{header: name}`, `{cookie: name}` or `source_address`;"
            " without it, one for all."
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
        Duration, Meta(description="From the first byte of a request to the end of its head; then 408.")
    ] = 10 * SECOND
    idle: Annotated[Duration, Meta(description="Without a request; then the connection is closed.")] = 60 * SECOND

    def flaw(self) -> Flaw | None:
        """A stranger never has for ever."""
        return self._zero("head", "idle")


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
        HeaderKey | Annotated[str, one_of("source_address", "path")] | None,
        Meta(
            description="For `ring_hash` and `maglev`: `{header: name}`, `{cookie: name}`, `path` or"
            " `source_address`, which is the default."
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

    def flaw(self) -> Flaw | None:
        """Idle connections end."""
        return self._zero("idle")


class HttpCheck(Mapping, frozen=True):
    """A GET whose status tells. A path alone may stand for it."""

    short: ClassVar[str] = "path"
    path: Annotated[UrlPath, Meta(description="What is asked for.")] = "/"
    status: Annotated[Statuses, Meta(description="Healthy statuses.")] = (200, 399)
    host: Annotated[Text, Meta(description="The Host header; empty: the endpoint's own address.")] = ""


class HealthCheck(Mapping, frozen=True):
    """Every endpoint is asked, once a node. Without a check, an endpoint counts as healthy."""

    choices: ClassVar[tuple[str, ...]] = ("http", "tcp")
    http: Annotated[HttpCheck | None, Meta(description="Ask by HTTP: `{path: /health}`.")] = None
    tcp: Annotated[Bool | None, Meta(description="`true`: a connection that is accepted is enough.")] = None
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

    def flaw(self) -> Flaw | None:
        """An address stands once."""
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


class Match(Mapping, frozen=True):
    """Which requests a route takes: those that pass every test."""

    hosts: Annotated[
        list[Host],
        Meta(
            description="Any of these: a name, or `*.name` for all names below it. Without it: any host. Ports are"
            " not compared."
        ),
    ] = []
    path: Annotated[PathTest, Meta(description="The path, without the query.")] = PathTest(prefix="/")
    methods: Annotated[list[Method], Meta(description="Any of these methods. Without it: any method.")] = []
    headers: Annotated[dict[HeaderName, ValueTest], Meta(description="Tests of request headers, by name.")] = {}
    query: Annotated[dict[QueryName, ValueTest], Meta(description="Tests of query parameters, by name.")] = {}


class Destination(Mapping, frozen=True):
    """Where a route sends requests. The name of a service may stand for it."""

    short: ClassVar[str] = "service"
    service: Annotated[ServiceName, Meta(description="The name of a service.")]
    subset: Annotated[dict[Label, Label], Meta(description="Only endpoints that bear all these labels.")] = {}
    weight: Annotated[Weight, Meta(description="Its share of the route's requests.")] = 1


class Route(Mapping, frozen=True, kw_only=True):
    """A rule that turns a request into a choice of services."""

    listeners: Annotated[list[ListenerName], Meta(description="Where it applies. Without it: on all listeners.")] = []
    match: Annotated[Match, Meta(description="Which requests it takes. Without it: all.")] = Match()
    to: Annotated[
        list[Destination], OneOrMany(), Meta(description="A service, or several that share the requests by weight.")
    ]
    rate_limit: Annotated[RateLimit | None, Meta(description="For all requests of this route.")] = None

    def flaw(self) -> Flaw | None:
        """Somebody must get the requests."""
        if not any(destination.weight for destination in self.to):
            return Flaw("to", "all weights are 0", "give one of them a weight of at least 1")
        return None


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
