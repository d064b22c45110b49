"""A file read in pieces says what it says when read whole, whatever stands in it; so does one read after another."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from fastmesh.config import CompileCache, LoadCache, compile_snapshot, load
from fastmesh.config.parse import ParsedFile, parse_file, parse_whole
from fastmesh.config.reading import FAILED
from tests.unit.config.samples import CountingIds

FRAGMENTS = [
    "listeners:", "services:", "routes:", "routes: # all", "admin: {address: 127.0.0.1:1}", "log: {level: info}",
    "drain:", "listeners: {web: 127.0.0.1:80}", "services: {a: {endpoints: [127.0.0.1:1]}}", "---", "...",
    "# comment", "", "  ", "  web: 127.0.0.1:8080", "  web:", "    address: 127.0.0.1:80", "  a:", "  a: {to: a}",
    "  b: {to: [a, b]}", "  b: &x {to: a}", "  c: *x", "  d: {to: {service: a, subset: {v: v1}}}", "    to: a",
    "    to:", "      - a", "    match: {path: {prefix: /b}}", "    match: {path: {prefx: /b}}",
    "    endpoints: [127.0.0.1:1]", "    endpoints:", "    - 127.0.0.1:2", "  e: {to: a,", "    match: {}}", "to: b}",
    "  f: 'text", "  more'", "  g: |", "      text", "  # inner", "    # deeper", " h: {to: a}", "   i: {to: a}",
    "\tj: {}", "  ? k", "  : l", "  - m", "  n: !t {to: a}", "  <<: *x", "  on: {to: a}", '  "q": {to: a}',
    "  r: {to: a} # c", "  s:{to: a}", "  t: >+", "", "timeout: 5s}", "drain: {", "  }", "  u: @", "    plain",
    "  v: {to: a, to: b}", "\u2028", "unknown: 1",
]  # fmt: skip
texts = st.lists(st.sampled_from(FRAGMENTS), max_size=14).map(lambda lines: "\n".join([*lines, ""]))
characters = st.text(alphabet="ab:{}[]-#\n '\"|>&*!? ", max_size=40)


def meaning(file: ParsedFile) -> tuple[list[Any], list[Any]]:
    entries, problems = [], []
    for lines, part in file.parts:
        for entry in part.entries:
            value = "failed" if entry.value is FAILED else entry.value
            marks = sorted((str(path), line + lines, column) for path, (line, column) in entry.marks)
            entries.append((entry.kind, entry.name, value, entry.line + lines, entry.column, marks))
        problems += [problem.placed("f", lines) for problem in part.problems]
    return entries, sorted(problems)


def whole(text: str) -> ParsedFile:
    return ParsedFile(b"", b"", [(0, parse_whole(text))], {})


@settings(max_examples=600, deadline=None)
@given(texts)
def test_pieces_agree_with_the_whole(text: str) -> None:
    assert meaning(parse_file(text.encode(), None)) == meaning(whole(text))


@settings(max_examples=250, deadline=None)
@given(texts, characters, st.integers(0, 400))
def test_rubbish_in_between(text: str, rubbish: str, at: int) -> None:
    text = text[:at] + rubbish + text[at:]
    assert meaning(parse_file(text.encode(), None)) == meaning(whole(text))


@settings(max_examples=150, deadline=None)
@given(st.lists(texts, min_size=2, max_size=4))
def test_what_was_read_before_makes_no_difference(versions: list[str]) -> None:
    known = None
    for text in versions:
        known = parse_file(text.encode(), known)
        assert meaning(known) == meaning(whole(text))


services = st.lists(st.sampled_from(["a", "b", "c"]), unique=True, min_size=1)
routes = st.lists(
    st.tuples(st.sampled_from("pqrs"), st.sampled_from("abc"), st.sampled_from(["", "v1", "v2"]), st.booleans()),
    unique_by=lambda route: route[0],
)
meshes = st.tuples(st.sampled_from([["web"], ["web", "six"], ["six"]]), services, routes)


def written(mesh: tuple[list[str], list[str], list[tuple[str, str, str, bool]]]) -> str:
    listeners, names, rules = mesh
    lines = ["listeners:", *[f"  {name}: 127.0.0.1:{80 + len(name)}" for name in listeners], "services:"]
    endpoints = "[{address: x.internal:1, labels: {v: v1}}, {address: 127.0.0.1:2, labels: {v: v2}}]"
    lines += [f"  {name}: {{endpoints: {endpoints}}}" for name in names]
    for name, service, version, limited in rules:
        subset = f", subset: {{v: {version}}}" if version else ""
        limit = ", rate_limit: {rate: 1/s}" if limited else ""
        lines += ["routes:"] if name == rules[0][0] else []
        lines += [f"  {name}: {{match: {{path: {{prefix: /{name}}}}}, to: {{service: {service}{subset}}}{limit}}}"]
    return "\n".join([*lines, ""])


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.tuples(meshes, st.sampled_from([(), ("10.0.0.1",), ("10.0.0.2", "10.0.0.1")])), min_size=2, max_size=5)
)
def test_caches_make_no_difference(versions: list[tuple[Any, tuple[str, ...]]]) -> None:
    ids, files, compiled = CountingIds(), LoadCache(), CompileCache()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        for mesh, addresses in versions:
            (directory / "mesh.yaml").write_text(written(mesh))
            cached, fresh = load(directory, files), load(directory, LoadCache())
            assert (cached.config, cached.problems, cached.digest) == (fresh.config, fresh.problems, fresh.digest)
            if cached.config is None or fresh.config is None:
                continue
            resolved = {"x.internal": addresses}
            snapshot = compile_snapshot(cached.config, cached.digest, ids, resolved, compiled)
            assert snapshot == compile_snapshot(fresh.config, fresh.digest, ids, resolved)
