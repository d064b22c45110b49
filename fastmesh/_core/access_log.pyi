"""Access log lines: JSON lines, or a template compiled once."""

from collections.abc import Mapping
from typing import Self, final

FIELDS: tuple[str, ...]
"""The names of the fields, in the order of a JSON line."""

OPTIONAL: frozenset[str]
"""Those that a JSON line has only where they say something."""

LINE_MAX_BYTES: int
"""No line is longer, its line end included; long values are cut and end in three dots."""

@final
class AccessFormat:
    """How a line is written. Immutable; shared by all connections of a worker."""

    def __new__(cls, template: str = "") -> Self:
        """`template`: text with fields in braces, "{client} {method} {path}", "{{" for a brace; empty: JSON lines.

        Raises ValueError that names the position (from 0) of an unknown field, of a brace without its partner or of a
        control character, or says that the template is too long.
        """

    def format(self, record: Mapping[str, object]) -> bytes:
        """One line, its line end included, as the data plane writes it.

        `record` maps names of FIELDS to values; "time" is an int, in microseconds of Unix time; strings may be bytes.
        What is missing is empty or 0. Without "method" there was no request that was understood. Raises KeyError on an
        unknown name, TypeError, OverflowError.
        """
