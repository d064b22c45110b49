"""Regular expressions that run in linear time (RE2), for routes; https://github.com/google/re2/wiki/Syntax."""

from collections.abc import Callable

MEMORY_MAX_BYTES: int
"""What one pattern's automaton may take, in bytes; a pattern whose program is larger is refused."""

def compile(pattern: str) -> Callable[[bytes], object | None]:
    """A function that returns None unless the whole text matches. Raises ValueError with RE2's message."""

def check(pattern: str) -> str | None:
    """RE2's complaint about a pattern, or None when it is valid."""

def literal_prefix(pattern: str) -> str:
    """Text that everything which matches must begin with; empty when unknown. Spares the router most RE2 calls."""
