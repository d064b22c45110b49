"""Reading the sources of the project: files, imports, declarations."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "fastmesh"
CORE = PACKAGE / "_core"

IMPORT = re.compile(r"^\s*(?:c?import)\s+(?P<modules>[\w.]+(?:\s+as\s+\w+)?(?:\s*,\s*[\w.]+(?:\s+as\s+\w+)?)*)")
FROM = re.compile(r"^\s*from\s+(?P<module>[\w.]+)\s+c?import\s+(?P<names>.*)")
STRING_OR_COMMENT = re.compile(
    r'"""(?:\\.|[^\\])*?"""|\'\'\'(?:\\.|[^\\])*?\'\'\'|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|#[^\n]*'
)


@dataclass(frozen=True)
class Statement:
    line: int
    text: str


def files(*suffixes: str, under: Path = PACKAGE) -> list[Path]:
    return sorted(path for path in under.rglob("*") if path.suffix in suffixes and "__pycache__" not in path.parts)


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def without_strings(text: str) -> str:
    """The text with strings and comments emptied; lines keep their numbers."""

    def emptied(match: re.Match[str]) -> str:
        newlines = "\n" * match[0].count("\n")
        return newlines if match[0].startswith("#") else f'""{newlines}'

    return STRING_OR_COMMENT.sub(emptied, text)


def statements(text: str) -> Iterator[Statement]:
    """Logical lines: an open bracket or a backslash joins the next line."""
    pending, start, depth = "", 0, 0
    for number, line in enumerate(without_strings(text).splitlines(), 1):
        if not pending:
            start = number
        depth += sum(map(line.count, "([{")) - sum(map(line.count, ")]}"))
        pending += line.removesuffix("\\") if not pending else " " + line.strip().removesuffix("\\")
        if depth > 0 or line.endswith("\\"):
            continue
        if pending.strip():
            yield Statement(start, pending)
        pending, depth = "", 0


def imported_modules(text: str, module: str, is_package: bool) -> Iterator[tuple[int, str]]:
    """Line and full name of everything that is imported; `from a import b` gives a.b, relative names are resolved."""
    for statement in statements(text):
        if match := FROM.match(statement.text):
            base = absolute(match["module"], module, is_package)
            for name in re.findall(r"[\w*]+(?=\s*(?:,|$|\)|\s+as\s))", match["names"].strip("() ,")):
                yield statement.line, f"{base}.{name}".strip(".")
        elif match := IMPORT.match(statement.text):
            for name in match["modules"].split(","):
                yield statement.line, name.split()[0]


def absolute(name: str, module: str, is_package: bool) -> str:
    level = len(name) - len(name.lstrip("."))
    if level == 0:
        return name
    parts = module.split(".")
    parts = parts[: len(parts) - level + (1 if is_package else 0)]
    return ".".join([*parts, *filter(None, [name[level:]])])
