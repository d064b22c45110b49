"""Where the endpoints of all services are: what stands in the configuration, and what its sources find."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import msgspec

from fastmesh.config import Config, Discover, Endpoint, names_to_resolve
from fastmesh.config.addresses import read_endpoint_address
from fastmesh.config.problem import InvalidText
from fastmesh.discovery.dns import DnsDiscovery, NameState
from fastmesh.discovery.folder import Folder
from fastmesh.discovery.source import Source

Changes = Callable[[Path], AsyncIterator[None]]
"""Gives an item whenever the files of a directory may have changed."""

_Key = tuple[str, str, str]
"""Service, kind and place of a source."""

log = logging.getLogger(__name__)


class Standing(NamedTuple):
    """How it stands with what a service finds out."""

    service: str
    age_s: float  # for how long the worst of its sources and names has said nothing good; 0: all do
    errors: int  # files, leases and look-ups that are of no use now


class Discovery:
    """Follows the sources and names of configurations for as long as it is open. Belongs to one event loop."""

    def __init__(self, directory: Path, on_change: Callable[[], None], changes: Changes) -> None:
        """`directory`: where relative paths begin; `on_change`: called when endpoints or addresses are others."""
        self._directory = directory
        self._on_change = on_change
        self._changes = changes
        self._dns = DnsDiscovery(self._on_addresses, on_lookup=self._on_lookup)
        self._written_names: frozenset[str] = frozenset()
        self._sources: dict[_Key, Source] = {}
        self._folders: dict[Path, Folder] = {}
        self._timer: asyncio.TimerHandle | None = None

    def follow(self, *configs: Config) -> None:
        """Follow exactly what these name from now on; the last one says whom to ask. What stays keeps its answers.

        Call it in the running loop.
        """
        self._dns.use_servers(configs[-1].dns.servers, configs[-1].dns.port)
        self._written_names = frozenset().union(*map(names_to_resolve, configs))
        wanted = {
            _key(name, written): written
            for config in configs
            for name, service in config.services.items()
            for written in service.discover
        }
        for key in self._sources.keys() - wanted.keys():
            del self._sources[key]
        for key, written in wanted.items():
            source = self._sources.setdefault(key, Source(key[0], written))
            source.written = written
        self._watch_folders()
        for source in self._sources.values():
            if source.written.srv:
                self._offer_records(source, self._dns.records(source.written.srv))
        self._settle()

    def found(self, config: Config) -> dict[str, tuple[Endpoint, ...]]:
        """The endpoints that the sources of each service have found."""
        found = {}
        for name, service in config.services.items():
            if service.discover:
                found[name] = tuple(
                    _labelled(endpoint, written.labels)
                    for written in service.discover
                    for endpoint in self._sources[_key(name, written)].endpoints
                )
        return found

    def resolved(self, config: Config) -> dict[str, tuple[str, ...]]:
        """The addresses of the names of all endpoints, written and found."""
        names = names_to_resolve(config).union(*(source.names for source in self._sources.values()))
        return {name: self._dns.addresses(name) for name in names}

    def names(self) -> list[NameState]:
        """All names that are followed, sorted."""
        return self._dns.states()

    def sources(self) -> list[Source]:
        """All sources, by service."""
        return [self._sources[key] for key in sorted(self._sources)]

    def standings(self, config: Config) -> list[Standing]:
        """Of each service that has sources, or endpoints whose addresses are names."""
        now_s = time.time()
        by_name = {state.name: state for state in self._dns.states()}
        found = []
        for name, service in config.services.items():
            sources = [self._sources[_key(name, written)] for written in service.discover]
            hosts = {_host(endpoint) for endpoint in service.endpoints}.union(*(source.names for source in sources))
            states = [by_name[host] for host in hosts if host in by_name]
            if sources or states:
                ages_s = [source.age_s(now_s) for source in sources] + [_age_s(state, now_s) for state in states]
                errors = sum(source.error_count for source in sources) + sum(bool(state.error) for state in states)
                found.append(Standing(name, max(ages_s), errors))
        return found

    async def first_answers(self, timeout_s: float) -> None:
        """Wait until each name has been asked for once, those that SRV records lead to among them, for so long."""
        deadline = time.monotonic() + timeout_s
        await self._dns.first_answers(timeout_s)
        while any(source.offered for source in self._sources.values()) and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        await self._dns.first_answers(deadline - time.monotonic())

    async def close(self) -> None:
        """Follow nothing any more."""
        self._sources.clear()
        if self._timer is not None:
            self._timer.cancel()
        await asyncio.gather(*(folder.close() for folder in self._folders.values()))
        self._folders.clear()
        await self._dns.close()

    # Directories.

    def _watch_folders(self) -> None:
        by_folder: dict[Path, list[Source]] = {}
        for source in self._sources.values():
            if source.kind != "srv":
                path = self._directory / source.place
                by_folder.setdefault(path if source.kind == "registry" else path.parent, []).append(source)
        for path in self._folders.keys() - by_folder.keys():
            self._folders.pop(path).stop()
        for path, sources in by_folder.items():
            if path not in self._folders:
                self._folders[path] = Folder(path, self._changes, self._settle)
            self._folders[path].use(sources)

    # Names.

    def _on_addresses(self, name: str, addresses: tuple[str, ...]) -> None:
        if name in self._written_names or any(name in source.names for source in self._sources.values()):
            self._on_change()

    def _on_lookup(self, state: NameState) -> None:
        sources = [source for source in self._sources.values() if source.written.srv == state.name]
        for source in sources:
            self._offer_records(source, self._dns.records(state.name))
        if sources or any(source.offered for source in self._sources.values()):
            self._settle()

    def _offer_records(self, source: Source, state: NameState) -> None:
        if state.lookups:
            source.offer(*_offer_of(state, source.written.allow_empty), good_s=state.answered_at)

    def _settle(self) -> None:
        """Follow the names that sources lead to, and put into force what waited for names that are known now."""
        sources = list(self._sources.values())
        self._follow_names(sources)
        waiting = frozenset().union(*(source.names for source in sources if source.offered is not None))
        asked = frozenset(name for name in waiting if self._dns.was_asked(name))
        resolved = frozenset(name for name in waiting if self._dns.addresses(name))
        if [source for source in sources if source.settle(asked, resolved)]:
            self._follow_names(sources)
            self._on_change()
        waits_s = [wait_s for source in sources if source.offered is not None and (wait_s := source.wait_s()) > 0]
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(min(waits_s), self._settle) if waits_s else None

    def _follow_names(self, sources: Iterable[Source]) -> None:
        names = self._written_names.union(*(source.names for source in sources))
        self._dns.update(names, {source.written.srv for source in sources if source.written.srv})


def _key(service: str, written: Discover) -> _Key:
    return (service, written.kind, written.place)


def _labelled(endpoint: Endpoint, labels: dict[str, str]) -> Endpoint:
    return msgspec.structs.replace(endpoint, labels={**labels, **endpoint.labels}) if labels else endpoint


def _host(endpoint: Endpoint) -> str:
    return endpoint.address.rpartition(":")[0]


def _age_s(state: NameState, now_s: float) -> float:
    """0: the last look-up succeeded, or there has been none."""
    return max(now_s - (state.answered_at or state.followed_at), 0.0) if state.error else 0.0


def _offer_of(state: NameState, allow_empty: bool) -> tuple[tuple[Endpoint, ...], tuple[str, ...]]:
    """Endpoints and errors of what SRV records say."""
    if state.is_none and allow_empty:
        return (), ()
    endpoints, errors = [], [state.error] if state.error else []
    for address, weight in zip(state.addresses, state.weights, strict=True):
        try:
            endpoints.append(Endpoint(read_endpoint_address(address), {}, weight))
        except InvalidText as error:
            errors.append(f"{address}: {error.message or error.hint}")
    return tuple(endpoints), tuple(errors)
