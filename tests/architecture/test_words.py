"""One word a thing: the names of files, functions and types avoid the words that the glossary replaces."""

import ast
import re
from pathlib import Path

import pytest

from tests.architecture.sources import PACKAGE, ROOT, files, statements

FORBIDDEN = {"backend", "cluster", "context", "helper", "manager", "util"}

NAMED = [
    *files(".py", ".pyx", ".pxd", ".pyi"),
    *(path for folder in ("bench", "tests", "config") for path in files(".py", ".yaml", under=ROOT / folder)),
]
DECLARED = re.compile(
    r"^\s*(?:cdef|cpdef|ctypedef|def|class|async\s+def)\s+(?:(?:class|struct|enum|union|packed|inline)\s+)*"
    r"(?:[\w.*&\[\] ]*?[\s*])??(?P<name>\w+)\s*(?:\(|:|$|=|,)"
)


def words(name: str) -> set[str]:
    """`EndpointManager_pool` -> endpoint, manager, pool; plurals count as their singular."""
    pieces = re.findall(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+", name)
    return {piece.lower() for piece in pieces} | {piece.lower().removesuffix("s") for piece in pieces}


def python_names(text: str) -> list[tuple[int, str]]:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return [(node.lineno, node.name) for node in ast.walk(ast.parse(text)) if isinstance(node, kinds)]


def cython_names(text: str) -> list[tuple[int, str]]:
    return [
        (statement.line, match["name"]) for statement in statements(text) if (match := DECLARED.match(statement.text))
    ]


def names(path: Path) -> list[tuple[int, str]]:
    text = path.read_text("utf-8")
    return {".py": python_names, ".pyi": python_names, ".yaml": lambda _: []}.get(path.suffix, cython_names)(text)


@pytest.mark.parametrize("path", NAMED, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_name_uses_a_replaced_word(path: Path) -> None:
    found = [(0, path.stem), *(names(path) if path.is_relative_to(PACKAGE) else [])]
    assert [(line, name) for line, name in found if words(name) & FORBIDDEN] == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("class PoolManager:\n    def run(self): ...", ["PoolManager", "run"]),
        ("async def ssl_context(): ...", ["ssl_context"]),
    ],
)
def test_python_names_are_found(text: str, found: list[str]) -> None:
    assert [name for _, name in python_names(text)] == found


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("cdef struct backend_t:", "backend_t"),
        ("cdef enum cluster_state_t:", "cluster_state_t"),
        ("ctypedef struct util_t:", "util_t"),
        ("cdef class PoolManager:", "PoolManager"),
        ("cdef inline int helper_run(int a) noexcept nogil:", "helper_run"),
        ("cdef const char* context_name(uint8_t a) noexcept nogil", "context_name"),
        ("cdef header_t* manager_find(head_t* head,\n    int a) noexcept nogil", "manager_find"),
        ("    def utils(self):", "utils"),
    ],
)
def test_cython_names_are_found(text: str, name: str) -> None:
    assert [found for _, found in cython_names(text)] == [name]
    assert words(name) & FORBIDDEN
