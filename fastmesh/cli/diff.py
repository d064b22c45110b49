"""`fastmesh diff`: what changes between two directories, and for whom."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fastmesh.cli.check import counted
from fastmesh.cli.explain import load_good

if TYPE_CHECKING:
    from fastmesh.config import LoadResult
    from fastmesh.config.difference import Change

SIGNS = {"added": ("+", "green"), "removed": ("-", "red"), "changed": ("~", "yellow")}


@click.command(
    short_help="Tell what changes between two directories.",
    epilog="""\b
Examples:
  fastmesh diff config/ new/
  git worktree add /tmp/main main && fastmesh diff /tmp/main/config config/
  fastmesh diff config/ new/ --json | jq '.changes[].text'
""",
)
@click.argument("old", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON object on standard output.")
def command(old: Path, new: Path, as_json: bool) -> int:
    """Tell in words what changes, and for whom, when the configuration of OLD is replaced by that of NEW.

    Comments, order without effect and other ways of writing the same are no change. The exit code is 0 when nothing
    changes, 1 when something does, 2 when one of them cannot be used.
    """
    before, after = load_good(old), load_good(new)
    from fastmesh.config.difference import all_changes

    found = all_changes(before, after)
    if as_json:
        told = [change._asdict() | {"source": _place(change, before, after)} for change in found]
        data = {"old": {"version": before.digest}, "new": {"version": after.digest}, "changes": told}
        click.echo(json.dumps(data, indent=2))
    else:
        for change in found:
            sign, color = SIGNS[change.action]
            click.echo(
                click.style(f"{sign} {change}", fg=color) + click.style(f"  {_place(change, before, after)}", dim=True)
            )
        click.secho(counted(len(found), "change") if found else "nothing changes", bold=True)
    return 1 if found else 0


def _place(change: Change, before: LoadResult, after: LoadResult) -> str:
    """Where it is written: in the new directory, unless it is gone from there; empty: a default."""
    for result in (before,) if change.action == "removed" else (after, before):
        item = result.items.get(change.kind, {}).get(change.name)
        if item is not None:
            return f"{item.source().file}:{item.source().line}"
    return ""
