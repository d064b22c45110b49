"""One look-up of a name by DNS: A and AAAA at once, by dnspython's stub resolver."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import dns.asyncresolver
import dns.exception
import dns.name
import dns.rdatatype
import dns.resolver

LOOKUP_TIMEOUT_S = 5.0  # for both questions, all servers and all tries
ADDRESSES_MAX = 256  # of one family of one name: an answer must not make the mesh grow without bounds
RESOLV_CONF = Path("/etc/resolv.conf")


class LookupFailed(Exception):
    """No address was found; the text says why, in a few words."""


class Answer(NamedTuple):
    """What the servers said of a name; None for a family whose question went unanswered."""

    ipv4: tuple[str, ...] | None
    ipv6: tuple[str, ...] | None
    ttl_s: float  # the shortest of all records passed through


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
        addresses = [None if error else found for found, _, error in results]
        if not any(addresses):
            raise LookupFailed(next((error for _, _, error in results if error), "the name has no address"))
        return Answer(addresses[0], addresses[1], min(ttl for found, ttl, _ in results if found))

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

    async def _ask(
        self, resolver: dns.asyncresolver.Resolver, name: str, kind: dns.rdatatype.RdataType
    ) -> tuple[tuple[str, ...], float, str]:
        """Addresses, time to live, and the error; an answer that is empty is none."""
        try:
            answer = await resolver.resolve(
                name, kind, search=True, raise_on_no_answer=False, lifetime=LOOKUP_TIMEOUT_S
            )
        except dns.resolver.NXDOMAIN:
            return (), 0.0, "no such name"
        except dns.resolver.NoNameservers:
            return (), 0.0, "the servers refused or failed"
        except dns.exception.Timeout:
            return (), 0.0, f"no answer in {LOOKUP_TIMEOUT_S:g} s"
        except (dns.exception.DNSException, OSError) as error:
            return (), 0.0, f"{type(error).__name__}: {error}"
        addresses = tuple(sorted(record.address for record in answer.rrset or ()))[:ADDRESSES_MAX]
        return addresses, float(answer.chaining_result.minimum_ttl), ""


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
