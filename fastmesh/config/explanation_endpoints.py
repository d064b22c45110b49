"""The endpoints of a destination: which may be chosen, and why the others may not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, field

from fastmesh.config.addresses import join_address
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


class EndpointView(Struct, frozen=True):
    """One endpoint of the service, of this subset or not."""

    address: str
    source: str
    weight: int
    labels: dict[str, str]
    health: str  # "healthy", "unhealthy: connection refused", "not checked", "unknown"
    available: bool  # it may be chosen
    why: str  # it may not


def endpoint_views(
    item: Item, written: schema.Service, service: compiled.Service, labels: Labels, live: Live
) -> tuple[tuple[EndpointView, ...], str]:
    """All endpoints of a service as a subset of it sees them, and a note if it panics."""
    found = list(_addresses(written, live))
    health = {address: live.health.get((service.name, address)) for _, address in found}
    wanted = set(labels)
    members = [
        address
        for index, address in found
        if address and written.endpoints[index].weight and wanted <= set(written.endpoints[index].labels.items())
    ]
    well = sum(known is None or known.is_healthy for known in map(health.get, members))
    panics = well * 100 < service.panic_percent * len(members)  # as in _core.balancer
    views = []
    for index, address in found:
        endpoint = written.endpoints[index]
        source = item.at(("services", service.name, "endpoints", index, "address"))
        why = _why_out(endpoint, address, labels, None if panics else health[address])
        views.append(
            EndpointView(
                address or endpoint.address,
                f"{source.file}:{source.line}",
                endpoint.weight,
                endpoint.labels,
                _health_phrase(health[address]),
                not why,
                why,
            )  # fmt: skip
        )
    note = f"only {well} of {len(members)} are healthy, less than {service.panic_percent}%: all are used"
    return tuple(views), note if panics else ""


def _addresses(written: schema.Service, live: Live) -> Iterator[tuple[int, str]]:
    """Each address once, as in the snapshot, with the index of its endpoint; empty: of a name without addresses."""
    seen: set[str] = set()
    for index, endpoint in enumerate(written.endpoints):
        host, port, is_literal = place(endpoint.address)
        hosts = (host,) if is_literal else live.addresses.get(host, ())
        for address in [join_address(host, port) for host in hosts] or [""]:
            if not address or address not in seen:
                seen.add(address)
                yield index, address


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
