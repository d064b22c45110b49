"""A directory to a configuration, or to every problem in it. Reading files is all that it does to the world."""

from __future__ import annotations

import errno
import gc
import os
import time
from contextlib import contextmanager
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from fastmesh.config.files import read_file
from fastmesh.config.parse import FILE_MAX_BYTES, Entry, ParsedFile, parse_file
from fastmesh.config.pem_files import (
    Certificates,
    PemCache,
    PemFiles,
    never_chosen,
    read_pem_files,
    uses_of,
    validity_warnings,
)
from fastmesh.config.problem import Problem, Severity, quoted
from fastmesh.config.reading import FAILED, Path
from fastmesh.config.references import check_references, idle_services
from fastmesh.config.schema import NAMED_KINDS, Config
from fastmesh.config.shadow import unreachable_routes

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterator

SUFFIXES = (".yaml", ".yml")
FILES_MAX = 10_000


class Source(Struct, frozen=True, gc=False):
    """Where a thing is written; line and column begin at 1."""

    file: str
    line: int
    column: int


class Item(Struct, frozen=True, gc=False):
    """An entry of a file."""

    entry: Entry
    file: str
    lines_before: int

    def source(self) -> Source:
        """Where its name stands."""
        return Source(self.file, self.entry.line + self.lines_before + 1, self.entry.column + 1)

    def at(self, path: Path) -> Source:
        """Where a value inside of it stands; where its own name does, if the place was not kept."""
        own = (self.entry.line, self.entry.column)
        line, column = next((mark for marked, mark in self.entry.marks if marked == path), own)
        return Source(self.file, line + self.lines_before + 1, column + 1)


Items = dict[str, dict[str, Item]]
"""By kind, then by name."""


class LoadCache:
    """What earlier loads have parsed: keep one for each directory."""

    def __init__(self) -> None:
        self.files: dict[str, ParsedFile] = {}
        self.pems = PemCache()
        self.result: LoadResult | None = None


class LoadResult(Struct, frozen=True, gc=False):
    """What a directory says."""

    config: Config | None  # None: there is an error
    problems: tuple[Problem, ...]
    digest: str  # of all files, in hex
    files: dict[str, ParsedFile]
    items: Items
    unread: bool  # something there could not be read: `digest` is not of everything
    pem_files: PemFiles  # what the configuration names, by its path as written; also of a configuration with errors
    certificates: Certificates  # what is in them, where that is right

    @property
    def errors(self) -> tuple[Problem, ...]:
        """Problems that keep the configuration from being used."""
        return tuple(problem for problem in self.problems if problem.severity is Severity.ERROR)

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """Problems that do not."""
        return tuple(problem for problem in self.problems if problem.severity is Severity.WARNING)

    @property
    def sources(self) -> dict[tuple[str, str], Source]:
        """Where each thing is written, by kind and name: ("routes", "hello"), ("admin", "")."""
        return {(kind, name): item.source() for kind, items in self.items.items() for name, item in items.items()}

    @property
    def texts(self) -> dict[str, str]:
        """The text of each file, by its name in the directory."""
        return {os.path.basename(file): parsed.content.decode(errors="replace") for file, parsed in self.files.items()}


def load(directory: pathlib.Path, cache: LoadCache) -> LoadResult:
    """Read, parse and check a directory. Never raises; what is wrong is in `problems`, all of it."""
    with without_collection():
        return _load(directory, cache)


@contextmanager
def without_collection() -> Iterator[None]:
    """Much is made here, and no cycles: a collection meanwhile would look at all of it for nothing."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _load(directory: pathlib.Path, cache: LoadCache) -> LoadResult:
    problems: list[Problem] = []
    contents = _read_directory(directory, problems)
    before = cache.result
    if (
        before is not None
        and not problems
        and contents == {file: known.content for file, known in before.files.items()}
        and before.pem_files == read_pem_files(directory, before.pem_files)
    ):
        return _with_warnings(before)
    files = {file: _parse(content, cache.files.get(file)) for file, content in contents.items()}
    result = _put_together(directory, files, problems, cache.pems)
    cache.files = files
    cache.result = None if result.unread else result
    return _with_warnings(result)


def _with_warnings(result: LoadResult) -> LoadResult:
    """What time does to certificates, while files stay as they are."""
    warnings = validity_warnings(uses_of(result.items), result.certificates, time.time())
    return replace(result, problems=tuple(sorted((*result.problems, *warnings)))) if warnings else result


def _parse(content: bytes, known: ParsedFile | None) -> ParsedFile:
    return known if known is not None and known.content == content else parse_file(content, known)


def _put_together(
    directory: pathlib.Path, files: dict[str, ParsedFile], unread: list[Problem], pems: PemCache
) -> LoadResult:
    """`unread`: of the directory, and of files that could not be read."""
    problems = list(unread)
    items: Items = {}
    digest = sha256()
    for file, parsed in files.items():
        _gather(file, parsed, items, problems)
        digest.update(os.path.basename(file).encode(errors="surrogateescape") + b"\0" + parsed.digest)
    problems += check_references(items)
    uses = uses_of(items)
    pem_files = read_pem_files(directory, [file for use in uses for file in use.files()])
    for name, pem in sorted(pem_files.items()):
        digest.update(name.encode(errors="surrogateescape") + b"\0" + sha256(pem.content).digest())
    certificates = pems.check(uses, pem_files, problems)
    config = None
    if not any(problem.severity is Severity.ERROR for problem in problems):
        config = _config(items)
        problems += [*idle_services(items), *unreachable_routes(items), *never_chosen(uses, certificates)]
    return LoadResult(
        config, tuple(sorted(problems)), digest.hexdigest(), files, items, bool(unread), pem_files, certificates
    )


def _read_directory(directory: pathlib.Path, problems: list[Problem]) -> dict[str, bytes]:
    """The contents of all files of the language, in the order of their names."""
    try:
        names = sorted(name for name in os.listdir(directory) if name.endswith(SUFFIXES) and name[0] not in ".#")
    except OSError as error:
        message = {
            errno.ENOENT: "no such directory",
            errno.ENOTDIR: "not a directory",
            errno.EACCES: "the directory cannot be read: permission denied",
        }.get(error.errno or 0, f"the directory cannot be read: {error.strerror}")
        problems.append(Problem(str(directory), 0, 0, message, expected="a directory of *.yaml files"))
        return {}
    if not names:
        problems.append(
            Problem(str(directory), 0, 0, "there is no *.yaml file in this directory", expected="at least one")
        )
    if len(names) > FILES_MAX:
        problems.append(Problem(str(directory), 0, 0, f"{len(names)} files", expected=f"at most {FILES_MAX}"))
        return {}
    contents: dict[str, bytes] = {}
    for name in names:
        file = os.path.join(directory, name)
        try:
            contents[file] = read_file(file, FILE_MAX_BYTES)
        except OSError as error:
            message = f"the file cannot be read: {(error.strerror or str(error)).lower()}"
            if os.path.islink(file) and error.errno == errno.ENOENT:
                message = f"the link leads nowhere: {quoted(os.readlink(file))}"
            problems.append(Problem(file, 0, 0, message))
    return contents


def _gather(file: str, parsed: ParsedFile, items: Items, problems: list[Problem]) -> None:
    """Put the entries of a file to those of the others."""
    for lines_before, part in parsed.parts:
        for problem in part.problems:
            problems.append(problem.placed(file, lines_before))
        for entry in part.entries:
            item = Item(entry, file, lines_before)
            named = items.get(entry.kind)
            if named is None:
                named = items[entry.kind] = {}
            first = named.setdefault(entry.name, item)
            if first is not item:
                problems.append(_duplicate(item, first))


def _duplicate(item: Item, first: Item) -> Problem:
    entry, here, there = item.entry, item.source(), first.source()
    what = (
        f"{entry.kind}: duplicate name {quoted(entry.name)}" if entry.name else f"{quoted(entry.kind)} is there twice"
    )
    hint = "rename or remove one of them" if entry.name else "keep one of them"
    return Problem(
        here.file, here.line, here.column, what, entry.name or entry.kind, hint=hint,
        first_file=there.file, first_line=there.line, first_column=there.column,
    )  # fmt: skip


def _config(items: Items) -> Config:
    values: dict[str, Any] = {}
    for kind, named in items.items():
        if kind in NAMED_KINDS:
            values[kind] = {name: item.entry.value for name, item in named.items()}
        else:
            values[kind] = named[""].entry.value
    assert FAILED not in [value for value in values.values() if not isinstance(value, dict)]
    return Config(**values)
