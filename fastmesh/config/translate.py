"""Parts of the language to parts of a snapshot, one to one."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from fastmesh import snapshot as compiled
from fastmesh.config.addresses import is_ip, split_address
from fastmesh.config.schema import GRPC_HEADER, HASHING, HeaderKey, PathTest, ValueTest

if TYPE_CHECKING:
    from fastmesh.config import schema
    from fastmesh.config.schema_tls import ListenerTls

GRPC_TEST = ValueTest(prefix="application/grpc")
ALPN = {"http": ("h2", "http/1.1"), "http1": ("http/1.1",), "http2": ("h2",), "tcp": (), "detect": ("h2", "http/1.1")}
SERVICE_PROTOCOLS = {
    "http1": compiled.Protocol.HTTP1,
    "http2": compiled.Protocol.HTTP2,
    "grpc": compiled.Protocol.HTTP2,
    "auto": compiled.Protocol.AUTO,
}
NO_KEY = compiled.Key()
Labels = tuple[tuple[str, str], ...]


class Place(NamedTuple):
    """An address, taken apart."""

    host: str
    port: int
    is_literal: bool


@lru_cache(maxsize=65536)
def place(address: str) -> Place:
    """Of an address that has been checked."""
    host, port = split_address(address)
    return Place(host, port, is_ip(host))


def sorted_labels(labels: dict[str, str]) -> Labels:
    """Labels in the one order in which they compare equal."""
    return tuple(sorted(labels.items()))


def key_of(key: HeaderKey | str | None) -> compiled.Key:
    """The key of a rate limit."""
    if key is None:
        return NO_KEY
    if isinstance(key, str):
        return compiled.Key(compiled.KeySource[key.upper()])
    if key.header is not None:
        return compiled.Key(compiled.KeySource.HEADER, key.header)
    return compiled.Key(compiled.KeySource.COOKIE, key.cookie or "")


def hash_key_of(balance: schema.Balance) -> compiled.Key:
    """The key of a hash balancer; other balancers have none."""
    return key_of(balance.key or "source_address") if balance.algorithm in HASHING else NO_KEY


class Call(NamedTuple):
    """What the tests of a gRPC call are when they are written out."""

    path: schema.PathTest
    methods: list[str]
    headers: dict[str, ValueTest]


def written_out(match: schema.Match) -> schema.Match | Call:
    """Path, methods and headers, with what `grpc` stands for."""
    call = match.grpc
    if call is None:
        return match
    if call.method is not None:
        path = PathTest(exact=f"/{call.service}/{call.method}")
    else:
        path = PathTest(prefix=f"/{call.service or ''}")
    return Call(path, ["POST"], {**match.headers, GRPC_HEADER: GRPC_TEST})


def alpn_of(tls: ListenerTls, spoken: str) -> tuple[str, ...]:
    """What a listener offers."""
    return tuple(tls.alpn) or ALPN[spoken]


def server_name_of(service: schema.Service) -> str:
    """The name that is asked for and verified; empty: the IP address of each endpoint."""
    if service.tls is not None and service.tls.server_name:
        return service.tls.server_name
    hosts = {place(endpoint.address) for endpoint in service.endpoints}
    names = {"" if each.is_literal else each.host for each in hosts}
    return names.pop() if len(names) == 1 else ""


def path_of(test: schema.PathTest) -> tuple[compiled.PathMatch, str]:
    """How a path is compared, and with what; a / at the end of a prefix makes no difference."""
    if test.exact is not None:
        return compiled.PathMatch.EXACT, test.exact
    if test.prefix is not None:
        return compiled.PathMatch.PREFIX, test.prefix.rstrip("/") or "/"
    return compiled.PathMatch.REGEX, test.regex or ""


def value_test_of(name: str, test: schema.PlainValueTest) -> compiled.ValueTest:
    """The test of a header or of a query parameter."""
    inner = getattr(test, "not_", None)
    if inner is not None:
        plain = value_test_of(name, inner)
        return compiled.ValueTest(name, plain.match, plain.value, True)
    for match, value in (
        (compiled.ValueMatch.EXACT, test.exact),
        (compiled.ValueMatch.PREFIX, test.prefix),
        (compiled.ValueMatch.REGEX, test.regex),
    ):
        if value is not None:
            return compiled.ValueTest(name, match, value)
    return compiled.ValueTest(name, compiled.ValueMatch.PRESENT if test.present else compiled.ValueMatch.ABSENT)
