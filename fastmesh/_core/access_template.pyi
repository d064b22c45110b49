"""What an access log line is made of."""

FIELDS: tuple[str, ...]
"""The names of the fields, in the order of a JSON line."""

OPTIONAL: frozenset[str]
"""Fields that a JSON line has only where they say something."""
