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


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Snapshot)


def encode(snapshot: Snapshot) -> bytes:
    """Encode for the wire between supervisor and workers."""
    return _encoder.encode(snapshot)


def decode(data: bytes) -> Snapshot:
    """Decode what `encode` made; raises msgspec.DecodeError or msgspec.ValidationError on anything else."""
    return _decoder.decode(data)
