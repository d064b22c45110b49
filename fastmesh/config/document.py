"""Text to YAML nodes, with the dangerous parts refused: tags, alias bombs, depth, several documents."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeAlias

import yaml

from fastmesh.config.problem import Problem, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator

try:
    from yaml import CSafeLoader as _Loader
except ImportError:  # a PyYAML without libyaml reads the same, only slower
    from yaml import SafeLoader as _Loader  # type: ignore[assignment]

Node: TypeAlias = yaml.nodes.Node
DEPTH_MAX = 32
ALIASED_NODES_MAX = 10_000
_SHORT_TEXT = 4000  # cannot nest deeper than the composer's recursion bears
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_LINE_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")  # of YAML 1.1
_HINTS = (
    ("found another document", "one document a file: remove the ---"),
    ("undefined alias", "to write a text that begins with *, quote it"),
    ("alphabetic or numeric character", "to write a text that begins with * or &, quote it"),
    ("cannot start any token", "indent with spaces, not tabs, and quote a text that begins with @, ` or %"),
    ("mapping values are not allowed", "is the indentation right? quote a text that holds ': '"),
    ("did not find expected key", "is the indentation right, and each quote and bracket closed?"),
    ("could not find expected ':'", "a key is followed by ':' and a space"),
    ("unexpected end of stream", "the closing quote is missing"),
    ("did not find expected", "is each bracket closed, and its elements separated by commas?"),
)


class NotYaml(Exception):
    """The text is not one YAML document of the kind that is read here."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


def compose(text: str) -> Node | None:
    """The root node of a text, None where it holds nothing; raises NotYaml."""
    try:
        if len(text) > _SHORT_TEXT:
            _refuse_depth(text)
        return _compose(text)
    except yaml.MarkedYAMLError as error:
        raise NotYaml(_syntax_problem(error)) from None
    except yaml.reader.ReaderError:
        raise NotYaml(_character_problem(text)) from None


def _compose(text: str) -> Node | None:
    loader = _Loader(text)
    try:
        node: Node | None = loader.get_single_node()
        return node
    finally:
        loader.dispose()


def _refuse_depth(text: str) -> None:
    """The composer recurses in C, without a bound: count the depth in the flat stream of events first."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.events.CollectionStartEvent):
            depth += 1
            if depth > DEPTH_MAX:
                raise NotYaml(_at(event, f"nested more than {DEPTH_MAX} deep"))
        elif isinstance(event, yaml.events.CollectionEndEvent):
            depth -= 1


def _syntax_problem(error: yaml.MarkedYAMLError) -> Problem:
    is_quote = error.context == "while scanning a quoted scalar"
    mark = (error.context_mark if is_quote else error.problem_mark) or error.context_mark
    message = error.problem or "malformed"
    described = f"{error.context}: {message}" if error.context and error.context.startswith("while") else message
    hint = next((hint for part, hint in _HINTS if part in described), "")
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    return Problem("", line, column, f"not valid YAML: {described}", hint=hint)


def _character_problem(text: str) -> Problem:
    match = _UNPRINTABLE.search(text)
    at = match.start() if match else 0
    line, column = text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)
    shown = f"U+{ord(text[at]):04X}" if match else "unknown"
    return Problem(
        "", line, column, f"control character {shown}", expected="text", hint='in double quotes it is written "\\x.."'
    )


def _children(node: Node) -> Iterator[Node]:
    for child in node.value if not isinstance(node, yaml.ScalarNode) else ():
        if isinstance(child, tuple):
            yield from child
        else:
            yield child


def has_aliases(root: Node, text: str) -> bool:
    """Whether a node stands in two places."""
    if "&" not in text or "*" not in text:
        return False
    seen: set[int] = set()
    stack = [root]
    while stack:
        node = stack.pop()
        if id(node) in seen:
            return True
        seen.add(id(node))
        stack.extend(_children(node))
    return False


def hazards(root: Node, text: str) -> list[Problem]:
    """Explicit tags, and aliases that multiply or contain themselves."""
    problems: list[Problem] = []
    if "!" in text:
        problems += _tags(root, text)
    if "&" in text and "*" in text:
        problems += _aliases(root)
    return problems


def _tags(root: Node, text: str) -> list[Problem]:
    problems, seen = [], set()
    lines = _LINE_BREAK.split(text)
    stack: list[Node] = [root]
    while stack:
        node = stack.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        stack.extend(_children(node))
        mark = node.start_mark
        tag = re.match(r"(?:&\S+\s+)?(!\S*)", lines[mark.line][mark.column :])
        if tag:
            problems.append(
                Problem(
                    "",
                    mark.line + 1,
                    mark.column + 1,
                    f"tag {quoted(tag[1])} is not supported",
                    tag[1],
                    hint="remove it, or quote the text",
                )
            )
    return problems


def _aliases(root: Node) -> list[Problem]:
    """Sizes are counted once a node, so the count itself cannot be made to explode."""
    sizes: dict[int, int] = {}
    open_nodes: set[int] = set()

    def size(node: Node) -> int:
        if id(node) in open_nodes:
            raise NotYaml(_at(node, "an alias contains itself"))
        if id(node) not in sizes:
            open_nodes.add(id(node))
            sizes[id(node)] = 1 + sum(size(child) for child in _children(node))
            open_nodes.remove(id(node))
        return sizes[id(node)]

    try:
        if size(root) - len(sizes) > ALIASED_NODES_MAX:
            return [_at(root, f"aliases repeat more than {ALIASED_NODES_MAX} values", hint="write the values out")]
    except NotYaml as error:
        return [error.problem]
    return []


def _at(node: Any, message: str, hint: str = "") -> Problem:
    return Problem("", node.start_mark.line + 1, node.start_mark.column + 1, message, hint=hint)
