"""The two text formats of metrics, Prometheus 0.0.4 and OpenMetrics 1.0: they differ in names, units and the end."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Literal, TypeAlias

Number: TypeAlias = int | float
Sample: TypeAlias = tuple[str, str, Number]
"""Suffix of the name, labels as text (`labels`), value."""

LINES_A_CHUNK = 500
OPENMETRICS_TYPE = "application/openmetrics-text"


class Format(Enum):
    """An exposition format, by its content type."""

    PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"
    OPENMETRICS = f"{OPENMETRICS_TYPE}; version=1.0.0; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Family:
    """One metric: its name without the suffix that its type demands."""

    name: str
    type: Literal["counter", "gauge", "histogram", "info"]
    help: str
    unit: Literal["", "seconds", "bytes"] = ""


Families: TypeAlias = Iterator[tuple[Family, Iterable[Sample]]]


def single(value: Number, pairs: str = "") -> list[Sample]:
    """The only sample of a family."""
    return [("", pairs, value)]


def used_only(rows: Iterable[tuple[str, Number]]) -> Iterator[Sample]:
    """Samples of what is not 0."""
    return (("", pairs, value) for pairs, value in rows if value)


def negotiate(accept: str) -> Format:
    """The format for an Accept header: OpenMetrics if it is asked for by name and not less than text, else text."""
    wanted = {"text/plain": 0.0, OPENMETRICS_TYPE: 0.0}
    for part in accept.lower().split(","):
        media, *parameters = (piece.strip() for piece in part.split(";"))
        if media in wanted:
            wanted[media] = max(wanted[media], _quality(parameters))
    best = wanted[OPENMETRICS_TYPE]
    return Format.OPENMETRICS if best > 0 and best >= wanted["text/plain"] else Format.PROMETHEUS


def _quality(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0


def labels(**pairs: str) -> str:
    """Labels as they stand between the braces."""
    return ",".join(f'{name}="{_escape(value)}"' for name, value in pairs.items())


def _escape(text: str) -> str:
    if "\\" in text or '"' in text or "\n" in text:
        return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return text


def write(families: Iterable[tuple[Family, Iterable[Sample]]], form: Format) -> Iterator[str]:
    """The exposition in chunks of LINES_A_CHUNK lines, none of them empty. Families without samples are left out."""
    lines: list[str] = []
    for family, samples in families:
        suffix = {"counter": "_total", "info": "_info"}.get(family.type, "")
        name = family.name
        headed = False
        for part, pairs, value in samples:
            if not headed:
                lines.append(_heading(family, suffix, form))
                headed = True
            lines.append(f"{name}{suffix}{part}{{{pairs}}} {value}\n" if pairs else f"{name}{suffix}{part} {value}\n")
            if len(lines) >= LINES_A_CHUNK:
                yield "".join(lines)
                lines.clear()
    if form is Format.OPENMETRICS:
        lines.append("# EOF\n")
    if lines:
        yield "".join(lines)


def _heading(family: Family, suffix: str, form: Format) -> str:
    help_text = family.help.replace("\\", "\\\\").replace("\n", "\\n")
    if form is Format.PROMETHEUS:
        name = family.name + suffix
        kind = "gauge" if family.type == "info" else family.type
        return f"# HELP {name} {help_text}\n# TYPE {name} {kind}\n"
    unit = f"# UNIT {family.name} {family.unit}\n" if family.unit else ""
    return f"# TYPE {family.name} {family.type}\n{unit}# HELP {family.name} {help_text}\n"
