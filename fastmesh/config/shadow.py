"""Routes that can never match, since others that go first take all of their requests.

The data plane compares hosts first (exact, wildcard, any), then paths (exact, regular expression, prefix: the longest
first), then whether methods are named, then how many header and query tests there are, then the order of writing. So
within one host and one path, only routes with the very same tests hide one another.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

from fastmesh.config.problem import Problem, Severity, quoted
from fastmesh.config.translate import written_out

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastmesh.config.load import Item, Items
    from fastmesh.config.schema import Match, PlainValueTest, Route

Tests = tuple[Any, ...]


def tests_of(match: Match) -> Tests:
    """All tests but those of host and listener; equal for routes that stand on the same step of precedence."""
    tests = written_out(match)
    path, headers = tests.path, tests.headers
    prefix = path.prefix if path.prefix is None else path.prefix.rstrip("/")
    plain = (path.exact, prefix, path.regex, bool(tests.methods))
    if not headers and not match.query and match.client is None:
        return plain
    client = match.client.tests() if match.client is not None else {}
    return (
        *plain,
        *(frozenset((name, _value(test)) for name, test in tests.items()) for tests in (headers, match.query, client)),
    )


def _value(test: PlainValueTest) -> Tests:
    inner = getattr(test, "not_", None)
    plain = (test.exact, test.prefix, test.regex, test.present, test.absent)
    return plain if inner is None else ("not", *_value(inner))


def unreachable_routes(items: Items) -> list[Problem]:
    """A warning for each route that can never match. The items are free of errors."""
    groups: dict[Tests, list[Item]] = {}
    for item in items.get("routes", {}).values():
        group = groups.get(item.entry.tests)
        if group is None:
            groups[item.entry.tests] = [item]
        else:
            group.append(item)
    listeners = tuple(items.get("listeners", {}))
    return [problem for group in groups.values() if len(group) > 1 for problem in _hidden_in(group, listeners)]


def _hidden_in(group: list[Item], all_listeners: tuple[str, ...]) -> Iterator[Problem]:
    """Of routes with equal tests, those whose listeners, hosts and methods have all been taken before."""
    taken: dict[tuple[str, str], tuple[set[str], Item]] = {}
    for item in group:
        route: Route = item.entry.value
        methods = set(written_out(route.match).methods)
        first: Item | None = None
        is_new = False
        for place in product(route.listeners or all_listeners, route.match.hosts or ("",)):
            known = taken.get(place)
            if known is None:
                taken[place] = (set(methods), item)
                is_new = True
            elif methods <= known[0]:
                first = first or known[1]
            else:
                known[0].update(methods)
                is_new = True
        if first is not None and first is not item and not is_new:
            yield _hidden(item, first)


def _hidden(item: Item, first: Item) -> Problem:
    name = item.entry.name
    here, there = item.source(), first.source()
    return Problem(
        here.file, here.line, here.column,
        f"routes.{name}: it can never match: {quoted(first.entry.name)} takes its requests",
        name, hint="remove it, or make its match more specific",
        first_file=there.file, first_line=there.line, first_column=there.column, severity=Severity.WARNING,
    )  # fmt: skip
