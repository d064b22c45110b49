"""The compiled view of a configuration: all that crosses from the control plane into the data plane.

A snapshot is immutable plain data, encoded as msgpack (fields by position). It holds no YAML, no names to be resolved
and nothing to be parsed: references are numbers, durations are integers with their unit in the name.

Stable ids (``id`` fields) name a thing in shared memory and in live state for as long as a thing of that name exists;
indexes (``*_index`` fields) are positions in this one snapshot's tuples. Id 0 is reserved in every kind: "none", and
the label under which whatever exceeds the capacity of shared memory is counted.
"""

from enum import IntEnum

import msgspec


class _Part(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Base of all parts: frozen, encoded as an array, free of cycles."""


class Balance(IntEnum):
    """How a subset chooses among its endpoints."""

    ROUND_ROBIN = 0
    RANDOM = 1
    LEAST_REQUEST = 2
    PEAK_EWMA = 3
    RING_HASH = 4
    MAGLEV = 5


class KeySource(IntEnum):
    """Where the key of a hash balancer or of a rate limit comes from."""

    NONE = 0
    HEADER = 1
    COOKIE = 2
    SOURCE_ADDRESS = 3
    PATH = 4
    CLIENT = 5  # the client's verified identity: URI, else DNS name, else subject


class PathMatch(IntEnum):
    """How a route tests the path. A prefix matches whole segments: /a matches /a and /a/b, not /ab."""

    EXACT = 0
    PREFIX = 1
    REGEX = 2


class ValueMatch(IntEnum):
    """How a route tests a header or a query parameter."""

    EXACT = 0
    PREFIX = 1
    REGEX = 2
    PRESENT = 3
    ABSENT = 4


class Protocol(IntEnum):
    """What is spoken on a listener or with a service."""

    HTTP = 0  # listener: HTTP/1 and HTTP/2, told apart by their first bytes, or by ALPN
    HTTP1 = 1
    HTTP2 = 2
    TCP = 3
    DETECT = 4  # listener: HTTP, TLS or neither, by the client's first bytes; TCP after a short silence
    AUTO = 5  # service: HTTP/2 where ALPN chooses it, else HTTP/1


class ClientCertificate(IntEnum):
    """What a listener asks of its clients."""

    NONE = 0
    OPTIONAL = 1  # verified when there is one
    REQUIRED = 2


class IdentityPart(IntEnum):
    """A part of a peer's verified identity; ``ValueTest.name`` of `Route.client` is its name in lower case."""

    URI = 0  # the first URI of the subject alternative names: a SPIFFE id
    DNS = 1  # the first DNS name
    SUBJECT = 2  # RFC 4514


class Key(_Part):
    """The key of a hash balancer or of a rate limit; ``name``: header (lower case) or cookie, else empty."""

    source: KeySource = KeySource.NONE
    name: str = ""


class Limit(_Part):
    """A token bucket: one token each ``period_ns``, at most ``burst_tokens`` saved up."""

    id: int
    name: str  # "route/hello", "service/hello", "listener/web"
    period_ns: int
    burst_tokens: int
    key: Key = Key()


class Certificate(_Part):
    """A certificate with its chain and key."""

    name: str  # where it was read from, for messages and metrics
    chain_pem: bytes  # the leaf first
    key_pem: bytes
    names: tuple[str, ...]  # DNS names and IP addresses of the leaf, lower case; "*.example.org" for a wildcard

    def __repr__(self) -> str:
        return f"Certificate({self.name!r})"  # never the key


class ListenerTls(_Part):
    """How a listener terminates TLS."""

    certificate_indexes: tuple[int, ...]  # into Snapshot.certificates; [0] is the default
    client_certificate: ClientCertificate = ClientCertificate.NONE
    client_ca_pem: bytes = b""
    min_version: int = 0x0303  # TLS 1.2
    ciphers: str = ""  # of TLS 1.2, as OpenSSL writes them; empty: a safe default
    alpn: tuple[str, ...] = ("h2", "http/1.1")
    is_optional: bool = False  # plain clients are served too
    handshake_timeout_ms: int = 10_000
    forwards_client_certificate: bool = False  # X-Forwarded-Client-Cert


class ServiceTls(_Part):
    """How connections to endpoints of a service are secured."""

    ca_pem: bytes = b""  # empty: the system's
    verifies: bool = True
    server_name: str = ""  # SNI, and the name that is verified; empty: none is sent, the endpoint's IP is verified
    spiffe_ids: tuple[str, ...] = ()  # if not empty, one of these must be the peer's URI, whatever its name
    certificate_index: int = -1  # into Snapshot.certificates
    min_version: int = 0x0303


class TcpRoute(_Part):
    """Where a listener's TCP connections go. Never HTTP: bytes to bytes."""

    name: str
    sni: tuple[str, ...]  # TLS passed through: "example.org" or "*.example.org"; empty: whatever no other route takes
    destinations: tuple["Destination", ...]  # with one series id each


class Listener(_Part):
    """A bound address, and what a stranger may do there."""

    id: int
    name: str
    host: str  # an IP address literal
    port: int
    request_line_max_bytes: int
    head_max_bytes: int
    header_max_count: int
    body_max_bytes: int  # 0: no limit
    connections_max: int
    connection_requests_max: int  # 0: no limit
    head_timeout_ms: int
    idle_timeout_ms: int
    trusted_hops: int  # X-Forwarded-*: how many proxies in front of us are believed
    via: str  # pseudonym for Via, or empty: no Via
    limit_index: int  # into Snapshot.limits, -1: none
    unrouted_series_id: int  # counts requests that no route took
    protocol: Protocol = Protocol.HTTP
    tls: ListenerTls | None = None
    tcp_routes: tuple[TcpRoute, ...] = ()  # with Protocol.TCP and Protocol.DETECT
    proxy_protocol_from: tuple[str, ...] = ()  # CIDR blocks whose connections begin with a PROXY header
    detect_timeout_ms: int = 100  # silence after which Protocol.DETECT takes a connection as TCP
    streams_max: int = 128  # HTTP/2: at a time on a connection
    connection_age_max_ms: int = 0  # then a connection is drained; jittered; 0: no limit
    tcp_idle_timeout_ms: int = 3_600_000


class Endpoint(_Part):
    """One place where a service answers. ``host`` is an IP address literal: names are resolved before this."""

    id: int
    host: str
    port: int
    weight: int = 1  # 0: draining, chosen by nobody
    labels: tuple[tuple[str, str], ...] = ()


class Service(_Part):
    """A logical name, its endpoints, and how to talk to them."""

    id: int
    name: str
    balance: Balance
    hash_key: Key
    connect_timeout_ms: int
    request_timeout_ms: int  # end of the request to the response head, all tries; 0: none
    idle_timeout_ms: int  # no byte in either direction within an exchange; 0: none
    pool_connections_max: int  # for each endpoint, in each worker
    pool_idle_timeout_ms: int
    pool_age_max_ms: int  # jittered; 0: no limit
    panic_percent: int  # below this share of healthy endpoints all are used
    limit_index: int
    endpoints: tuple[Endpoint, ...]
    subsets: tuple[tuple[tuple[str, str], ...], ...]  # [0] is (): the whole service; labels to match
    protocol: Protocol = Protocol.HTTP1
    tls: ServiceTls | None = None
    proxy_protocol_version: int = 0  # 1, 2: what connections begin with; 0: nothing
    streams_max: int = 128  # HTTP/2: at a time on a connection, if the endpoint allows more


class ValueTest(_Part):
    """A test of one header (``name`` in lower case) or one query parameter."""

    name: str
    match: ValueMatch
    value: str = ""
    negated: bool = False


class Destination(_Part):
    """One arm of a route: a subset of a service, with its share."""

    service_index: int
    subset_index: int  # into Service.subsets
    weight: int
    series_ids: tuple[int, ...]  # parallel to Route.listener_indexes


class Route(_Part):
    """A rule that turns a request into a choice of destinations.

    Routes stand in the order in which they were written, which breaks ties of precedence.
    """

    id: int
    name: str
    listener_indexes: tuple[int, ...]  # all on which it stands, never empty
    hosts: tuple[str, ...]  # lower case; "example.org" or "*.example.org"; empty: any host
    path_match: PathMatch
    path: str
    methods: tuple[str, ...]  # empty: any
    headers: tuple[ValueTest, ...]
    query: tuple[ValueTest, ...]
    destinations: tuple[Destination, ...]
    limit_index: int
    client: tuple[ValueTest, ...] = ()  # of the client's verified identity: see IdentityPart
    allows_connect: bool = False


class AccessLog(_Part):
    """What a worker writes of each exchange."""

    enabled: bool = False
    template: str = ""  # empty: JSON lines
    sample_ppm: int = 1_000_000  # share of exchanges logged; those that failed are always logged


class Snapshot(_Part):
    """All that a worker serves by, whole."""

    version: str  # hash of the sources
    listeners: tuple[Listener, ...]
    services: tuple[Service, ...]
    routes: tuple[Route, ...]
    limits: tuple[Limit, ...]
    access_log: AccessLog = AccessLog()
    certificates: tuple[Certificate, ...] = ()


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Snapshot)


def encode(snapshot: Snapshot) -> bytes:
    """Encode for the wire between supervisor and workers."""
    return _encoder.encode(snapshot)


def decode(data: bytes) -> Snapshot:
    """Decode what `encode` made; raises msgspec.DecodeError or msgspec.ValidationError on anything else."""
    return _decoder.decode(data)
