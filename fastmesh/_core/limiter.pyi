"""Token buckets as GCRA: the Python face of the table that workers share, for tests, benchmarks and tools."""

from typing import Self, final

CLOCK_SLACK_NS: int
"""How far apart the clock readings of two workers may be before a bucket is taken to hold an older, slower rate."""

@final
class LimiterTable:
    """A table of buckets in anonymous memory that is shared with the children of this process."""

    def __new__(cls, slots: int) -> Self:
        """`slots`: how many buckets; a power of two, 8 or more. Raises ValueError, MemoryError."""

    def take(self, limit_id: int, period_ns: int, burst_tokens: int, key_hash: int, now_ns: int) -> int:
        """0: allowed, a token is taken; else the ns until there will be one.

        `now_ns` is a reading of CLOCK_MONOTONIC. Raises ValueError when `period_ns` or `burst_tokens` is 0.
        """

    def take_many(
        self, limit_id: int, period_ns: int, burst_tokens: int, key_count: int, takes: int, now_ns: int, step_ns: int
    ) -> int:
        """Take `takes` times, in turn from keys 1 .. `key_count`, the clock going on by `step_ns` each time.

        Returns how many were allowed. Runs without the GIL. Raises ValueError when `period_ns`, `burst_tokens` or
        `key_count` is 0.
        """

    def holds(self, limit_id: int, key_hash: int) -> bool:
        """Whether the table has a bucket for this key (full ones may have been pushed out)."""

    @property
    def evictions(self) -> int:
        """Buckets that were pushed out before they were full."""
