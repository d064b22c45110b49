"""A hierarchical timer wheel: the Python face, for tests. Timers are numbered, times are milliseconds."""

from typing import Self, final

@final
class TimerWheel:
    def __new__(cls, timers: int, now_ms: int) -> Self:
        """`timers`: how many timers there are, numbered from 0; none is set. Raises ValueError, MemoryError."""

    def set(self, timer: int, due_ms: int) -> None:
        """Set or move. A time that is not ahead of the wheel fires at its next millisecond. Raises IndexError."""

    def cancel(self, timer: int) -> None:
        """Unset; nothing happens to a timer that is not set. Raises IndexError."""

    def is_set(self, timer: int) -> bool:
        """Whether the timer is set. Raises IndexError."""

    def pop(self, now_ms: int) -> int | None:
        """Move time forward and hand out a timer that is due, earliest first; None: there is none up to `now_ms`."""

    def next_ms(self) -> int | None:
        """When to look again: at or before the earliest due time; None when no timer is set."""

    def __len__(self) -> int:
        """Timers set."""
