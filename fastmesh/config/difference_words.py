"""Differences that have words of their own: splits, endpoints and their sources, matches, limits, addresses."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from fastmesh import snapshot as compiled
from fastmesh.config.phrases import (
    arm_phrase,
    either,
    labels_phrase,
    limit_phrase,
    path_phrase,
    share_phrase,
    value_phrase,
)
from fastmesh.config.translate import key_of, path_of, sorted_labels, value_test_of, written_out

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastmesh.config.schema import (
        ClientMatch,
        Destination,
        Discover,
        Endpoint,
        Match,
        PathTest,
        RateLimit,
        ValueTest,
    )
    from fastmesh.config.translate import Labels

FieldChange = tuple[str, str]
"""The field, and what is different, in words."""

Arm = tuple[str, "Labels"]

KINDS_OF_VALUES = {"match.headers": "header", "match.query": "parameter", "match.client": "client's"}


def split_phrase(to: list[Destination]) -> str:
    """ "hello", "90% hello (version=v1), 10% hello (version=v2)"."""
    shares = _shares(to)
    if len(shares) == 1:
        return arm_phrase(*next(iter(shares)))
    return ", ".join(f"{share_phrase(share)} {arm_phrase(*arm)}" for arm, share in shares.items())


def split_changes(old: list[Destination] | None, new: list[Destination] | None, field: str) -> Iterator[FieldChange]:
    """Who gets another share than before."""
    before, after = _shares(old or []), _shares(new or [])
    subject = "" if field == "to" else f"{field}: "
    if len(before) == len(after) == 1:
        gone, come = next(iter(before)), next(iter(after))
        if gone != come:
            yield field, f"{subject}goes to {arm_phrase(*come)} instead of {arm_phrase(*gone)}"
        return
    for arm in {**after, **before}:
        was, is_ = before.get(arm, Fraction(0)), after.get(arm, Fraction(0))
        if was != is_:
            yield field, f"{subject}{share_phrase(is_)} goes to {arm_phrase(*arm)} instead of {share_phrase(was)}"


def _shares(to: list[Destination]) -> dict[Arm, Fraction]:
    """Of each arm that gets anything; one that is written twice is one."""
    total = sum(destination.weight for destination in to)
    shares: dict[Arm, Fraction] = {}
    for destination in to:
        arm = (destination.service, sorted_labels(destination.subset))
        if destination.weight:
            shares[arm] = shares.get(arm, Fraction(0)) + Fraction(destination.weight, total)
    return shares


def endpoint_changes(old: list[Endpoint], new: list[Endpoint], field: str) -> Iterator[FieldChange]:
    """Endpoints are the same when their addresses are."""
    before = {endpoint.address: endpoint for endpoint in old}
    after = {endpoint.address: endpoint for endpoint in new}
    for address, endpoint in after.items():
        was = before.get(address)
        if was is None:
            yield field, f"endpoint {address} added{_attributes(endpoint)}"
            continue
        if was.weight != endpoint.weight:
            drains = "; it gets no new requests" if endpoint.weight == 0 else ""
            yield field, f"endpoint {address} has weight {endpoint.weight} instead of {was.weight}{drains}"
        if was.labels != endpoint.labels:
            labels = [labels_phrase(sorted_labels(each.labels)) or "no labels" for each in (endpoint, was)]
            yield field, f"endpoint {address} has {labels[0]} instead of {labels[1]}"
    for address, endpoint in before.items():
        if address not in after:
            yield field, f"endpoint {address} removed{_attributes(endpoint)}"


def _attributes(endpoint: Endpoint) -> str:
    labels = labels_phrase(sorted_labels(endpoint.labels))
    parts = [*([labels] if labels else []), *([f"weight {endpoint.weight}"] if endpoint.weight != 1 else [])]
    return f" ({'; '.join(parts)})" if parts else ""


def source_phrase(source: Discover) -> str:
    """ "srv _http._tcp.hello.example.org", "registry registry"."""
    return f"{source.kind} {source.place}"


def source_changes(old: list[Discover], new: list[Discover], field: str) -> Iterator[FieldChange]:
    """Sources of endpoints are the same when they look at the same place."""
    before, after = ({source_phrase(source): source for source in sources} for sources in (old, new))
    for phrase, source in after.items():
        was = before.get(phrase)
        if was is None:
            yield field, f"source {phrase} added{_source_attributes(source)}"
            continue
        if was.labels != source.labels:
            labels = [labels_phrase(sorted_labels(each.labels)) or "no labels" for each in (source, was)]
            yield field, f"source {phrase} puts {labels[0]} on endpoints instead of {labels[1]}"
        if was.allow_empty != source.allow_empty:
            kept = "is believed when it says that there is none" if source.allow_empty else "keeps the last endpoints"
            yield field, f"source {phrase} {kept}"
    for phrase, source in before.items():
        if phrase not in after:
            yield field, f"source {phrase} removed{_source_attributes(source)}"
    if [*before] != [*after] and {*before} == {*after}:
        yield field, f"sources that find the same address count in the order {', '.join(after)}"


def _source_attributes(source: Discover) -> str:
    labels = labels_phrase(sorted_labels(source.labels))
    parts = [*([labels] if labels else []), *(["allow_empty"] if source.allow_empty else [])]
    return f" ({'; '.join(parts)})" if parts else ""


def limit_changes(old: RateLimit | None, new: RateLimit | None, field: str) -> Iterator[FieldChange]:
    """What is let through."""
    if old is None or new is None:
        kept = limit_of(new) if new is not None else "is no longer there"
        yield field, f"rate limit {kept}" + ("" if old is None else f" (it was {limit_of(old)})")
    elif limit_of(old) != limit_of(new):
        yield field, f"rate limit {limit_of(new)} instead of {limit_of(old)}"


def limit_of(limit: RateLimit) -> str:
    """In words."""
    return limit_phrase(compiled.Limit(0, "", limit.rate, limit.burst, key_of(limit.key)))


def listener_set_changes(old: list[str], new: list[str], field: str) -> Iterator[FieldChange]:
    """Where a route stands."""
    before, after = ([*dict.fromkeys(names)] for names in (old, new))
    if set(before) != set(after):
        yield field, f"stands on {_listener_set(after)} instead of {_listener_set(before)}"


def _listener_set(names: list[str]) -> str:
    return ", ".join(names) if names else "all listeners"


def address_change(old: str, new: str, field: str) -> Iterator[FieldChange]:
    """A listener elsewhere."""
    if old != new:
        yield field, f"moves from {old} to {new}"


def hosts_changes(old: list[str], new: list[str], field: str) -> Iterator[FieldChange]:
    """Whose requests are taken."""
    added, removed = [[*dict.fromkeys(each)] for each in (set(new) - set(old), set(old) - set(new))]
    if not old or not new:
        yield field, f"takes {_hosts(new)} instead of {_hosts(old)}"
        return
    if added:
        yield field, f"takes the host {', '.join(sorted(added))}, too"
    if removed:
        yield field, f"takes the host {', '.join(sorted(removed))} no longer"


def _hosts(hosts: list[str]) -> str:
    return f"only the host {either(hosts)}" if hosts else "any host"


def path_changes(old: PathTest, new: PathTest, field: str) -> Iterator[FieldChange]:
    """Which paths are taken."""
    if path_of(old) != path_of(new):
        yield field, f"takes the path {path_phrase(*path_of(new))} instead of {path_phrase(*path_of(old))}"


def methods_changes(old: list[str], new: list[str], field: str) -> Iterator[FieldChange]:
    """Which methods are taken."""
    if set(old) != set(new):
        yield field, f"takes {_methods(new)} instead of {_methods(old)}"


def _methods(methods: list[str]) -> str:
    return either(methods, len(methods)) if methods else "any method"


def value_tests_changes(old: dict[str, ValueTest], new: dict[str, ValueTest], field: str) -> Iterator[FieldChange]:
    """What is asked of headers or of query parameters."""
    what = KINDS_OF_VALUES[field]
    for name, test in new.items():
        is_ = value_phrase(value_test_of(name, test))
        was = value_phrase(value_test_of(name, old[name])) if name in old else ""
        if name not in old:
            yield field, f"takes requests only if the {what} {name} {is_}"
        elif is_ != was:
            yield field, f"takes requests if the {what} {name} {is_}, no longer if it {was}"
    for name, test in old.items():
        if name not in new:
            yield field, f"takes requests whether or not the {what} {name} {value_phrase(value_test_of(name, test))}"


def client_changes(old: ClientMatch | None, new: ClientMatch | None, field: str) -> Iterator[FieldChange]:
    """Whose requests are taken."""
    before, after = ({} if match is None else match.tests() for match in (old, new))
    yield from value_tests_changes(before, after, field)


def match_phrase(match: Match) -> str:
    """Which requests: "GET or HEAD of shop.example, /static and below, if the header x-a is 'b'"."""
    subject = either(match.methods) if match.methods else "requests" if match.grpc is None else "gRPC calls"
    hosts = f" of {either(match.hosts)}" if match.hosts else ""
    path = path_phrase(*path_of(written_out(match).path))
    client = match.client.tests() if match.client is not None else {}
    tests = [
        f"the {what} {name} {value_phrase(value_test_of(name, test))}"
        for what, named in zip(KINDS_OF_VALUES.values(), (match.headers, match.query, client), strict=True)
        for name, test in named.items()
    ]
    return f"{subject}{hosts} for {path}" + (f" if {' and '.join(tests)}" if tests else "")
