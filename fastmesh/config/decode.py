"""YAML nodes to the structs of the schema: every problem is collected, none ends the reading."""

from __future__ import annotations

import types
import typing
from abc import ABC, abstractmethod
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec
import yaml

from fastmesh.config.fields import Mapping, OneOrMany
from fastmesh.config.problem import InvalidText, did_you_mean, quoted
from fastmesh.config.reading import FAILED, Node, Path, Reading, describe, dotted, tag_of
from fastmesh.config.scalars import Scalar


class Reader(ABC):
    """Reads one type of the schema."""

    expected = ""

    @abstractmethod
    def read(self, node: Node, path: Path, reading: Reading) -> Any:
        """The value, or FAILED."""

    def mismatch(self, node: Node, path: Path, reading: Reading, hint: str = "") -> Any:
        """Report that a node is of the wrong kind."""
        text = node.value if isinstance(node, yaml.ScalarNode) else ""
        return reading.problem(
            node, f"{dotted(path)}: found {describe(node)}", text=text, expected=self.expected, hint=hint
        )


class ScalarReader(Reader):
    """A word, a number, a quantity."""

    def __init__(self, scalar: Scalar) -> None:
        self.scalar = scalar
        self.expected = scalar.expected

    def read(self, node: Node, path: Path, reading: Reading) -> Any:
        """The value, or FAILED."""
        if not isinstance(node, yaml.ScalarNode):
            return self.mismatch(node, path, reading)
        tag = tag_of(node)
        scalar = self.scalar
        try:
            if tag not in scalar.yaml:
                return self.mismatch(node, path, reading, self._type_hint(tag, node.value))
            value = scalar.read(node.value)
        except InvalidText as error:
            message = error.message or f"{quoted(node.value)} is not {scalar.name}"
            expected = error.expected or scalar.expected
            return reading.problem(
                node, f"{dotted(path)}: {message}", text=node.value, expected=expected, hint=error.hint
            )
        if scalar.refers:
            reading.references.append((path, scalar.refers, value))
        if scalar.marked or scalar.refers:
            reading.marks[path] = (node.start_mark.line, node.start_mark.column)
        return value

    def _type_hint(self, tag: str, text: str) -> str:
        if "bool" in self.scalar.yaml:
            return "without quotes" if tag == "str" and text in ("true", "false") else ""
        if tag == "bool" and text.lower() not in ("true", "false"):
            return f'YAML reads {text} as {str(text.lower() in ("yes", "on")).lower()}: write "{text}"'
        if tag in ("bool", "timestamp", "value", "merge") and "str" in self.scalar.yaml:
            return f'write "{text}"'
        if tag in ("int", "float") and "str" in self.scalar.yaml:
            try:
                self.scalar.read(text)
            except InvalidText as error:
                return error.hint
            return f'write "{text}"'
        if tag == "str" and "int" in self.scalar.yaml:
            return "without quotes" if text.isdigit() else ""
        return ""


class ListReader(Reader):
    """A list; with `single`, its only element may stand for it."""

    def __init__(self, item: Reader, single: bool) -> None:
        self.item, self.single = item, single
        self.expected = f"{item.expected}, or a list of them" if single else f"a list, each of them {item.expected}"

    def read(self, node: Node, path: Path, reading: Reading) -> Any:
        """The list, or FAILED."""
        if not isinstance(node, yaml.SequenceNode):
            if self.single and tag_of(node) != "null":
                value = self.item.read(node, (*path, 0), reading)
                return value if value is FAILED else [value]
            hint = f"did you mean [{node.value}]?" if isinstance(node, yaml.ScalarNode) and node.value else ""
            return self.mismatch(node, path, reading, hint)
        if not node.value:
            return reading.problem(node, f"{dotted(path)}: the list is empty", expected=self.expected)
        values = [self.item.read(child, (*path, index), reading) for index, child in enumerate(node.value)]
        return FAILED if FAILED in values else values


def _pairs(node: yaml.MappingNode, path: Path, reading: Reading) -> list[tuple[str, Node, Node]]:
    """Keys with their nodes; keys that are no text, and keys that come twice, are reported and left out."""
    seen: dict[str, Node] = {}
    pairs: list[tuple[str, Node, Node]] = []
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            reading.problem(
                key,
                f"{dotted(path)}: {describe(key)} stands as a key",
                expected="a text",
                hint="quote a text that begins with [ or {",
            )
        elif tag_of(key) == "merge":
            reading.problem(
                key, f"{dotted(path)}: merge keys are not supported", text="<<", hint="write the fields out"
            )
        elif tag_of(key) != "str":
            hint = f'write "{key.value}":' if key.value else ""
            reading.problem(
                key, f"{dotted(path)}: {describe(key)} stands as a key", text=key.value, expected="a text", hint=hint
            )
        elif key.value in seen:
            reading.problem(
                key, f"{dotted(path)}: duplicate key {quoted(key.value)}", text=key.value, first=seen[key.value]
            )
        else:
            seen[key.value] = key
            pairs.append((key.value, key, value))
    return pairs


class DictReader(Reader):
    """A mapping by names of the user's choice."""

    def __init__(self, key: Reader, value: Reader) -> None:
        self.key, self.value = key, value
        self.expected = "a mapping"

    def read(self, node: Node, path: Path, reading: Reading) -> Any:
        """The dict, or FAILED."""
        if not isinstance(node, yaml.MappingNode):
            return self.mismatch(node, path, reading)
        before = len(reading.problems)
        result: dict[Any, Any] = {}
        first: dict[Any, Node] = {}
        for text, key_node, value_node in _pairs(node, path, reading):
            key = self.key.read(key_node, path, reading)
            value = self.value.read(value_node, (*path, text), reading)
            if key is not FAILED and key in result:
                reading.problem(key_node, f"{dotted(path)}: duplicate key {quoted(text)}", text=text, first=first[key])
            elif key is not FAILED:
                first[key] = key_node
                result[key] = value
        return FAILED if len(reading.problems) > before else result


class StructReader(Reader):
    """A mapping of known fields."""

    def __init__(self, struct: type[Mapping]) -> None:
        self.struct = struct
        hints = typing.get_type_hints(struct, include_extras=True)
        fields = msgspec.structs.fields(struct)
        self.fields = {field.encode_name: (field.name, reader_of(hints[field.name])) for field in fields}
        self.required = {field.encode_name for field in fields if field.required}
        self.short = self.fields[struct.short][1] if struct.short else None
        keys = "{" + ", ".join(sorted(self.required) or struct.needed[:1] or list(self.fields)[:2]) + ", ...}"
        self.expected = f"{self.short.expected}, or a mapping {keys}" if self.short else "a mapping"

    def read(self, node: Node, path: Path, reading: Reading) -> Any:
        """The struct, or FAILED."""
        if not isinstance(node, yaml.MappingNode):
            return self._short(node, path, reading)
        before = len(reading.problems)
        values: dict[str, Any] = {}
        for text, key_node, value_node in _pairs(node, path, reading):
            if text not in self.fields:
                expected = "one of " + ", ".join(self.fields)
                reading.problem(
                    key_node,
                    f"unknown key {quoted(text)} in {dotted(path)}",
                    text=text,
                    expected=expected,
                    hint=did_you_mean(text, self.fields),
                )
                continue
            attribute, reader = self.fields[text]
            values[attribute] = reader.read(value_node, (*path, text), reading)
        if not any(key.value not in self.fields for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            self._require(node, path, reading, values)  # a misspelt key is not missing as well
        if len(reading.problems) > before:
            return FAILED
        struct = self.struct(**values)
        flaw = struct.flaw()
        if flaw is None:
            return struct
        where = (*path, flaw.field) if flaw.field else path
        return reading.problem(_within(node, flaw.field), f"{dotted(where)}: {flaw.message}", hint=flaw.hint)

    def _short(self, node: Node, path: Path, reading: Reading) -> Any:
        struct = self.struct
        if self.short is None or not isinstance(node, yaml.ScalarNode) or tag_of(node) == "null":
            hint = ""
            if struct.choices and isinstance(node, yaml.ScalarNode) and tag_of(node) != "null":
                hint = f"did you mean {{{struct.choices[min(1, len(struct.choices) - 1)]}: {node.value}}}?"
            return self.mismatch(node, path, reading, hint)
        value = self.short.read(node, (*path, struct.short), reading)
        return value if value is FAILED else struct(**{struct.short: value})

    def _require(self, node: Node, path: Path, reading: Reading, values: dict[str, Any]) -> None:
        names = {self.fields[name][0]: name for name in self.fields}
        written = {names[attribute] for attribute in values}
        for name in sorted(self.required - written):
            reading.problem(node, f"{dotted(path)}: {quoted(name)} is missing", expected=self.fields[name][1].expected)
        if (needed := self.struct.needed) and not written.intersection(needed):
            instead = ", ".join(map(quoted, needed[1:]))
            expected = f"{self.fields[needed[0]][1].expected}; or {instead} instead"
            reading.problem(node, f"{dotted(path)}: {quoted(needed[0])} is missing", expected=expected)
        choices = self.struct.choices
        chosen = [choice for choice in choices if choice in written]
        if choices and len(chosen) != 1:
            found = f"has {' and '.join(chosen)} together" if chosen else "says nothing"
            reading.problem(node, f"{dotted(path)} {found}", expected="exactly one of " + ", ".join(choices))


class EitherReader(Reader):
    """A mapping, or a word."""

    def __init__(self, struct: Reader, scalar: Reader) -> None:
        self.struct, self.scalar = struct, scalar
        self.expected = f"{scalar.expected}, or {{header: name}} or {{cookie: name}}"

    def read(self, node: Node, path: Path, reading: Reading) -> Any:
        """The value, or FAILED."""
        if isinstance(node, yaml.MappingNode):
            return self.struct.read(node, path, reading)
        if not isinstance(node, yaml.ScalarNode) or tag_of(node) != "str":
            return self.mismatch(node, path, reading)
        return self.scalar.read(node, path, reading)


def _within(node: Node, field: str) -> Node:
    """The node of a field, "tcp" or "tcp.sni"; as near to it as there is one."""
    while isinstance(node, yaml.MappingNode) and field:
        found = [(key, value) for key, value in node.value if field == key.value or field.startswith(f"{key.value}.")]
        if not found:
            break
        key, node = found[0]
        field = field[len(key.value) + 1 :]
    return node


_readers: dict[type, StructReader] = {}


def reader_of(hint: Any) -> Reader:
    """The reader of a type of the schema."""
    if get_origin(hint) is Annotated:
        base, *notes = get_args(hint)
        scalar = next((note for note in notes if isinstance(note, Scalar)), None)
        if scalar:
            return ScalarReader(scalar)
        if any(isinstance(note, OneOrMany) for note in notes):
            return ListReader(reader_of(get_args(base)[0]), single=True)
        return reader_of(base)
    origin, arguments = get_origin(hint), [arg for arg in get_args(hint) if arg is not type(None)]
    if origin in (Union, types.UnionType):
        return reader_of(arguments[0]) if len(arguments) == 1 else EitherReader(*map(reader_of, arguments))
    if origin is list:
        return ListReader(reader_of(arguments[0]), single=False)
    if origin is dict:
        return DictReader(reader_of(arguments[0]), reader_of(arguments[1]))
    if hint not in _readers:
        _readers[hint] = StructReader(hint)
    return _readers[hint]
