"""Log-linear histograms of durations: powers of two with four sub-buckets."""

from collections.abc import Sequence

BUCKETS: int
"""Counters in a histogram."""

def index(duration_us: int) -> int:
    """The bucket of a duration in microseconds. Raises OverflowError when it is negative or above 64 bits."""

def bounds() -> tuple[float, ...]:
    """The upper bound of each bucket in microseconds (exclusive); the last is infinite."""

def merge(histograms: Sequence[Sequence[int]]) -> list[int]:
    """The sum, bucket by bucket. Raises ValueError when one has not BUCKETS counters."""

def quantile(counts: Sequence[int], q: float) -> float:
    """The duration in microseconds below which a share `q` of the counts lies, interpolated within its bucket.

    NaN when there are no counts; the last bucket answers its lower bound. Raises ValueError when `q` is outside 0 .. 1
    or `counts` has not BUCKETS counters.
    """
