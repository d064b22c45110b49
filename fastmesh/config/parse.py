"""One file: bytes to entries and problems, in pieces where that is sound, so that an edit costs what it changes."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import yaml
from msgspec import Struct

from fastmesh.config import document
from fastmesh.config.decode import DictReader, StructReader
from fastmesh.config.document import NotYaml
from fastmesh.config.problem import Problem, did_you_mean, quoted
from fastmesh.config.reading import FAILED, Mark, Path, Reading, describe
from fastmesh.config.references import Need, broken_needs, needs_of, tcp_needs_of
from fastmesh.config.schema import NAMED_KINDS, Config
from fastmesh.config.shadow import Tests, tests_of
from fastmesh.config.split import Piece, Run, split

FILE_MAX_BYTES = 64 << 20

_config = StructReader(Config)
KINDS = tuple(_config.fields)


class Entry(Struct, frozen=True, gc=False):
    """One thing of a kind. Lines count from the first line of its piece, from 0; columns from 0."""

    kind: str
    name: str  # empty: the kind has no names
    value: Any  # FAILED: its problems are reported
    line: int
    column: int
    marks: tuple[tuple[Path, Mark], ...]
    needs: tuple[Need, ...] = ()  # of a route or a listener: what it refers to
    tests: Tests = ()  # of a route: routes with equal ones may hide each other


class Parsed(Struct, frozen=True, gc=False):
    """What a piece of text holds."""

    entries: tuple[Entry, ...]
    problems: tuple[Problem, ...]
    lines: int


class ParsedFile(Struct, frozen=True, gc=False):
    """What a file holds; each part with the number of lines before it."""

    content: bytes
    digest: bytes
    parts: list[tuple[int, Parsed]]
    pieces: dict[Piece, Parsed]  # known ones; of the text before, where this one was read whole


def parse_file(content: bytes, before: ParsedFile | None) -> ParsedFile:
    """Parse a file, again as little of it as possible."""
    digest = sha256(content).digest()
    known = before.pieces if before else {}
    text, problem = _decoded(content)
    if problem is None:
        runs = split(text)
        parsed = _parse_pieces(runs, known) if runs else None
        if parsed is not None:
            return ParsedFile(content, digest, *parsed)
        return ParsedFile(content, digest, [(0, parse_whole(text))], known)
    return ParsedFile(content, digest, [(0, Parsed((), (problem,), 0))], known)


def _decoded(content: bytes) -> tuple[str, Problem | None]:
    if len(content) > FILE_MAX_BYTES:
        return "", Problem("", 0, 0, f"the file is larger than {FILE_MAX_BYTES >> 20} MiB", hint="split it")
    if b"\0" in content and not content.startswith((b"\xff\xfe", b"\xfe\xff")):
        line = content.count(b"\n", 0, content.index(b"\0")) + 1
        return "", Problem("", line, 1, "a NUL byte: this is not a text", expected="YAML in UTF-8")
    try:
        return content.decode("utf-8-sig"), None
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        column = error.start - content.rfind(b"\n", 0, error.start)
        shown = f"\\x{content[error.start]:02x}"
        return "", Problem(
            "", line, column, "not UTF-8", shown, f"UTF-8, found the byte {shown}", "save the file as UTF-8"
        )


def _parse_pieces(
    runs: list[Run], known: dict[Piece, Parsed]
) -> tuple[list[tuple[int, Parsed]], dict[Piece, Parsed]] | None:
    """None when a piece cannot be understood by itself."""
    parts: list[tuple[int, Parsed]] = []
    used: dict[Piece, Parsed] = {}
    line = 0
    for run in runs:
        line += run.lines_before
        for text in run.texts:
            piece = (run.kind, text)
            parsed = known.get(piece) or _parse_piece(*piece)
            if parsed is None:
                return None
            used[piece] = parsed
            parts.append((line, parsed))
            line += parsed.lines
    return parts, used


def _parse_piece(kind: str, text: str) -> Parsed | None:
    try:
        root = document.compose(text)
    except NotYaml:
        return None
    if not isinstance(root, yaml.MappingNode) or len(root.value) != 1 or document.has_aliases(root, text):
        return None
    reading = Reading()
    reading.problems += document.hazards(root, text)
    entries = _named(kind, root, reading) if kind else _top(root, reading)
    return Parsed(tuple(entries), tuple(reading.problems), text.count("\n"))


def parse_whole(text: str) -> Parsed:
    """A file in one go."""
    reading = Reading()
    entries: list[Entry] = []
    try:
        root = document.compose(text)
        if root is None or (isinstance(root, yaml.ScalarNode) and root.tag.endswith(":null")):
            message = "the file is empty" if not text.strip() else "the file holds nothing but comments"
            reading.problems.append(
                Problem("", 0, 0, message, expected="one of " + ", ".join(KINDS), hint="it can be removed")
            )
        elif not isinstance(root, yaml.MappingNode):
            reading.problem(root, f"found {describe(root)}", expected="a mapping of " + ", ".join(KINDS))
        else:
            dangers = document.hazards(root, text)
            reading.problems += dangers
            multiplied = any("alias" in danger.message for danger in dangers)
            entries = [] if multiplied else _top(root, reading)
    except NotYaml as error:
        reading.problems.append(error.problem)
    return Parsed(tuple(entries), tuple(reading.problems), 0)


def _top(root: yaml.MappingNode, reading: Reading) -> list[Entry]:
    """The kinds of a file."""
    entries: list[Entry] = []
    seen: dict[str, yaml.nodes.Node] = {}
    for key, value in root.value:
        kind = key.value if isinstance(key, yaml.ScalarNode) else ""
        if kind not in _config.fields:
            expected, hint = "one of " + ", ".join(KINDS), did_you_mean(kind, KINDS)
            reading.problem(
                key, f"unknown kind {quoted(kind or describe(key))}", text=kind, expected=expected, hint=hint
            )
        elif kind in seen:
            hint = "put what is below it under the first"
            reading.problem(key, f"duplicate key {quoted(kind)}", text=kind, first=seen[kind], hint=hint)
        elif kind in NAMED_KINDS:
            entries += _section(kind, value, reading)
        else:
            entries.append(_entry(kind, "", key, value, (kind,), reading))
        seen.setdefault(kind, key)
    return entries


def _section(kind: str, value: yaml.nodes.Node, reading: Reading) -> list[Entry]:
    if isinstance(value, yaml.MappingNode):
        return _named(kind, value, reading)
    if isinstance(value, yaml.ScalarNode) and value.tag.endswith(":null"):
        # What is left of a file that somebody has only half written looks like this.
        hint = "put something below it, or remove it"
        reading.problem(value, f"{kind}: nothing stands below it", expected=f"a mapping of {kind} by name", hint=hint)
    else:
        reading.problem(value, f"{kind}: found {describe(value)}", expected=f"a mapping of {kind} by name")
    return []


def _named(kind: str, section: yaml.MappingNode, reading: Reading) -> list[Entry]:
    """The entries of a section. Names that come twice are found where files are put together."""
    names = _config.fields[kind][1]
    assert isinstance(names, DictReader)
    entries = []
    for key, value in section.value:
        if not isinstance(key, yaml.ScalarNode):
            reading.problem(key, f"{kind}: {describe(key)} stands as a name", expected=names.key.expected)
        elif (name := names.key.read(key, (kind,), reading)) is not FAILED:
            entries.append(_entry(kind, name, key, value, (kind, name), reading))
    return entries


def _entry(kind: str, name: str, key: yaml.nodes.Node, node: yaml.nodes.Node, path: Path, reading: Reading) -> Entry:
    reader = _config.fields[kind][1]
    if isinstance(reader, DictReader):
        reader = reader.value
    part = Reading()
    value = reader.read(node, path, part)
    reading.problems += part.problems
    marks = tuple(part.marks.items())
    line, column = key.start_mark.line, key.start_mark.column
    if value is FAILED:
        return Entry(kind, name, value, line, column, marks, broken_needs(part.references))
    if kind != "routes":
        needs = tcp_needs_of(value, path) if kind == "listeners" else ()
        return Entry(kind, name, value, line, column, marks, needs)
    return Entry(kind, name, value, line, column, marks, needs_of(value), tests_of(value.match))
