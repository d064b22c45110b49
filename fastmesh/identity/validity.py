"""How long a certificate is valid, and when its end is near enough to warn of."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum

import msgspec

DAY_S = 86_400
WARN_BEFORE_S = 14 * DAY_S
"""Warn so long before the end, or when a third of the lifetime is left, whichever is later."""


class Phase(StrEnum):
    """Where a moment lies in the life of a certificate."""

    FUTURE = "not yet valid"
    VALID = "valid"
    ENDING = "expires soon"
    EXPIRED = "expired"


class Validity(msgspec.Struct, frozen=True, gc=False):
    """First and last second, Unix time."""

    not_before_s: int
    not_after_s: int

    def phase(self, now_s: float) -> Phase:
        """Where now is."""
        if now_s < self.not_before_s:
            return Phase.FUTURE
        if now_s > self.not_after_s:
            return Phase.EXPIRED
        warned_s = min(WARN_BEFORE_S, (self.not_after_s - self.not_before_s) // 3)
        return Phase.ENDING if self.not_after_s - now_s < warned_s else Phase.VALID

    def warning(self, now_s: float) -> str:
        """What to say of it; empty: all is well."""
        match self.phase(now_s):
            case Phase.FUTURE:
                return f"it is not valid before {written(self.not_before_s)}"
            case Phase.EXPIRED:
                return f"it expired on {written(self.not_after_s)}"
            case Phase.ENDING:
                return f"it expires on {written(self.not_after_s)}, in {left(self.not_after_s - now_s)}"
        return ""


def written(moment_s: float) -> str:
    """A moment as people write it."""
    return f"{datetime.fromtimestamp(moment_s, UTC):%Y-%m-%d %H:%M} UTC"


def left(seconds: float) -> str:
    """A time to come, rounded down."""
    for unit, size in (("days", DAY_S), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds)} seconds"
