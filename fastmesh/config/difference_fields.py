"""The fields of two values of the schema, side by side: whatever the schema says, no difference goes unsaid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import NODEFAULT, structs

from fastmesh.config import difference_words as words
from fastmesh.config.decode import DictReader, EitherReader, ListReader, ScalarReader, StructReader
from fastmesh.config.schema import Destination, Discover, Endpoint, Listener, Match, RateLimit, Route

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fastmesh.config.decode import Reader
    from fastmesh.config.difference_words import FieldChange

    Tell = Callable[[Any, Any, str], Iterator[FieldChange]]

_BY_FIELD: dict[tuple[type, str], Tell] = {
    (Listener, "address"): words.address_change,
    (Route, "listeners"): words.listener_set_changes,
    (Match, "hosts"): words.hosts_changes,
    (Match, "path"): words.path_changes,
    (Match, "methods"): words.methods_changes,
    (Match, "headers"): words.value_tests_changes,
    (Match, "query"): words.value_tests_changes,
    (Match, "client"): words.client_changes,
}
_BY_TYPE: dict[type, Tell] = {RateLimit: words.limit_changes}
_BY_ITEM: dict[type, Tell] = {
    Destination: words.split_changes,
    Endpoint: words.endpoint_changes,
    Discover: words.source_changes,
}


def field_changes(reader: Reader, old: Any, new: Any, field: str) -> Iterator[FieldChange]:
    """Each difference between two values that `reader` reads."""
    if old is new or old == new:
        return
    tell = _words_of(reader)
    if tell is not None:
        yield from tell(old, new, field)
    elif isinstance(reader, StructReader) and old is not None and new is not None:
        for name, (attribute, inner) in reader.fields.items():
            before, after = getattr(old, attribute), getattr(new, attribute)
            own = _BY_FIELD.get((reader.struct, name))
            below = f"{field}.{name}" if field else name
            if own is None:
                yield from field_changes(inner, before, after, below)
            elif before != after:
                yield from own(before, after, below)
    elif isinstance(reader, DictReader) and old and new:
        for key in {**old, **new}:
            yield from field_changes(reader.value, old.get(key), new.get(key), f"{field}.{key}")
    else:
        yield field, f"{field} is {flow(reader, new)} instead of {flow(reader, old)}"


def _words_of(reader: Reader) -> Tell | None:
    if isinstance(reader, StructReader):
        return _BY_TYPE.get(reader.struct)
    if isinstance(reader, ListReader) and isinstance(reader.item, StructReader):
        return _BY_ITEM.get(reader.item.struct)
    return None


def flow(reader: Reader, value: Any) -> str:
    """As it would be written in YAML, on one line, without what is left at its default."""
    if value is None:
        return "none"
    if value in ([], {}):
        return "the default"
    match reader:
        case ScalarReader():
            return reader.scalar.write(value)
        case ListReader():
            return f"[{', '.join(flow(reader.item, each) for each in value)}]"
        case DictReader():
            return "{" + ", ".join(f"{name}: {flow(reader.value, each)}" for name, each in value.items()) + "}"
        case EitherReader():
            return flow(reader.scalar if isinstance(value, str) else reader.struct, value)
        case StructReader():
            parts = [
                f"{name}: {flow(inner, getattr(value, attribute))}"
                for name, (attribute, inner) in reader.fields.items()
                if name in reader.required or getattr(value, attribute) != _default(reader, attribute)
            ]
            return "{" + ", ".join(parts) + "}" if parts else "the default"
    raise AssertionError(reader)


def _default(reader: StructReader, attribute: str) -> Any:
    field = next(field for field in structs.fields(reader.struct) if field.name == attribute)
    return field.default if field.default_factory is NODEFAULT else field.default_factory()
