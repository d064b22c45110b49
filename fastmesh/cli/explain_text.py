"""An explanation for people: tables, in colours on a terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from fastmesh.config.explanation import DestinationView, Explanation, RuleView

RULES_MAX = 30
WIDTH_OF_PIPE = 200
STYLES = {"matches": "bold green", "hidden": "yellow", "misses": ""}


def show(request: str, found: Sequence[Explanation], told_by: str, show_all: bool) -> None:
    """Print it all."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH_OF_PIPE)
    console.print(Text(request, "bold"))
    for explanation in found:
        console.print(_explanation(explanation, show_all))
    if any(each.destinations for each in found):
        console.print(Text(f"\nhealth {told_by}", "dim"))


def _explanation(each: Explanation, show_all: bool) -> RenderableType:
    style = "bold green" if each.route else "bold red"
    parts: list[RenderableType] = [
        Text.assemble("\nlistener ", (each.listener, "bold"), f", {each.address}  ", (each.source, "dim")),
        Text(f"  {each.outcome}", style),
    ]
    if each.rules:
        parts += ["", _rules(each.rules, show_all)]
    if each.filters:
        table = _table("filters, in their order", "", "", "")
        for filter in each.filters:
            table.add_row(Text(filter.name), Text(filter.what), Text(filter.source, "dim"))
        parts += ["", table]
    if each.destinations:
        parts += ["", Text("  destinations", "bold"), *(part for view in each.destinations for part in _arm(view))]
    return Group(*parts)


def _table(title: str, *columns: str) -> Table:
    table = Table(
        title=f"  {title}" if title else None, title_justify="left", title_style="bold", box=None,
        show_header=any(columns), header_style="dim", padding=(0, 2, 0, 2), collapse_padding=True,
    )  # fmt: skip
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _rules(rules: Sequence[RuleView], show_all: bool) -> Table:
    """In order; of very many, those around the one that takes the request, and those that came near."""
    table = _table("rules, the most specific first", "", "", "", "")
    shown = list(range(len(rules))) if show_all or len(rules) <= RULES_MAX else _nearest(rules)
    before = -1
    for index in shown:
        if index > before + 1:
            table.add_row("", f"... {index - before - 1:,} more that miss", "", "")
        before = index
        rule = rules[index]
        style = STYLES[rule.verdict]
        table.add_row(Text(rule.name, style), Text(rule.verdict, style), Text(rule.why), Text(rule.source, "dim"))
    if before + 1 < len(rules):
        table.add_row("", f"... {len(rules) - before - 1:,} more; see --all", "", "")
    return table


def _nearest(rules: Sequence[RuleView]) -> list[int]:
    """The fewer tests a rule fails, the sooner it is shown: the one that matches before all."""

    def failures(index: int) -> int:
        return sum(not test.passed for test in rules[index].tests)

    order = sorted(range(len(rules)), key=lambda index: (rules[index].verdict != "matches", failures(index)))
    return sorted(order[:RULES_MAX])


def _arm(view: DestinationView) -> list[RenderableType]:
    subset = ", ".join(f"{name}={value}" for name, value in view.subset.items())
    head = Text.assemble(
        "  ", (view.share, "bold"), " to ", (view.service, "bold"), f" ({subset})" if subset else "",
        f"; balance {view.balance}; timeouts: {view.timeouts}  ", (view.source, "dim"),
    )  # fmt: skip
    table = _table("", "endpoint", "weight", "labels", "health", "", "")
    for each in view.endpoints:
        labels = ", ".join(f"{name}={value}" for name, value in each.labels.items())
        chosen = Text("in", "green") if each.available else Text(f"out: {each.why}", "yellow")
        table.add_row(
            Text(each.address),
            str(each.weight),
            Text(labels or "-"),
            Text(each.health),
            chosen,
            Text(("discovered, " if each.discovered else "") + each.source, "dim"),
        )
    note = [Text(f"    {view.note}", "yellow")] if view.note else []
    return [head, *note, Padding(table, (0, 0, 0, 3), expand=False)]
