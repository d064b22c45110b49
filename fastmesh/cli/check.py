"""`fastmesh check`: the loader's own verdict on a directory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fastmesh.config import LoadCache, Severity, load

if TYPE_CHECKING:
    from fastmesh.config import LoadResult, Problem

COLORS = {Severity.ERROR: "red", Severity.WARNING: "yellow"}


@click.command(short_help="Check a directory and say what is wrong.")
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON object on standard output.")
@click.pass_context
def command(ctx: click.Context, directory: Path, as_json: bool) -> None:
    """Check the *.yaml files of DIRECTORY as `fastmesh run` would read them.

    The exit code is 0 when they can be used, warnings or not, and 1 when they cannot.

    \b
    Examples:
      fastmesh check config/
      fastmesh check config/ --json | jq .problems
    """
    result = load(directory, LoadCache())
    if as_json:
        click.echo(json.dumps(as_data(result), indent=2))
    else:
        show(directory, result)
    ctx.exit(0 if result.config is not None else 1)


def as_data(result: LoadResult) -> dict[str, Any]:
    """The verdict as plain data. All problems are in it."""
    return {
        "ok": result.config is not None,
        "version": result.digest if result.config is not None else None,
        "files": list(result.files),
        "counts": {kind: len(items) for kind, items in result.items.items()},
        "problems": [problem.as_json() for problem in result.problems],
    }


def show(directory: Path, result: LoadResult) -> None:
    """The verdict for people: errors first, then warnings, then what was found."""
    for severity, problems in ((Severity.ERROR, result.errors), (Severity.WARNING, result.warnings)):
        for problem in problems:
            click.echo(described(problem), err=severity is Severity.ERROR)
    errors, warnings = len(result.errors), len(result.warnings)
    if errors:
        click.secho(
            f"{directory}: {counted(errors, 'error')}, {counted(warnings, 'warning')}", fg="red", bold=True, err=True
        )
        return
    things = ", ".join(
        counted(len(result.items.get(f"{kind}s", {})), kind) for kind in ("listener", "service", "route")
    )
    summary = f"{directory}: ok: {things} in {counted(len(result.files), 'file')}"
    click.secho(summary + (f"; {counted(warnings, 'warning')}" if warnings else ""), fg="green", bold=True)


def described(problem: Problem) -> str:
    """A problem with the line that it is in."""
    place, _, rest = str(problem).partition(": ")
    line = _line(problem)
    shown = click.style(place, bold=True) + ": " + click.style(rest, fg=COLORS[problem.severity])
    return f"{shown}\n    {line}" if line else shown


def _line(problem: Problem) -> str:
    """The offending line with a mark under the place, where the file still has one."""
    if not problem.line:
        return ""
    try:
        with open(problem.file, encoding="utf-8", errors="replace") as file:
            text = next((line for number, line in enumerate(file, 1) if number == problem.line), "").rstrip("\n")
    except OSError:
        return ""
    if not text.strip() or len(text) > 200 or not text.isprintable() or "-----BEGIN" in text:  # keys are not shown
        return ""
    return f"{text}\n    {' ' * (problem.column - 1)}^"


def counted(number: int, word: str) -> str:
    """ "1 route", "10,000 routes"."""
    return f"{number:,} {word}" + ("" if number == 1 else "s")
