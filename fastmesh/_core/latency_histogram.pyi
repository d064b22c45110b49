"""High-resolution histogram of durations: 128 sub-buckets a power of two, so a quantile is at most 0.8% too high."""

from typing import final

@final
class LatencyHistogram:
    def record(self, duration_ns: int, count: int = 1) -> None:
        """Count a duration `count` times. Longer ones than 73 minutes share the last bucket."""

    def quantile_ns(self, share: float) -> int:
        """The duration that `share` (0 to 1) of those recorded do not exceed; 0 when there are none.

        Raises ValueError if `share` is out of range.
        """

    @property
    def total(self) -> int:
        """How many durations were recorded."""

    @property
    def min_ns(self) -> int:
        """The shortest, exact; 0 when there are none."""

    @property
    def max_ns(self) -> int:
        """The longest, exact; 0 when there are none."""

    @property
    def mean_ns(self) -> float:
        """The mean, exact; 0 when there are none."""
