"""One look-up of a name by DNS, by dnspython's stub resolver: A and AAAA at once, or SRV."""

from __future__ import annotations

import asyncio
import errno
import math
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import dns.asyncresolver
import dns.exception
import dns.name
import dns.rdata
import dns.rdatatype
import dns.resolver

LOOKUP_TIMEOUT_S = 5.0  # for both questions, all servers and all tries
WEIGHT_MAX = 10_000  # as in the configuration
ADDRESSES_MAX = 256  # of one family of one name: an answer must not make the mesh grow without bounds
RESOLV_CONF = Path("/etc/resolv.conf")


class LookupFailed(Exception):
    """Nothing was found; the text says why, in a few words. `is_answer`: the servers say that there is nothing."""

    def __init__(self, message: str, is_answer: bool = False) -> None:
        super().__init__(message)
        self.is_answer = is_answer


class Answer(NamedTuple):
    """What the servers said of a name; None for a family whose question went unanswered."""

    ipv4: tuple[str, ...] | None
    ipv6: tuple[str, ...] | None
    ttl_s: float  # the shortest of all records passed through


class Instance(NamedTuple):
    """Where an SRV record leads."""

    name: str  # lower case, without the dot at its end
    port: int
    weight: int  # from 1


class Instances(NamedTuple):
    """The SRV records of the lowest priority level."""

    found: tuple[Instance, ...]
    ttl_s: float


class _Found(NamedTuple):
    """What became of one question."""

    records: tuple[dns.rdata.Rdata, ...]
    ttl_s: float
    error: str  # empty: there was an answer, perhaps one without records
    is_answer: bool  # the servers have answered, if only that there is no such name


class Lookup:
    """Asks the nameservers given, or those of /etc/resolv.conf, which is read again when it changes."""

    def __init__(self, nameservers: Sequence[str] = (), port: int = 53) -> None:
        """`nameservers`: IP addresses; `port`: theirs."""
        self._nameservers = list(nameservers)
        self._port = port
        self._stamp = -1
        self._resolver: dns.asyncresolver.Resolver | None = None

    async def __call__(self, name: str) -> Answer:
        """Ask for both families; raises `LookupFailed` if neither gives an address."""
        resolver = self._current()
        results = await asyncio.gather(
            self._ask(resolver, name, dns.rdatatype.A), self._ask(resolver, name, dns.rdatatype.AAAA)
        )
        addresses = [None if found.error else _addresses(found) for found in results]
        if not any(addresses):
            error = next((found.error for found in results if found.error), "the name has no address")
            raise LookupFailed(error, all(found.is_answer for found in results))
        return Answer(addresses[0], addresses[1], min(found.ttl_s for found in results if found.records))

    async def instances(self, name: str) -> Instances:
        """Ask for SRV records; raises `LookupFailed` if there are none that lead anywhere."""
        found = await self._ask(self._current(), name, dns.rdatatype.SRV)
        if found.error:
            raise LookupFailed(found.error, found.is_answer)
        # A name of "." says that the service is not offered there (RFC 2782).
        records = [record for record in found.records if record.target != dns.name.root]  # type: ignore[attr-defined]
        if not records:
            raise LookupFailed("the name has no SRV record that leads anywhere", True)
        return Instances(preferred(records), found.ttl_s)

    def _current(self) -> dns.asyncresolver.Resolver:
        stamp = 0
        if not self._nameservers:
            try:
                stamp = RESOLV_CONF.stat().st_mtime_ns
            except OSError as error:
                raise LookupFailed(f"{RESOLV_CONF} cannot be read: {error.strerror}") from None
        if self._resolver is None or stamp != self._stamp:
            self._resolver = self._make()
            self._stamp = stamp
        return self._resolver

    def _make(self) -> dns.asyncresolver.Resolver:
        if not self._nameservers:
            try:
                return dns.asyncresolver.Resolver()
            except dns.resolver.NoResolverConfiguration:
                raise LookupFailed(f"{RESOLV_CONF} names no server") from None
        resolver = dns.asyncresolver.Resolver(configure=False)
        resolver.nameservers = self._nameservers
        resolver.port = self._port
        return resolver

    async def _ask(self, resolver: dns.asyncresolver.Resolver, name: str, kind: dns.rdatatype.RdataType) -> _Found:
        try:
            answer = await resolver.resolve(
                name, kind, search=True, raise_on_no_answer=False, lifetime=LOOKUP_TIMEOUT_S
            )
        except dns.resolver.NXDOMAIN:
            return _Found((), 0.0, "no such name", True)
        except dns.resolver.NoNameservers:
            return _Found((), 0.0, "the servers refused or failed", False)
        except dns.exception.Timeout:
            return _Found((), 0.0, f"no answer in {LOOKUP_TIMEOUT_S:g} s", False)
        except (dns.exception.DNSException, OSError) as error:
            return _Found((), 0.0, f"{type(error).__name__}: {error}", False)
        return _Found(tuple(answer.rrset or ()), float(answer.chaining_result.minimum_ttl), "", True)


def _addresses(found: _Found) -> tuple[str, ...]:
    return tuple(sorted(record.address for record in found.records))[:ADDRESSES_MAX]  # type: ignore[attr-defined]


def preferred(records: Sequence[Any]) -> tuple[Instance, ...]:
    """Of SRV records, those of the lowest priority, with weights that a balancer can use.

    A weight of 0 means "seldom" (RFC 2782), not "never": it counts as the smallest there is, and where all are 0 they
    are equal.
    """
    lowest = min(record.priority for record in records)
    level = [record for record in records if record.priority == lowest][:ADDRESSES_MAX]
    weights = [max(record.weight, 1) for record in level]
    divisor, most = math.gcd(*weights), max(weights)
    scale = min(1 / divisor, WEIGHT_MAX / most)
    return tuple(
        sorted(
            Instance(record.target.to_text(omit_final_dot=True).lower(), record.port, max(round(weight * scale), 1))
            for record, weight in zip(level, weights, strict=True)
        )
    )


def has_route(address: str) -> bool:
    """Whether this machine has a way to an IPv6 address at all.

    Names often have AAAA records where machines have no IPv6; each would be an endpoint that always fails. Connecting
    a datagram socket looks the route up and sends nothing.
    """
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.connect((address, 9))
    except OSError as error:
        return error.errno not in (errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EHOSTUNREACH)
    return True
