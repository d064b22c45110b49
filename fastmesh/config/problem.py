"""Errors and warnings as data: what is wrong, where, what was expected, and what was perhaps meant."""

from __future__ import annotations

from difflib import get_close_matches
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable


class Severity(StrEnum):
    """An error keeps the configuration from being used; a warning does not."""

    ERROR = "error"
    WARNING = "warning"


class Problem(msgspec.Struct, frozen=True, gc=False, order=True):
    """One thing that is wrong. Line and column begin at 1; 0: the file, or the directory, as a whole."""

    file: str
    line: int
    column: int
    message: str
    text: str = ""  # the offending text, as it was written
    expected: str = ""
    hint: str = ""
    first_file: str = ""  # of two things that exclude each other, where the first one is
    first_line: int = 0
    first_column: int = 0
    severity: Severity = Severity.ERROR

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        parts = [self.message]
        if self.first_line:
            parts.append(f"the first is at {self.first_file}:{self.first_line}:{self.first_column}")
        if self.expected:
            parts.append(f"expected {self.expected}")
        if self.hint:
            parts.append(self.hint)
        label = "warning: " if self.severity is Severity.WARNING else ""
        return f"{place}: {label}{'; '.join(parts)}"

    def as_json(self) -> dict[str, Any]:
        """For programs: every field, as plain data."""
        return msgspec.structs.asdict(self) | {"severity": str(self.severity)}

    def placed(self, file: str, lines: int) -> Problem:
        """The same problem, of a part of `file` that begins `lines` below its first line."""
        first = {"first_file": file, "first_line": self.first_line + lines} if self.first_line else {}
        return msgspec.structs.replace(self, file=file, line=self.line + lines if self.line else 0, **first)


class InvalidText(Exception):
    """A text is not what it should be. `message` replaces the usual one; `expected` replaces the scalar's."""

    def __init__(self, hint: str = "", *, message: str = "", expected: str = "") -> None:
        super().__init__(hint)
        self.hint, self.message, self.expected = hint, message, expected


def quoted(text: str, longest: int = 60) -> str:
    """Text of a stranger to us in a message: in quotes, on one line, cut when long."""
    shown = text if len(text) <= longest else text[: longest - 3] + "..."
    return "'" + "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown) + "'"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint that names the known word nearest to `word`, or nothing."""
    candidates = list(known)
    near = get_close_matches(word.lower(), [candidate.lower() for candidate in candidates], n=1, cutoff=0.6)
    for candidate in candidates:
        if near and candidate.lower() == near[0]:
            return f"did you mean {quoted(candidate)}?"
    return ""
