"""Every compiled function says that it cannot fail (noexcept) or how it does (except ...)."""

import re
from pathlib import Path

import pytest

from tests.architecture.sources import CORE, files, statements

FUNCTION = re.compile(
    r"^\s*(?:cdef|cpdef)\s+(?!class\b|extern\b|struct\b|enum\b|union\b|packed\b)"
    r"(?P<returns>[^=(]*?[\s*])??(?P<name>\w+)\s*\((?P<arguments>[^*].*|)\)(?P<tail>[^)]*)$"
)
POINTER = re.compile(r"\(\s*\*\s*(?P<name>\w+)\s*\)\s*\((?P<arguments>[^()]*)\)(?P<tail>[^,)]*)")
# A function that returns an object fails by returning none; Cython allows no further word.
RETURNS_OBJECT = re.compile(r"^(?:object|bytes|str|tuple|list|dict|set|type|[A-Z]\w*)\s*$")
SAYS = re.compile(r"\b(?:noexcept|except)\b")


def silent(text: str) -> list[tuple[int, str]]:
    """Line and name of each function or function pointer that does not say how it fails."""
    found = []
    for statement in statements(text):
        if (match := FUNCTION.match(statement.text)) and not SAYS.search(match["tail"]):
            returns = (match["returns"] or "").replace("inline", "").strip()
            if not RETURNS_OBJECT.match(returns):
                found.append((statement.line, match["name"]))
        if not statement.text.lstrip().startswith(("def ", "return ")):
            pointers = POINTER.finditer(statement.text)
            found += [(statement.line, match["name"]) for match in pointers if not SAYS.search(match["tail"])]
    return found


@pytest.mark.parametrize("path", files(".pyx", ".pxd", under=CORE), ids=lambda path: path.name)
def test_every_function_says_how_it_fails(path: Path) -> None:
    assert silent(path.read_text("utf-8")) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("cdef int parse(const char* a, int b) noexcept nogil:", []),
        ("cdef int parse(const char* a, int b) except -1:", []),
        ("cdef int parse(const char* a, int b):", ["parse"]),
        ("cdef int parse(const char* a,\n               int b) nogil", ["parse"]),
        ("cdef inline void drop(self) nogil:", ["drop"]),
        ("cdef drop():", ["drop"]),
        ("cdef bytes text(self):", []),
        ("cdef inline Tables made(self):", []),
        ("cdef int x = size(a)", []),
        ("cdef class Engine(Base):", []),
        ("cdef extern from *:", []),
        ("    void (*run)(void* a) noexcept nogil", []),
        ("    void (*run)(void* a) nogil", ["run"]),
        ("cdef int parse(int a) nogil:  # noexcept", ["parse"]),
    ],
)
def test_a_silent_function_is_seen(text: str, found: list[str]) -> None:
    assert [name for _, name in silent(text)] == found
