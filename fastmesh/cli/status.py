"""`fastmesh status`: what a running mesh serves, by whom, and how it goes."""

from __future__ import annotations

import json
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fastmesh.cli import admin_client
from fastmesh.cli.admin_client import DEFAULT_ADDRESS, reachable

if TYPE_CHECKING:
    from rich.console import Console, Group
    from rich.table import Table
    from rich.text import Text

SAMPLE_S = 0.5
WATCH_S = 2.0
ROWS_MAX = 100
WIDTH_OF_PIPE = 160
STYLES = {
    "listening": "green",
    "serving": "green",
    "applied": "green",
    "unchanged": "green",
    "starting": "yellow",
    "draining": "yellow",
    "valid": "green",
    "expires soon": "yellow",
}

Status = dict[str, Any]


@click.command(
    epilog="""\b
Examples:
  fastmesh status                       the mesh whose admin API is at its default address
  fastmesh status config/               the mesh that serves this directory
  fastmesh status --admin 10.0.0.5:9900
  fastmesh status --json | jq .readiness.ready
"""
)
@click.argument("directory", type=click.Path(path_type=Path), required=False)
@click.option("--admin", metavar="ADDRESS", help=f"Address of its admin API.  [default: {DEFAULT_ADDRESS}]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@click.option("--watch", is_flag=True, help="Show it again and again, until Ctrl-C.")
def command(directory: Path | None, admin: str | None, as_json: bool, watch: bool) -> None:
    """Show a running mesh: found by its admin API's address, or by the DIRECTORY that it serves."""
    if directory is not None and admin is not None:
        raise click.UsageError("give a directory or --admin, not both")
    if as_json and watch:
        raise click.UsageError("give --json or --watch, not both")
    address = reachable(admin or (DEFAULT_ADDRESS if directory is None else _address_of(directory)))
    status = fetch(address)
    if as_json:
        click.echo(json.dumps(status, indent=2))
    elif watch:
        _watch(address, status)
    else:
        time.sleep(SAMPLE_S)
        _console().print(_render(status, fetch(address)))


def fetch(address: tuple[str, int]) -> Status:
    """Everything at a glance; raises ClickException with one clear line."""
    # For the rates: when this was so.
    return admin_client.fetch(address, "/status", "fastmesh") | {"taken_s": time.monotonic()}


def _address_of(directory: Path) -> str:
    """Where the admin API of the mesh of a directory is, even while the directory holds errors."""
    if not directory.is_dir():
        raise click.ClickException(
            f"{directory} is not a directory; give the one that fastmesh run was given, or --admin"
        )
    from fastmesh.config import Admin, LoadCache, load

    result = load(directory, LoadCache())
    if result.config is not None:
        return result.config.admin.address
    written = result.items.get("admin", {}).get("")
    value = written.entry.value if written is not None else None
    return value.address if isinstance(value, Admin) else DEFAULT_ADDRESS


def _console() -> Console:
    from rich.console import Console

    # Lines that go into a file or a pipe are not cut to the width of a terminal that is not there.
    return Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH_OF_PIPE)


def _watch(address: tuple[str, int], status: Status) -> None:
    from rich.live import Live

    console = _console()
    before = status
    with suppress(KeyboardInterrupt), Live(console=console, screen=console.is_terminal, auto_refresh=False) as live:
        while True:
            shown = _render(before, status)
            if console.is_terminal:
                live.update(shown, refresh=True)
            else:
                console.print(shown)
            time.sleep(WATCH_S)
            before, status = status, fetch(address)


def _render(before: Status, now: Status) -> Group:
    from rich.console import Group

    tables = [_listeners(now), _services(before, now), _workers(now)]
    if now["names"]:
        tables.append(_names(now))
    if now["sources"]:
        tables.append(_sources(now))
    if now["certificates"]:
        tables.append(_certificates(now))
    return Group(_headline(now), *(part for table in tables for part in ("", table)), *_problems(now))


def _headline(now: Status) -> Text:
    from rich.text import Text

    if not now["readiness"]["ready"]:
        state = (f"not ready: {now['readiness']['reason']}", "bold red")
    elif now["problems"]["stale"]:
        state = ("ready, but the directory could not be applied", "bold yellow")
    else:
        state = ("ready", "bold green")
    version = now["version"][:12] or "none"
    up = _span(_age_s(now["started_at"]))
    last = now["last_reload"]
    line = Text.assemble(
        state, f"\nfastmesh {now['fastmesh']}, pid {now['pid']}, up {up}\n{now['directory']} at version {version}, "
    )
    line.append(f"{now['routes_total']} route(s)")
    if last is not None:
        line.append(f"\nlast reload {_span(_age_s(last['at']))} ago: ").append(last["outcome"], _style(last["outcome"]))
        line.append(f" in {last['duration_ms']:.0f} ms")
    return line


def _table(title: str, *columns: str) -> Table:
    """Columns whose names begin with # hold numbers."""
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in columns:
        table.add_column(column.removeprefix("#"), justify="right" if column.startswith("#") else "left", no_wrap=True)
    return table


def _listeners(now: Status) -> Table:
    table = _table("Listeners", "name", "address", "protocol", "state", "#open", "#accepted", "#refused", "source")
    for each in now["listeners"][:ROWS_MAX]:
        counts = [str(each[key]) for key in ("connections", "accepted", "refused")]
        spoken = each["protocol"] + {"none": "", "optional": ", TLS optional", "required": ", TLS"}[each["tls"]]
        place = _place(now, each["source"])
        table.add_row(_text(each["name"]), each["address"], spoken, _state(each["phase"]), *counts, place)
    return table


def _services(before: Status, now: Status) -> Table:
    table = _table("Services", "name", "healthy", "#active", "#rate", "#requests", "#p50", "#p99", "source")
    known = {each["name"]: each["requests"] for each in before["services"]}
    seconds = now["taken_s"] - before["taken_s"]
    for each in now["services"][:ROWS_MAX]:
        grown = max(each["requests"] - known.get(each["name"], each["requests"]), 0)
        rate = f"{grown / seconds:.1f}/s" if seconds > 0 else "-"
        latency = [_ms(each["latency"][key]) for key in ("p50_ms", "p99_ms")]
        counts = [str(each["active"]), rate, str(each["requests"])]
        table.add_row(_text(each["name"]), _healthy(each), *counts, *latency, _place(now, each["source"]))
    if len(now["services"]) > ROWS_MAX:
        table.caption = f"and {len(now['services']) - ROWS_MAX} more: see --json"
    return table


def _healthy(service: Status) -> Text:
    from rich.text import Text

    well, total = service["endpoints_healthy"], service["endpoints_total"]
    words = f"{well}/{total}" + (", all are used" if service["panicking"] else "")
    return Text(words, "green" if total and well == total else "yellow" if well else "red")


def _workers(now: Status) -> Table:
    table = _table("Workers", "slot", "pid", "state", "#up", "#restarts", "last exit")
    for each in now["workers"]:
        up = _span(_age_s(each["started_at"])) if each["started_at"] and each["pid"] else "-"
        pid, exit_ = str(each["pid"] or "-"), each["last_exit"] or "-"
        table.add_row(str(each["slot"]), pid, _state(each["phase"]), up, str(each["restarts"]), _text(exit_))
    return table


def _names(now: Status) -> Table:
    table = _table("DNS names", "name", "addresses", "#age", "last error")
    for each in now["names"][:ROWS_MAX]:
        age = "never resolved" if each["age_s"] is None else _span(each["age_s"])
        table.add_row(_text(each["name"]), " ".join(each["addresses"]) or "-", age, _text(each["error"]))
    return table


def _sources(now: Status) -> Table:
    table = _table("Discovery", "service", "source", "#endpoints", "#age", "error")
    table.columns[-1].no_wrap = False
    for each in now["sources"][:ROWS_MAX]:
        errors = each["errors"]
        age = _span(each["age_s"]) if errors else "-"
        error = _place(now, "".join(errors[:1])).append(f" (and {len(errors) - 1} more)" if len(errors) > 1 else "")
        where = _text(f"{each['kind']} {each['place']}")
        table.add_row(_text(each["service"]), where, str(each["endpoints"]), age, error)
    return table


def _certificates(now: Status) -> Table:
    table = _table("Certificates", "file", "state", "expires", "#left", "names", "used by")
    soonest = sorted(now["certificates"], key=lambda each: str(each["not_after"]))
    for each in soonest[:ROWS_MAX]:
        names = " ".join(each["names"]) or ("CA" if each["kind"] == "ca" else "-")
        left = -_age_s(each["not_after"])
        shown = _span(left) if left > 0 else "-"
        moment = f"{datetime.fromisoformat(each['not_after']):%Y-%m-%d %H:%M}"
        table.add_row(
            _text(each["name"]), _state(each["phase"]), moment, shown, _text(names), " ".join(each["used_by"])
        )
    if len(soonest) > ROWS_MAX:
        table.caption = f"and {len(soonest) - ROWS_MAX} more: see --json"
    return table


def _problems(now: Status) -> list[Text]:
    from rich.text import Text

    found = now["problems"]
    lines = [Text(found["error"], "red")] if found["error"] else []
    for problem in [*found["errors"], *found["warnings"]][:ROWS_MAX]:
        position = f":{problem['line']}:{problem['column']}" if problem["line"] else ""
        place = _place(now, problem["file"] + position).plain
        expected = f"expected {problem['expected']}" if problem["expected"] else ""
        words = "; ".join(part for part in (problem["message"], expected, problem["hint"]) if part)
        style = "red" if problem["severity"] == "error" else "yellow"
        lines.append(Text.assemble((problem["severity"], style), " ", (place, "bold"), f" {words}"))
    return [Text(""), *lines] if lines else []


def _text(words: str) -> Text:
    """Words from files, in which brackets are no markup."""
    from rich.text import Text

    return Text(words)


def _place(now: Status, source: str) -> Text:
    """Where a thing is written, seen from the directory."""
    return _text(source.removeprefix(now["directory"].rstrip("/") + "/"))


def _state(phase: str) -> Text:
    from rich.text import Text

    return Text(phase, _style(phase))


def _style(phase: str) -> str:
    return STYLES.get(phase, "red")


def _age_s(moment: str) -> float:
    return (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds()


def _span(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def _ms(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value / 1000:.2f} s" if value >= 1000 else f"{value:.3g} ms"
