"""The supervisor's own log: one line a record, on standard error."""

from typing import Literal

LEVELS = ("debug", "info", "warning", "error")


def configure(level: str = "info", form: Literal["text", "json"] = "text") -> None:
    """Set up logging of "fastmesh" to standard error, once a process. Raises ValueError on an unknown level.

    Modules log by `logging.getLogger(__name__)`; `extra={"worker": 1}` adds fields to the line.
    """


def set_level(level: str) -> None:
    """Change the level at run time. Raises ValueError on an unknown one."""


def level() -> str:
    """The level in force."""
    raise NotImplementedError
