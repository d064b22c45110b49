"""Follows names: resolves each again when its time to live has passed, and reports what changed."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from fastmesh.discovery.hosts import HostsFile, is_address, is_loopback_name

if TYPE_CHECKING:
    from fastmesh.discovery.lookup import Answer, Instances

CONCURRENT_LOOKUPS_MAX = 32
TTL_MIN_S, TTL_MAX_S = 1.0, 3600.0
RETRY_MIN_S, RETRY_MAX_S = 1.0, 30.0
HOSTS_FILE_TTL_S = 5.0
JITTER = 0.1  # share of a time to live that is waited on top of it

log = logging.getLogger(__name__)


class NameState(msgspec.Struct, gc=False):
    """What is known of a name of hosts, or of SRV records."""

    name: str
    addresses: tuple[str, ...] = ()  # the last answer that held any, sorted; of SRV records: "name:port"
    answered_at: float = 0.0  # seconds since the epoch, of that answer; 0: never
    ttl_s: float = 0.0  # of that answer, as bounded
    lookups: int = 0
    failures: int = 0  # look-ups that failed or found nothing
    consecutive_failures: int = 0  # 0: the last look-up succeeded
    error: str = ""  # of the last look-up; empty: it succeeded
    weights: tuple[int, ...] = ()  # of SRV records: parallel to `addresses`
    is_none: bool = False  # the last look-up failed since, as the servers say, there is nothing
    followed_at: float = msgspec.field(default_factory=time.time)  # seconds since the epoch


class _Resolved(NamedTuple):
    """What a look-up has found, or why it has found nothing."""

    addresses: tuple[str, ...] = ()
    ttl_s: float = 0.0
    error: str = ""
    weights: tuple[int, ...] = ()
    is_none: bool = False


_Task = asyncio.Task[None]


class DnsDiscovery:
    """Resolves a changing set of names for as long as it is open. Belongs to one event loop."""

    def __init__(
        self,
        on_change: Callable[[str, tuple[str, ...]], None],
        *,
        hosts: HostsFile | None = None,
        lookup: Callable[[str], Awaitable[Answer]] | None = None,
        on_lookup: Callable[[NameState], None] | None = None,
    ) -> None:
        """`on_change(name, addresses)` is called when the addresses of a name differ, never with none.

        `on_lookup` is called after each look-up, whatever came of it.
        """
        self._on_change = on_change
        self._on_lookup = on_lookup
        self._servers: tuple[tuple[str, ...], int] = ((), 53)
        self._hosts = hosts or HostsFile()
        self._lookup = lookup
        self._instances: Callable[[str], Awaitable[Instances]] | None = None
        self._names: dict[str, tuple[NameState, _Task]] = {}
        self._records: dict[str, tuple[NameState, _Task]] = {}  # names of SRV records
        self._families: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {}
        self._slots = asyncio.Semaphore(CONCURRENT_LOOKUPS_MAX)

    def use_servers(self, nameservers: Sequence[str], port: int) -> None:
        """Ask these IP addresses from the next look-up on; none: those of /etc/resolv.conf."""
        if self._servers != (tuple(nameservers), port):
            self._servers = (tuple(nameservers), port)
            self._lookup = self._instances = None

    def update(self, names: Iterable[str], records: Iterable[str] = ()) -> None:
        """Follow exactly these from now on; call it in the running loop. Those that stay keep their answers.

        `names`: of hosts, by A and AAAA; `records`: names of SRV records.
        """
        self._follow_only(self._names, {name for name in names if not is_address(name)}, self._resolve)
        self._follow_only(self._records, set(records), self._resolve_records)
        for name in self._families.keys() - self._names.keys():
            del self._families[name]

    def _follow_only(
        self,
        followed: dict[str, tuple[NameState, _Task]],
        wanted: set[str],
        resolve: Callable[[str], Awaitable[_Resolved]],
    ) -> None:
        for name in followed.keys() - wanted:
            followed.pop(name)[1].cancel()
        for name in sorted(wanted - followed.keys()):
            state = NameState(name)
            task = asyncio.get_running_loop().create_task(self._follow(state, partial(resolve, name)))
            followed[name] = (state, task)

    def addresses(self, name: str) -> tuple[str, ...]:
        """The last answer; empty: none yet. An IP address is its own answer."""
        if is_address(name):
            return (name,)
        return self._names[name][0].addresses if name in self._names else ()

    def records(self, name: str) -> NameState:
        """What is known of the SRV records of a name; nothing yet where it is not followed."""
        return self._records[name][0] if name in self._records else NameState(name)

    def was_asked(self, name: str) -> bool:
        """Whether a look-up of this name of hosts has ended, well or not. An IP address needs none."""
        return is_address(name) or (name in self._names and self._names[name][0].lookups > 0)

    def answers(self) -> dict[str, tuple[str, ...]]:
        """The last answer of each name that has ever had one."""
        return {name: state.addresses for name, (state, _) in self._names.items() if state.addresses}

    def states(self) -> list[NameState]:
        """All names, sorted."""
        followed = {**self._names, **self._records}
        return [followed[name][0] for name in sorted(followed)]

    async def first_answers(self, timeout_s: float) -> None:
        """Wait until each name has been asked for once, for at most this long."""
        deadline = time.monotonic() + timeout_s
        while any(not state.lookups for state in self.states()) and time.monotonic() < deadline:
            await asyncio.sleep(0.01)

    async def close(self) -> None:
        """Stop following all names."""
        tasks = [task for _, task in (*self._names.values(), *self._records.values())]
        self._names.clear()
        self._records.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow(self, state: NameState, resolve: Callable[[], Awaitable[_Resolved]]) -> None:
        while True:
            async with self._slots:
                found = await self._asked(state.name, resolve)
            state.lookups += 1
            state.is_none = found.is_none
            wait_s = self._failed(state, found.error) if found.error else self._answered(state, found)
            if self._on_lookup is not None:
                self._on_lookup(state)
            # Names that were first asked for together must not be asked for together for ever.
            await asyncio.sleep(wait_s * random.uniform(1, 1 + JITTER))

    async def _asked(self, name: str, resolve: Callable[[], Awaitable[_Resolved]]) -> _Resolved:
        try:
            return await resolve()
        except Exception as failure:
            from fastmesh.discovery.lookup import LookupFailed

            if isinstance(failure, LookupFailed):
                return _Resolved(error=str(failure), is_none=failure.is_answer)
            # A task that ends would leave its last answer standing for ever.
            log.exception("look-up of %s failed in an unforeseen way", name)
            return _Resolved(error=f"{type(failure).__name__}: {failure}")

    async def _resolve(self, name: str) -> _Resolved:
        """The addresses of hosts."""
        plain = name.lower().rstrip(".")
        if is_loopback_name(plain):
            # Only the one family: a server that listens on "localhost" seldom does so on both.
            return _Resolved(("127.0.0.1",), TTL_MAX_S)
        if addresses := self._hosts.addresses(plain):
            return _Resolved(tuple(sorted(addresses)), HOSTS_FILE_TTL_S)
        # dnspython costs several MiB of memory: only those who use names pay for it.
        from fastmesh.discovery.lookup import Lookup, has_route

        if self._lookup is None:
            self._lookup = Lookup(*self._servers)
        answer = await self._lookup(name)
        # A family whose question went unanswered keeps its last answer: half a failure is not an answer of none.
        ipv4, ipv6 = self._families.get(name, ((), ()))
        ipv4 = ipv4 if answer.ipv4 is None else answer.ipv4
        ipv6 = ipv6 if answer.ipv6 is None else tuple(address for address in answer.ipv6 if has_route(address))
        self._families[name] = (ipv4, ipv6)
        error = "" if ipv4 or ipv6 else "it has only IPv6 addresses, and this machine has no route to them"
        return _Resolved(ipv4 + ipv6, answer.ttl_s, error)

    async def _resolve_records(self, name: str) -> _Resolved:
        """The names of hosts, and ports, to which SRV records lead."""
        from fastmesh.discovery.lookup import Lookup

        if self._instances is None:
            self._instances = Lookup(*self._servers).instances
        answer = await self._instances(name)
        addresses = tuple(f"{instance.name}:{instance.port}" for instance in answer.found)
        return _Resolved(addresses, answer.ttl_s, weights=tuple(instance.weight for instance in answer.found))

    def _answered(self, state: NameState, found: _Resolved) -> float:
        if state.error:
            log.info("name %s: resolved again", state.name)
        state.error = ""
        state.consecutive_failures = 0
        state.answered_at = time.time()
        state.ttl_s = min(max(found.ttl_s, TTL_MIN_S), TTL_MAX_S)
        if (found.addresses, found.weights) != (state.addresses, state.weights):
            log.info("name %s: now %s", state.name, ", ".join(found.addresses))
            state.addresses, state.weights = found.addresses, found.weights
            try:
                self._on_change(state.name, found.addresses)
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
