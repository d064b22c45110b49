"""Choosing an endpoint of a subset; docs/balancing.md tells what each algorithm does. For tests, benches and tools."""

from collections.abc import Sequence
from typing import final

@final
class Subset:
    """A subset of endpoints, each with its load and health, and an algorithm (snapshot.Balance)."""

    size: int
    """Endpoints, those of weight 0 included."""

    def __init__(
        self, balance: int, endpoints: Sequence[tuple[str, int]], panic_percent: int = 50, seed: int = 0
    ) -> None:
        """`endpoints`: "host:port" and weight. `seed`: state of the random numbers (splitmix64).

        Raises ValueError for an unknown balance or share, OverflowError for a weight outside [0, 2**32), MemoryError.
        """

    def pick(self, key: bytes = b"", now_ns: int = 0, avoid: int | None = None) -> int | None:
        """The index of the chosen endpoint, or None. `key` is for ring_hash and maglev, `now_ns` for peak_ewma.

        `avoid` is not chosen if another endpoint is available. Raises IndexError when it is not there.
        """

    def spread(self, picks: int, now_ns: int = 0) -> list[int]:
        """Pick many times, with a key of its own each time; how often each endpoint was chosen."""

    def set_active(self, endpoint: int, active: int) -> None:
        """Set the number of requests in flight. Raises IndexError."""

    def set_health(self, endpoint: int, unhealthy: bool) -> None:
        """Set the health flag; the next pick takes note. Raises IndexError."""

    def observe(self, endpoint: int, round_trip_ns: int, failed: bool, now_ns: int) -> None:
        """What peak_ewma learns from a response. Raises IndexError."""

    def ewma_ns(self, endpoint: int, now_ns: int) -> float:
        """The round trip that peak_ewma expects. Raises IndexError."""

    def table(self) -> list[tuple[int, int]]:
        """ring_hash: (hash of the point, endpoint) in order; maglev: (slot, endpoint); else empty."""

    @property
    def panics(self) -> bool:
        """Whether too few endpoints are healthy, so that all are used; as of the last pick."""

    @property
    def available(self) -> int:
        """Endpoints that can be chosen; as of the last pick."""
