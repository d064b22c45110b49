"""Cuts the text of a file into pieces that can be parsed one by one, so that an edit costs what it changes.

A piece is a top-level kind, or one entry of `listeners:`, `services:` or `routes:`. Cutting is sound because of how
YAML nests: a line at the indentation of a block mapping's keys begins the next key, unless a quote or a bracket is
still open; then the piece before it does not parse by itself, and the caller reads the file whole. Whatever looks
unusual here is not cut at all.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import NamedTuple

from fastmesh.config.schema import NAMED_KINDS

_TOP = re.compile(r"\n(?=[^\s#])")
_TOP_KEY = re.compile(r"[a-z_]+:(?=[ \n]|$)")
_SECTION = re.compile(rf"({'|'.join(NAMED_KINDS)}): *(?:#[^\n]*)?(?=\n)")
_FIRST_ENTRY = re.compile(r"\n( +)[^\s#]")
_CONTENT = re.compile(r"\n *[^\s#]")
_COMPLEX_KEY = re.compile(r"\n *\?")
_ANCHOR = re.compile(r"[\s\[{,]&[^\s&]")  # it reaches beyond its piece
_UNUSUAL = ("\t", "\r", "\x85", "\u2028", "\u2029", "\ufeff")


Piece = tuple[str, str]
"""The section that it is an entry of (empty: it is a top-level key with its value), and its text."""


class Run(NamedTuple):
    """Pieces that follow each other, after lines that hold nothing but comments and a heading."""

    lines_before: int
    kind: str
    texts: list[str]


def split(text: str) -> list[Run] | None:
    """The pieces of a text in order, or None: it is to be read whole."""
    if any(char in text for char in _UNUSUAL):
        return None
    padded = "\n" + text
    if _COMPLEX_KEY.search(padded) or ("&" in text and _ANCHOR.search(padded)):
        return None
    starts = [match.end() for match in _TOP.finditer(padded)]
    if not starts or _CONTENT.search(padded, 0, starts[0]):
        return None
    runs = [Run(text.count("\n", 0, starts[0] - 1), "", [])]
    keys = set()
    for start, end in zip(starts, [*starts[1:], len(padded)], strict=True):
        key = _TOP_KEY.match(padded, start, end)
        if key is None or key[0] in keys:
            return None
        keys.add(key[0])
        section = _SECTION.match(padded, start, end)
        run = _entries(padded, section[1], section.end(), end) if section else Run(0, "", [padded[start:end]])
        if run is None:
            return None
        runs.append(run)
    return runs


def _entries(padded: str, kind: str, start: int, end: int) -> Run | None:
    """The entries of a section whose heading ends at `start`."""
    first = _FIRST_ENTRY.search(padded, start, end)
    if first is None:
        return None
    indent = len(first[1])
    if indent > 1 and re.compile(rf"\n {{1,{indent - 1}}}[^\s#]").search(padded, start, end):
        return None
    starts = [match.start() + 1 for match in re.compile(rf"\n {{{indent}}}(?=[^\s#])").finditer(padded, start, end)]
    lines_before = padded.count("\n", start, starts[0])
    starts.append(end)
    return Run(lines_before, kind, [padded[begin:until] for begin, until in pairwise(starts)])
