"""Parts of a snapshot in words for people: what `fastmesh explain` and `fastmesh diff` say."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from fastmesh.config.problem import quoted
from fastmesh.config.quantities import write_rate
from fastmesh.snapshot import Key, KeySource, Limit, PathMatch, ValueMatch, ValueTest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastmesh.config.translate import Labels


def either(texts: Sequence[str], longest: int = 5) -> str:
    """ "GET", "GET or HEAD", "a, b or c"; the first few of many."""
    shown = [*texts[:longest], *([f"{len(texts) - longest} more"] if len(texts) > longest else [])]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} or {shown[-1]}"


def path_phrase(match: PathMatch, path: str) -> str:
    """Which paths match."""
    if match is PathMatch.EXACT:
        return path
    if match is PathMatch.REGEX:
        return f"one that matches {quoted(path)}"
    return "any path" if path == "/" else f"{path.rstrip('/')} and below"


def value_phrase(test: ValueTest) -> str:
    """What is asked of a value, to follow its name: "is 'beta'", "does not begin with 'b'"."""
    is_not, value = test.negated, quoted(test.value)
    match test.match:
        case ValueMatch.EXACT:
            return f"is not {value}" if is_not else f"is {value}"
        case ValueMatch.PREFIX:
            return f"does not begin with {value}" if is_not else f"begins with {value}"
        case ValueMatch.REGEX:
            return f"does not match {value}" if is_not else f"matches {value}"
        case ValueMatch.PRESENT:
            return "is missing" if is_not else "is there"
        case ValueMatch.ABSENT:
            return "is there" if is_not else "is missing"


def labels_phrase(labels: Labels) -> str:
    """ "version=v2, zone=a"."""
    return ", ".join(f"{name}={value}" for name, value in labels)


def arm_phrase(service: str, labels: Labels) -> str:
    """A subset of a service: "hello", "hello (version=v2)"."""
    return f"{service} ({labels_phrase(labels)})" if labels else service


def key_phrase(key: Key) -> str:
    """Whose requests share a bucket."""
    match key.source:
        case KeySource.HEADER:
            return f"for each value of the header {key.name}"
        case KeySource.COOKIE:
            return f"for each value of the cookie {key.name}"
        case KeySource.SOURCE_ADDRESS:
            return "for each client address"
        case KeySource.PATH:
            return "for each path"
        case KeySource.CLIENT:
            return "for each client identity"
        case KeySource.NONE:
            return "for all together"


def limit_phrase(limit: Limit) -> str:
    """ "100/s, burst 20, for all together"."""
    return f"{write_rate(limit.period_ns)}, burst {limit.burst_tokens}, {key_phrase(limit.key)}"


def share_phrase(share: Fraction) -> str:
    """ "10%", "33.3%", "0.01%": few digits, but never 0% for something, nor 100% for less than all."""
    percent = float(share * 100)
    if share in (0, 1):
        return f"{percent:.0f}%"
    return (
        next(
            (text for digits in (1, 2, 3) if (text := f"{percent:.{digits}f}") and 0 < float(text) < 100),
            f"{percent:.2g}",
        ).removesuffix(".0")
        + "%"
    )
