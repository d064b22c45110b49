"""Durations, sizes, rates and percentages: a number with its unit, and the number that it stands for."""

from __future__ import annotations

import re

from fastmesh.config.problem import InvalidText, quoted

DURATION_UNITS_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000}
DURATION_MAX_MS = 30 * 24 * 3_600_000
SIZE_UNITS_BYTES = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
SIZE_MAX_BYTES = 1 << 50
RATE_UNITS_NS = {"s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
RATE_MAX_PER_S = 10_000_000
_QUANTITY = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,6})?)\s*([A-Za-z]*)")


def _quantity(text: str, units: dict[str, int]) -> int:
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise InvalidText("a number and a unit, such as " + " or ".join(f"10{unit}" for unit in units))
    number, unit = match.groups()
    if unit not in units:
        nearest = {"K": "KiB", "KB": "KiB", "M": "MiB", "MB": "MiB", "G": "GiB", "GB": "GiB"}.get(unit.upper(), "")
        if "KiB" not in units:
            nearest = {"sec": "s", "secs": "s", "min": "m", "mins": "m", "hr": "h"}.get(unit.lower(), unit.lower()[:1])
        if unit and nearest in units:
            raise InvalidText(f"did you mean {quoted(number + nearest)}?")
        raise InvalidText("units: " + ", ".join(units) if unit else f"it has no unit: {', '.join(units)}")
    whole, _, fraction = number.partition(".")
    scaled = int(whole + fraction) * units[unit]
    divisor: int = 10 ** len(fraction)
    if scaled % divisor:
        raise InvalidText(f"not a whole number of {next(iter(units))}")
    return scaled // divisor


def read_duration(text: str) -> int:
    """Milliseconds from `250ms`, `1.5s`, `5m`, `1h`."""
    value = _quantity(text, DURATION_UNITS_MS)
    if value > DURATION_MAX_MS:
        raise InvalidText("the most is 720h")
    return value


def read_size(text: str) -> int:
    """Bytes from `64KiB`, `1MiB` or a plain number."""
    if text == "0":
        return 0
    value = int(text) if text.isascii() and text.isdigit() and len(text) < 18 else _quantity(text, SIZE_UNITS_BYTES)
    if value > SIZE_MAX_BYTES:
        raise InvalidText("the most is 1048576GiB")
    return value


def read_rate(text: str) -> int:
    """The nanoseconds between two tokens of `100/s`, `5000/m`, `10/h`."""
    match = re.fullmatch(r"([0-9]{1,12})\s*/\s*([a-z]+)", text)
    if match is None:
        raise InvalidText(f"did you mean {quoted(text + '/s')}?" if text.isascii() and text.isdigit() else "")
    count, unit = int(match[1]), match[2]
    if unit not in RATE_UNITS_NS:
        near = unit[:1] if unit[:1] in RATE_UNITS_NS else ""
        raise InvalidText(f"did you mean {quoted(f'{count}/{near}')}?" if near else "units: /s, /m, /h")
    if count == 0:
        raise InvalidText("a limit of nothing refuses everything: leave out the route instead")
    period_ns = RATE_UNITS_NS[unit] // count
    if period_ns < 10**9 // RATE_MAX_PER_S:
        raise InvalidText(f"the most is {RATE_MAX_PER_S}/s")
    return period_ns


def read_percent(text: str) -> int:
    """Whole percent from `50%`."""
    match = re.fullmatch(r"([0-9]{1,3})%", text)
    if match is None or int(match[1]) > 100:
        raise InvalidText(f"did you mean {quoted(text + '%')}?" if text.isascii() and text.isdigit() else "")
    return int(match[1])


def read_share(text: str) -> int:
    """Parts in a million from `50%`, `0.1%`."""
    match = re.fullmatch(r"([0-9]{1,3})(?:\.([0-9]{1,4}))?%", text)
    if match is None:
        raise InvalidText(f"did you mean {quoted(text + '%')}?" if text.isascii() and text.isdigit() else "")
    ppm = int(match[1]) * 10_000 + int((match[2] or "").ljust(4, "0"))
    if ppm > 1_000_000:
        raise InvalidText("the most is 100%")
    return ppm


def write_duration(value: int) -> str:
    """The duration with its largest unit."""
    return _scaled(value, DURATION_UNITS_MS)


def write_size(value: int) -> str:
    """The size with its largest unit."""
    return _scaled(value, SIZE_UNITS_BYTES)


def _scaled(value: int, units: dict[str, int]) -> str:
    for unit, size in reversed(units.items()):
        if value % size == 0 and value:
            return f"{value // size}{unit}"
    return "0" + ("s" if "s" in units else "")


def write_rate(period_ns: int) -> str:
    """The rate as it might have been written."""
    for unit, size in RATE_UNITS_NS.items():
        if period_ns <= size:
            return f"{size // period_ns}/{unit}"
    return f"1/{period_ns}ns"
