"""The JSON Schema of the language, made from the readers: what they take, and no more."""

from __future__ import annotations

import typing
from typing import Any

import msgspec

from fastmesh.config.decode import DictReader, EitherReader, ListReader, Reader, ScalarReader, StructReader
from fastmesh.config.fields import Mapping
from fastmesh.config.schema import Config

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """The schema of one file."""
    definitions: dict[str, Any] = {}
    root = _struct(StructReader(Config), definitions)
    return {"$schema": DIALECT, "title": "fastmesh configuration", **root, "$defs": dict(sorted(definitions.items()))}


def describe_fields(struct: type[Mapping]) -> dict[str, str]:
    """The description of each field, by the name that it has in YAML."""
    hints = typing.get_type_hints(struct, include_extras=True)
    found = {}
    for field in msgspec.structs.fields(struct):
        notes = [note for note in typing.get_args(hints[field.name]) if isinstance(note, msgspec.Meta)]
        found[field.encode_name] = (notes[0].description or "") if notes else ""
    return found


def written_default(reader: Reader, value: Any) -> Any:
    """A default as it would be written in YAML; None: there is nothing to write."""
    if value is None or value in ([], {}):
        return None
    if isinstance(reader, ScalarReader):
        return value if isinstance(value, (bool, str)) or reader.scalar.yaml == ("int",) else reader.scalar.write(value)
    if isinstance(reader, StructReader):
        written = {
            name: written_default(inner, getattr(value, attribute))
            for name, (attribute, inner) in reader.fields.items()
        }
        return {name: part for name, part in written.items() if part is not None}
    return None


def _struct(reader: StructReader, definitions: dict[str, Any]) -> dict[str, Any]:
    struct = reader.struct
    descriptions = describe_fields(struct)
    defaults = {field.encode_name: field.default for field in msgspec.structs.fields(struct)}
    properties = {}
    for name, (_, inner) in reader.fields.items():
        default = written_default(inner, defaults[name]) if defaults[name] is not msgspec.NODEFAULT else None
        more = {} if default is None else {"default": default}
        properties[name] = {"description": descriptions[name], **more, **_schema(inner, definitions)}
    schema: dict[str, Any] = {
        "type": "object",
        "description": struct.__doc__,
        "properties": properties,
        "additionalProperties": False,
    }
    if reader.required:
        schema["required"] = sorted(reader.required)
    if struct.choices:
        schema["oneOf"] = [{"required": [choice]} for choice in struct.choices]
    if struct.needed:
        schema["anyOf"] = [{"required": [field]} for field in struct.needed]
    return schema


def _schema(reader: Reader, definitions: dict[str, Any]) -> dict[str, Any]:
    if isinstance(reader, ScalarReader):
        return reader.scalar.json_schema
    if isinstance(reader, ListReader):
        item = _schema(reader.item, definitions)
        many = {"type": "array", "items": item, "minItems": 1}
        return {"anyOf": [item, many]} if reader.single else many
    if isinstance(reader, DictReader):
        return {"type": "object", "additionalProperties": _schema(reader.value, definitions), **_names(reader.key)}
    if isinstance(reader, EitherReader):
        return {"anyOf": [_schema(reader.struct, definitions), _schema(reader.scalar, definitions)]}
    assert isinstance(reader, StructReader)
    name = reader.struct.__name__
    if name not in definitions:
        definitions[name] = {}  # its place is taken before its fields are looked at
        definitions[name] = _struct(reader, definitions)
    reference = {"$ref": f"#/$defs/{name}"}
    return {"anyOf": [_schema(reader.short, definitions), reference]} if reader.short else reference


def _names(key: Reader) -> dict[str, Any]:
    pattern = key.scalar.json_schema.get("pattern") if isinstance(key, ScalarReader) else None
    return {"propertyNames": {"pattern": pattern}} if pattern else {}
