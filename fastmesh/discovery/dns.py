"""Follows names: resolves each again when its time to live has passed, and reports what changed."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec

from fastmesh.discovery.hosts import HostsFile, is_address, is_loopback_name

if TYPE_CHECKING:
    from fastmesh.discovery.lookup import Answer

CONCURRENT_LOOKUPS_MAX = 32
TTL_MIN_S, TTL_MAX_S = 1.0, 3600.0
RETRY_MIN_S, RETRY_MAX_S = 1.0, 30.0
HOSTS_FILE_TTL_S = 5.0
JITTER = 0.1  # share of a time to live that is waited on top of it

log = logging.getLogger(__name__)


class NameState(msgspec.Struct, gc=False):
    """What is known of a name."""

    name: str
    addresses: tuple[str, ...] = ()  # the last answer that held any, sorted
    answered_at: float = 0.0  # seconds since the epoch, of that answer; 0: never
    ttl_s: float = 0.0  # of that answer, as bounded
    lookups: int = 0
    failures: int = 0  # look-ups that failed or found nothing
    consecutive_failures: int = 0  # 0: the last look-up succeeded
    error: str = ""  # of the last look-up; empty: it succeeded


class DnsDiscovery:
    """Resolves a changing set of names for as long as it is open. Belongs to one event loop."""

    def __init__(
        self,
        on_change: Callable[[str, tuple[str, ...]], None],
        *,
        hosts: HostsFile | None = None,
        lookup: Callable[[str], Awaitable[Answer]] | None = None,
    ) -> None:
        """`on_change(name, addresses)` is called when the addresses of a name differ, never with none."""
        self._on_change = on_change
        self._servers: tuple[tuple[str, ...], int] = ((), 53)
        self._hosts = hosts or HostsFile()
        self._lookup = lookup
        self._names: dict[str, tuple[NameState, asyncio.Task[None]]] = {}
        self._families: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {}
        self._slots = asyncio.Semaphore(CONCURRENT_LOOKUPS_MAX)

    def use_servers(self, nameservers: Sequence[str], port: int) -> None:
        """Ask these IP addresses from the next look-up on; none: those of /etc/resolv.conf."""
        if self._servers != (tuple(nameservers), port):
            self._servers = (tuple(nameservers), port)
            self._lookup = None

    def update(self, names: Iterable[str]) -> None:
        """Follow exactly these names from now on; call it in the running loop. Those that stay keep their answers."""
        wanted = {name for name in names if not is_address(name)}
        for name in self._names.keys() - wanted:
            self._names.pop(name)[1].cancel()
            self._families.pop(name, None)
        for name in sorted(wanted - self._names.keys()):
            state = NameState(name)
            self._names[name] = (state, asyncio.get_running_loop().create_task(self._follow(state)))

    def addresses(self, name: str) -> tuple[str, ...]:
        """The last answer; empty: none yet. An IP address is its own answer."""
        if is_address(name):
            return (name,)
        return self._names[name][0].addresses if name in self._names else ()

    def answers(self) -> dict[str, tuple[str, ...]]:
        """The last answer of each name that has ever had one."""
        return {name: state.addresses for name, (state, _) in self._names.items() if state.addresses}

    def states(self) -> list[NameState]:
        """All names, sorted."""
        return [self._names[name][0] for name in sorted(self._names)]

    async def first_answers(self, timeout_s: float) -> None:
        """Wait until each name has been asked for once, for at most this long."""
        deadline = time.monotonic() + timeout_s
        while any(not state.lookups for state, _ in self._names.values()) and time.monotonic() < deadline:
            await asyncio.sleep(0.01)

    async def close(self) -> None:
        """Stop following all names."""
        tasks = [task for _, task in self._names.values()]
        self._names.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow(self, state: NameState) -> None:
        while True:
            async with self._slots:
                addresses, ttl_s, error = await self._resolve(state.name)
            state.lookups += 1
            wait_s = self._failed(state, error) if error else self._answered(state, addresses, ttl_s)
            # Names that were first asked for together must not be asked for together for ever.
            await asyncio.sleep(wait_s * random.uniform(1, 1 + JITTER))

    async def _resolve(self, name: str) -> tuple[tuple[str, ...], float, str]:
        """Addresses, time to live, and why there are none."""
        plain = name.lower().rstrip(".")
        if is_loopback_name(plain):
            # Only the one family: a server that listens on "localhost" seldom does so on both.
            return ("127.0.0.1",), TTL_MAX_S, ""
        if addresses := self._hosts.addresses(plain):
            return tuple(sorted(addresses)), HOSTS_FILE_TTL_S, ""
        # dnspython costs several MiB of memory: only those who use names pay for it.
        from fastmesh.discovery.lookup import Lookup, LookupFailed, has_route

        if self._lookup is None:
            self._lookup = Lookup(*self._servers)
        try:
            answer = await self._lookup(name)
        except LookupFailed as failure:
            return (), 0.0, str(failure)
        except Exception as bug:  # a task that ends would leave its last answer standing for ever
            log.exception("look-up of %s failed in an unforeseen way", name)
            return (), 0.0, f"{type(bug).__name__}: {bug}"
        # A family whose question went unanswered keeps its last answer: half a failure is not an answer of none.
        ipv4, ipv6 = self._families.get(name, ((), ()))
        ipv4 = ipv4 if answer.ipv4 is None else answer.ipv4
        ipv6 = ipv6 if answer.ipv6 is None else tuple(address for address in answer.ipv6 if has_route(address))
        self._families[name] = (ipv4, ipv6)
        error = "" if ipv4 or ipv6 else "it has only IPv6 addresses, and this machine has no route to them"
        return ipv4 + ipv6, answer.ttl_s, error

    def _answered(self, state: NameState, addresses: tuple[str, ...], ttl_s: float) -> float:
        if state.error:
            log.info("name %s: resolved again", state.name)
        state.error = ""
        state.consecutive_failures = 0
        state.answered_at = time.time()
        state.ttl_s = min(max(ttl_s, TTL_MIN_S), TTL_MAX_S)
        if addresses != state.addresses:
            log.info("name %s: now %s", state.name, ", ".join(addresses))
            state.addresses = addresses
            try:
                self._on_change(state.name, addresses)
            except Exception:  # the name is followed on: the next change may fare better
                log.exception("name %s: its new addresses could not be put to use", state.name)
        return state.ttl_s

    def _failed(self, state: NameState, error: str) -> float:
        state.failures += 1
        state.consecutive_failures += 1
        if state.error != error:
            kept = f"keeping the last answer, {', '.join(state.addresses)}" if state.addresses else "no endpoint yet"
            log.warning("name %s: look-up failed: %s; %s", state.name, error, kept)
        state.error = error
        return float(min(RETRY_MIN_S * 2 ** min(state.consecutive_failures - 1, 10), RETRY_MAX_S))
