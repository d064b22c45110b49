"""The endpoints of a destination: which may be chosen, and why the others may not."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct, field

from fastmesh.config.addresses import join_address
from fastmesh.config.phrases import arm_phrase
from fastmesh.config.translate import place

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastmesh import snapshot as compiled
    from fastmesh.config import schema
    from fastmesh.config.load import Item
    from fastmesh.config.translate import Labels


class Health(Struct, frozen=True):
    """What a running mesh knows of an endpoint."""

    is_healthy: bool
    is_checked: bool  # by an active check
    error: str = ""  # of the last check


class Live(Struct, frozen=True):
    """What a running mesh knows. Empty: there is none to ask."""

    health: dict[tuple[str, str], Health] = field(default_factory=dict)  # by service and address
    addresses: dict[str, tuple[str, ...]] = field(default_factory=dict)  # of names
    found: dict[str, tuple[schema.Endpoint, ...]] = field(default_factory=dict)  # by the sources of services


class EndpointView(Struct, frozen=True):
    """One endpoint of the service, of this subset or not."""

    address: str
    source: str  # file:line
    discovered: bool  # then `source` is where the service stands
    weight: int
    labels: dict[str, str]
    health: str  # "healthy", "unhealthy: connection refused", "not checked", "unknown"
    available: bool  # it may be chosen
    why: str  # it may not


class _Candidate(NamedTuple):
    """An address of an endpoint."""

    endpoint: schema.Endpoint
    address: str  # empty: of a name without addresses
    source: str
    is_discovered: bool


def endpoint_views(
    item: Item, written: schema.Service, service: compiled.Service, labels: Labels, live: Live
) -> tuple[tuple[EndpointView, ...], str]:
    """All endpoints of a service as a subset of it sees them, and a note if too few are healthy, or known."""
    candidates = list(_candidates(item, service.name, written, live))
    health = {each.address: live.health.get((service.name, each.address)) for each in candidates}
    wanted = set(labels)
    members = [
        each.address
        for each in candidates
        if each.address and each.endpoint.weight and wanted <= set(each.endpoint.labels.items())
    ]
    well = sum(known is None or known.is_healthy for known in map(health.get, members))
    panics = well * 100 < service.panic_percent * len(members)  # as in _core.balancer
    views = []
    for endpoint, address, source, is_discovered in candidates:
        why = _why_out(endpoint, address, labels, None if panics else health[address])
        views.append(
            EndpointView(
                address or endpoint.address,
                source,
                is_discovered,
                endpoint.weight,
                endpoint.labels,
                _health_phrase(health[address]),
                not why,
                why,
            )  # fmt: skip
        )
    notes = []
    if not views:
        notes.append(f"no endpoint of {arm_phrase(service.name, labels)} is known")
    elif panics:
        notes.append(f"only {well} of {len(members)} are healthy, less than {service.panic_percent}%: all are used")
    if written.discover and service.name not in live.found:
        notes.append("a running mesh knows what its sources find, and was not asked")
    return tuple(views), "; ".join(notes)


def _candidates(item: Item, service: str, written: schema.Service, live: Live) -> Iterator[_Candidate]:
    """Each address once, as in the snapshot."""
    seen: set[str] = set()
    found = live.found.get(service, ())
    for index, endpoint in enumerate((*written.endpoints, *found)):
        is_discovered = index >= len(written.endpoints)
        source = item.source() if is_discovered else item.at(("services", service, "endpoints", index, "address"))
        host, port, is_literal = place(endpoint.address)
        hosts = (host,) if is_literal else live.addresses.get(host, ())
        for address in [join_address(host, port) for host in hosts] or [""]:
            if not address or address not in seen:
                seen.add(address)
                yield _Candidate(endpoint, address, f"{source.file}:{source.line}", is_discovered)


def _why_out(endpoint: schema.Endpoint, address: str, labels: Labels, health: Health | None) -> str:
    """Why an endpoint is not chosen; empty: it may be."""
    for name, value in labels:
        has = endpoint.labels.get(name)
        if has != value:
            return f"{name} is {has}, not {value}" if has is not None else f"it has no label {name}"
    if not address:
        return "its name has no address that is known here"
    if endpoint.weight == 0:
        return "weight 0: it gets no new requests"
    return "unhealthy" if health is not None and not health.is_healthy else ""


def _health_phrase(health: Health | None) -> str:
    if health is None:
        return "unknown"
    if not health.is_healthy:
        return f"unhealthy: {health.error}" if health.error else "unhealthy"
    return "healthy" if health.is_checked else "not checked"
