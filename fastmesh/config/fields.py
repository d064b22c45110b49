"""What every part of the schema is made of: mappings, their flaws, lists that may be written as their only element."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

from msgspec import Struct

SECOND, MINUTE, HOUR = 1000, 60_000, 3_600_000


class Flaw(NamedTuple):
    """Fields that are right each by itself, and wrong together."""

    field: str  # "tcp.sni" for one within; empty: the mapping as a whole
    message: str
    hint: str = ""


class Mapping(Struct, frozen=True, gc=False):
    """Base of everything that is written as a mapping. Where `short` names a field, its value may stand for the
    whole."""

    short: ClassVar[str] = ""
    choices: ClassVar[tuple[str, ...]] = ()
    """Fields of which exactly one is written."""
    needed: ClassVar[tuple[str, ...]] = ()
    """Fields of which at least one is written."""

    def flaw(self) -> Flaw | None:
        """What the types cannot say."""
        return None

    def _zero(self, *fields: str) -> Flaw | None:
        zero = next((field for field in fields if getattr(self, field) == 0), None)
        return Flaw(zero, "it must be more than 0") if zero else None


class OneOrMany:
    """Marks a list that may be written as its only element."""
