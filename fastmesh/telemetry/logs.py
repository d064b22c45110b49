"""The supervisor's own log: one line a record, on standard error, as text or as JSON.

Modules use `logging.getLogger(__name__)`; `extra={"worker": 1}` adds a field to the line. No byte of a message or a
field can end the line.
"""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Literal

LEVELS = ("debug", "info", "warning", "error")

_ROOT = "fastmesh"
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def configure(level: str = "info", form: Literal["text", "json"] = "text") -> None:
    """Write the records of all loggers to standard error; `level` is that of fastmesh's own, others' begins at warning.

    May be called again. Raises ValueError on an unknown level.
    """
    set_level(level)
    root = logging.getLogger()
    for handler in root.handlers[:]:
        if isinstance(handler.formatter, _Line):
            root.removeHandler(handler)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Line(form))
    root.addHandler(handler)


def set_level(level: str) -> None:
    """Change the level at run time. Raises ValueError on an unknown one."""
    if level not in LEVELS:
        raise ValueError(f"no log level is called {level!r}: there are {', '.join(LEVELS)}")
    logging.getLogger(_ROOT).setLevel(level.upper())


def level() -> str:
    """The level in force."""
    return logging.getLevelName(logging.getLogger(_ROOT).getEffectiveLevel()).lower()


class _Line(logging.Formatter):
    """One line of a record, in either form."""

    def __init__(self, form: Literal["text", "json"]) -> None:
        super().__init__()
        self._line = _json_line if form == "json" else _text_line

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        fields = {name: value for name, value in vars(record).items() if name not in _STANDARD}
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return self._line(moment.replace("+00:00", "Z"), record, fields)


def _text_line(moment: str, record: logging.LogRecord, fields: dict[str, object]) -> str:
    name = record.name.removeprefix(f"{_ROOT}.")
    shown = "".join(f" {name}={_value(value)}" for name, value in fields.items())
    return f"{moment} {record.levelname.lower():7} {name}: {_printable(record.getMessage())}{shown}"


def _json_line(moment: str, record: logging.LogRecord, fields: dict[str, object]) -> str:
    head = {"time": moment, "level": record.levelname.lower(), "logger": record.name}
    return json.dumps(head | {"message": record.getMessage()} | fields, default=str)


def _value(value: object) -> str:
    text = str(value)
    return text if text and text.isprintable() and not set(text) & set(' "=') else json.dumps(text)


def _printable(text: str) -> str:
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
