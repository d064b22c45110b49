"""What an edit changes, and for whom, in words: `changes(old, new)`. Pure.

What makes no difference is no change: comments, the order of hosts or of endpoints, weights 9 and 1 instead of 90 and
10, a / at the end of a prefix. What is named is compared by name: whoever is renamed goes, and comes as another.
"""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from fastmesh.config.decode import StructReader
from fastmesh.config.difference_fields import field_changes, flow
from fastmesh.config.difference_words import match_phrase, source_phrase, split_phrase
from fastmesh.config.phrases import arm_phrase, either
from fastmesh.config.schema import NAMED_KINDS, Config, Listener, Route, Service
from fastmesh.config.translate import path_of, sorted_labels, written_out
from fastmesh.snapshot import PathMatch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastmesh.config.decode import Reader
    from fastmesh.config.load import LoadResult
    from fastmesh.config.schema import NamedKind

ENDPOINTS_SHOWN = 5


class Change(NamedTuple):
    """One thing that is different."""

    kind: str  # "listeners", "services", "routes", "files", or a kind without names: "admin", "dns"
    name: str  # empty: the kind has no names
    action: Literal["added", "removed", "changed"]
    field: str  # what of it, such as "timeouts.connect"; empty: the whole, or its place among others
    text: str  # in words

    def __str__(self) -> str:
        subject = f"{self.kind[:-1]} {self.name}" if self.name else self.kind
        return f"{subject}: {self.text}"


_CONFIG = StructReader(Config)


def changes(old: Config, new: Config) -> list[Change]:
    """All that changes, in the order of the kinds and of the new configuration; what goes, after what is left."""
    if old is new:
        return []
    found: list[Change] = []
    for named in NAMED_KINDS:
        found += _named(named, getattr(old, named), getattr(new, named))
    found += _order(old.routes, new.routes, tuple(new.listeners))
    for kind, (attribute, reader) in _CONFIG.fields.items():
        if kind not in NAMED_KINDS:
            found += _unnamed(kind, reader, getattr(old, attribute), getattr(new, attribute))
    return found


def all_changes(old: LoadResult, new: LoadResult) -> list[Change]:
    """The same of two directories without errors, with the files that both of them name: certificates and keys."""
    assert old.config is not None
    assert new.config is not None
    found = changes(old.config, new.config)
    ends = {file.name: file.validity.not_after_s for file in new.certificates.files}
    for name, file in new.pem_files.items():
        before = old.pem_files.get(name)
        if before is not None and before.content != file.content:
            until = (
                f", valid until {datetime.fromtimestamp(ends[name], UTC):%Y-%m-%d %H:%M} UTC" if name in ends else ""
            )
            found.append(Change("files", name, "changed", "", f"has other contents{until}"))
    return found


def _named(kind: NamedKind, old: dict[str, Any], new: dict[str, Any]) -> Iterator[Change]:
    reader: Any = _CONFIG.fields[kind][1]
    for name, thing in new.items():
        before = old.get(name)
        if before is None:
            yield Change(kind, name, "added", "", f"added: {_summary(thing)}")
        elif before is not thing:
            for each in field_changes(reader.value, before, thing, ""):
                yield Change(kind, name, "changed", *each)
    for name, thing in old.items():
        if name not in new:
            yield Change(kind, name, "removed", "", f"removed: {_summary(thing)}")


def _unnamed(kind: str, reader: Reader, old: Any, new: Any) -> Iterator[Change]:
    if old is None and new is not None:
        yield Change(kind, "", "added", "", f"added: {flow(reader, new)}")
    elif old is not None and new is None:
        yield Change(kind, "", "removed", "", f"removed: {flow(reader, old)}")
    else:
        for each in field_changes(reader, old, new, ""):
            yield Change(kind, "", "changed", *each)


def _summary(thing: Listener | Service | Route) -> str:
    """What is there to know of a thing that comes or goes."""
    if isinstance(thing, Listener):
        spoken = "" if thing.spoken == "http" else f", {thing.spoken}"
        return f"{thing.address}{spoken}" + (", by TLS" if thing.tls is not None else "")
    if isinstance(thing, Route):
        where = f" on {either(thing.listeners)}" if thing.listeners else ""
        return f"{match_phrase(thing.match)}{where}, to {split_phrase(thing.to)}"
    return _places(thing) + (", by TLS" if thing.tls is not None else "")


def _places(service: Service) -> str:
    """Where a service is, or where it looks."""
    endpoints = service.endpoints[:ENDPOINTS_SHOWN]
    shown = ", ".join(arm_phrase(each.address, sorted_labels(each.labels)) for each in endpoints)
    more = len(service.endpoints) - len(endpoints)
    written = [f"{shown} and {more} more" if more else shown] if shown else []
    return ", ".join([*written, *(f"what {source_phrase(source)} finds" for source in service.discover)])


# Among routes that are equally specific, the one first written wins.


def _order(old: dict[str, Route], new: dict[str, Route], listeners: tuple[str, ...]) -> Iterator[Change]:
    """Routes that now go before others, with which they tie."""
    kept = [name for name in new if name in old]
    place = {name: index for index, name in enumerate(name for name in old if name in new)}
    if all(place[first] < place[second] for first, second in pairwise(kept)):
        return
    tied: dict[tuple[Any, ...], list[str]] = {}
    for name in kept:
        for step in _steps(new[name], listeners):
            tied.setdefault(step, []).append(name)
    inverted = dict.fromkeys(
        (first, second) for names in tied.values() for first, second in pairwise(names) if place[first] > place[second]
    )
    for first, second in inverted:
        yield Change("routes", first, "changed", "", f"goes before {second} now, which is as specific")


def _steps(route: Route, listeners: tuple[str, ...]) -> Iterator[tuple[Any, ...]]:
    """The steps of precedence on which a route stands, one for each listener and host."""
    match, tests = route.match, written_out(route.match)
    path_match, path = path_of(tests.path)
    place: Any = len(path) if path_match is PathMatch.REGEX else path
    client = match.client.tests() if match.client is not None else {}
    step = (path_match, place, bool(tests.methods), len(client), len(tests.headers), len(match.query))
    for listener in route.listeners or listeners:
        for host in match.hosts or [""]:
            yield (listener, host, *step)
