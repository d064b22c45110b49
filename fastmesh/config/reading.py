"""What is gathered while YAML nodes are read: problems, places, and references to other things."""

from __future__ import annotations

import re
from typing import Any, Final, TypeAlias

import yaml

from fastmesh.config.problem import Problem, quoted

Node: TypeAlias = yaml.nodes.Node
FAILED: Final[Any] = object()
"""Stands for a value whose problems have been reported."""

_PEM = re.compile("-----BEGIN.*", re.DOTALL)
_TAG_PREFIX = "tag:yaml.org,2002:"
_NOUNS = {
    "str": "the text {}", "int": "the number {}", "float": "the number {}", "bool": "the boolean {}",
    "null": "nothing", "timestamp": "the date {}", "merge": "the merge key {}", "value": "the text {}",
}  # fmt: skip
Path = tuple[str | int, ...]
Mark = tuple[int, int]


def tag_of(node: Node) -> str:
    """The type that YAML gives a node: str, int, map ..."""
    tag: str = node.tag
    return tag.removeprefix(_TAG_PREFIX)


def describe(node: Node) -> str:
    """What a node is, in words."""
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    return _NOUNS.get(tag_of(node), "{} with a tag").format(quoted(node.value))


def dotted(path: Path) -> str:
    """A path as it is shown: routes.hello.to[0]."""
    return (
        "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".") or "the file"
    )


class Reading:
    """What is gathered while a piece is decoded: problems, and the places of values that other checks refer to."""

    __slots__ = ("marks", "problems", "references")

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.marks: dict[Path, Mark] = {}
        self.references: list[tuple[Path, str, str]] = []  # where, kind and name

    def problem(
        self, node: Node, message: str, *, text: str = "", expected: str = "", hint: str = "", first: Node | None = None
    ) -> Any:
        """Keep a problem; returns FAILED."""
        mark = node.start_mark
        if _PEM.search(text + message + hint):  # a key that stands where its path should: it goes into no log
            text, message, hint = (_PEM.sub("-----BEGIN ...", words) for words in (text, message, hint))
        self.problems.append(
            Problem(
                "",
                mark.line + 1,
                mark.column + 1,
                message,
                text,
                expected,
                hint,
                first_line=first.start_mark.line + 1 if first else 0,
                first_column=first.start_mark.column + 1 if first else 0,
            )  # fmt: skip
        )
        return FAILED
