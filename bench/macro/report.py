"""Results as Markdown, as JSON, and as a verdict on each bar."""

import json
import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path

from bench.macro.proxies import LOAD_TOOLS, TITLES, version
from bench.macro.rows import COLUMNS, Bar, Row
from bench.macro.suite import Plan, Result, Results


@dataclass(frozen=True)
class Verdict:
    """A bar, with what was measured; `value` None: it could not be."""

    text: str
    measured: str
    passed: bool | None

    @property
    def mark(self) -> str:
        return {True: "✅ pass", False: "❌ fail", None: "not measured"}[self.passed]


def bar_text(bar: Bar) -> str:
    """A bar in words."""
    least = "at least" if bar.at_least else "at most"
    if not bar.against:
        return f"{least} {bar.factor:g} {COLUMNS[bar.figure]}"
    return f"{least} {bar.factor:g} x {' or '.join(subject.name for subject in bar.against)} ({COLUMNS[bar.figure]})"


def judge(bar: Bar, row: Row, results: Results) -> Verdict:
    """Hold a row's medians against a bar."""
    found = results.get(row.key, {})
    own = found.get(bar.subject.name, Result())
    ours = own.median(bar.figure)
    text = bar_text(bar)
    if own.error:
        return Verdict(text, _cell(own.error), None if ours is None else False)
    if not bar.against:
        return Verdict(text, "" if ours is None else f"{ours:,.1f}", _holds(bar, ours))
    others = [found[subject.name] for subject in bar.against if subject.name in found]
    theirs = [(value, other) for other in others if (value := other.median(bar.figure)) is not None]
    if ours is None or not theirs:
        return Verdict(text, "", None)
    best, other = (max if bar.at_least else min)(theirs, key=lambda pair: pair[0])
    ratio = own.ratio(other, bar.figure)
    shown = "" if ratio is None else f"{ours:,.1f} / {best:,.1f}, by rounds {ratio:.2f}"
    return Verdict(text, shown, _holds(bar, ratio))


def _cell(text: str) -> str:
    """Text from elsewhere, so that it cannot break a table."""
    return " ".join(text.split()).replace("|", "\\|")


def _holds(bar: Bar, value: float | None) -> bool | None:
    if value is None:
        return None
    return value >= bar.factor if bar.at_least else value <= bar.factor


def machine() -> str:
    """The machine, in a line."""
    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    system = f"Linux {platform.release()}, Python {platform.python_version()}"
    return f"{os.cpu_count()} x {model}, {memory:.0f} GiB, {system}"


def versions() -> dict[str, str]:
    """The version of each program; empty where it is missing."""
    return {name: version(name) for name in (*TITLES, *LOAD_TOOLS)}


def verdict_table(rows: tuple[Row, ...], results: Results) -> str:
    """All bars."""
    lines = ["| work | bar | measured | |", "| --- | --- | --- | --- |"]
    for row in rows:
        for bar in row.bars:
            verdict = judge(bar, row, results)
            lines.append(f"| {row.title} | {verdict.text} | {verdict.measured} | {verdict.mark} |")
    return "\n".join(lines)


def row_table(row: Row, results: Results) -> str:
    """The medians of one row, with the ratio of fastmesh's figure to each."""
    found = results.get(row.key, {})
    figures = [name for name in COLUMNS if any(name in each for result in found.values() for each in result.rounds)]
    failed = [f"- {name}: {result.error}" for name, result in found.items() if result.error]
    if not figures:
        return "\n".join(["Not measured.", "", *failed])
    lines = [
        f"| | {' | '.join(COLUMNS[name] for name in figures)} | {row.subjects[0].name} / this |",
        f"| --- |{' ---: |' * (len(figures) + 1)}",
    ]
    first = found.get(row.subjects[0].name)
    for name, result in found.items():
        values = [result.median(figure) for figure in figures]
        cells = ["" if value is None else f"{value:,.1f}" for value in values]
        paired = first.ratio(result, row.figure) if first is not None else None
        ratio = "" if paired is None else f"{paired:.2f}"
        lines.append(f"| {name} | {' | '.join([*cells, ratio])} |")
    if failed:
        lines += ["", *failed]
    return "\n".join(lines)


def markdown(rows: tuple[Row, ...], results: Results, plan: Plan) -> str:
    """RESULTS.md."""
    programs = ", ".join(f"{TITLES.get(name, name)} {text or 'missing'}" for name, text in versions().items())
    parts = [
        "# Results\n\nWritten by `make bench`; see [README.md](README.md) for how to read and repeat them.",
        f"- {time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime())}\n- {machine()}\n- {programs}\n"
        f"- `python -m bench.macro --rounds {plan.rounds} --seconds {plan.seconds}`: medians of {plan.rounds} rounds of"
        f" {plan.seconds} s, of ratios too; proxy on CPU {plan.proxy_cpu}, load and upstream on CPU {plan.load_cpu}",
        "## Bars\n\nOf fastmesh, unless another is named first.\n\n" + verdict_table(rows, results),
    ]
    for row in rows:
        chart = f"![{row.title}](charts/{row.key}.svg)"
        parts.append(f"## {row.title}\n\n{row_table(row, results)}\n\n{chart}")
    return "\n\n".join(parts) + "\n"


def raw(results: Results, plan: Plan) -> str:
    """results.json: every round."""
    content = {
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": machine(),
        "versions": versions(),
        "rounds": plan.rounds,
        "seconds": plan.seconds,
        "rows": {
            key: {name: {"rounds": result.rounds, "error": result.error} for name, result in found.items()}
            for key, found in results.items()
        },
    }
    return json.dumps(content, indent=1) + "\n"
