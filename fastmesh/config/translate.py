"""Parts of the language to parts of a snapshot, one to one."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from fastmesh import snapshot as compiled
from fastmesh.config.addresses import is_ip, split_address
from fastmesh.config.schema import HASHING, HeaderKey

if TYPE_CHECKING:
    from fastmesh.config import schema

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
