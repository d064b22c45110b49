"""The memory that supervisor and workers share: counters, gauges, health flags, rate limits.

A worker writes its own slots, from C. The readers here sum over the workers; they leave pages alone that nobody has
written, so that looking costs no memory. Figures are read while they change: each is right, together they may differ by
a request in flight.
"""

from collections.abc import Iterable
from typing import Literal, Self, TypeAlias, final

from fastmesh._core.shared_stats import EndpointStats as EndpointStats
from fastmesh._core.shared_stats import ListenerStats as ListenerStats
from fastmesh._core.shared_stats import SeriesStats as SeriesStats
from fastmesh._core.shared_stats import ServiceStats as ServiceStats
from fastmesh._core.shared_stats import WorkerStats as WorkerStats

WORKERS_MAX: int
SERIES_MAX: int
SERVICES_MAX: int
ENDPOINTS_MAX: int
LISTENERS_MAX: int
"""Ids run from 1 to one less than this; id 0 counts what has none."""

_Kind: TypeAlias = Literal["series", "service", "endpoint", "listener"]

@final
class SharedMemory:
    """One process's view of the region; unmapped, and its descriptor closed, when the object goes."""

    def __new__(cls, fd: int) -> Self:
        """The same as `attach`."""

    @staticmethod
    def create(workers: int) -> SharedMemory:
        """A new region for workers 0 .. `workers` - 1, all zeros. Raises ValueError, OSError."""

    @staticmethod
    def attach(fd: int) -> SharedMemory:
        """The view of another process, from the descriptor it inherited; owns `fd` from now on if it succeeds.

        Raises ValueError when the region was made by another build of fastmesh, OSError.
        """

    @property
    def fd(self) -> int:
        """The descriptor, closed on exec: hand it to a worker with `pass_fds`."""

    @property
    def worker_count(self) -> int:
        """For how many workers the region was made."""

    @property
    def resident_bytes(self) -> int:
        """Memory that the region takes: only pages that were written."""

    def series(self, series_id: int) -> SeriesStats:
        """Summed over workers. Raises IndexError."""

    def service(self, service_id: int) -> ServiceStats:
        """Summed over workers. Raises IndexError."""

    def endpoint(self, endpoint_id: int) -> EndpointStats:
        """Summed over workers. Raises IndexError."""

    def endpoints(self, endpoint_ids: Iterable[int]) -> EndpointStats:
        """Summed over workers and ids; of the estimates there is no sum (0). Raises IndexError."""

    def listener(self, listener_id: int) -> ListenerStats:
        """Summed over workers. Raises IndexError."""

    def workers(self) -> list[WorkerStats]:
        """Each worker's own figures, by number; of slots that no process has had too (pid 0)."""

    def used(self, kind: _Kind, ids: Iterable[int]) -> list[int]:
        """Those of `ids` for which anything was counted, thousands in a millisecond. Raises ValueError, IndexError."""

    def limiter_evictions(self) -> int:
        """Rate-limit buckets that were pushed out before they were full, in all workers."""

    def is_healthy(self, endpoint_id: int) -> bool:
        """What the last active check said; True when there was none. Raises IndexError."""

    def set_health(self, endpoint_id: int, healthy: bool) -> None:
        """Call `bump_health` after the last of several. Raises IndexError."""

    def bump_health(self) -> None:
        """Tell the workers that health flags have changed."""

    def clear_gauges(self, worker: int) -> None:
        """After a worker's death, before its successor starts: its gauges and pid to 0. Counters stay.

        Raises IndexError.
        """

    def reset_id(self, kind: _Kind, id: int) -> None:
        """Zero the slot of a recycled id in all workers; an endpoint is then healthy. Raises ValueError, IndexError."""

    def add(self, kind: _Kind | Literal["worker"], worker: int, id: int, word: int, amount: int) -> None:
        """Add to a 64-bit word of a slot, numbered as in shared.pxd: what a worker does in C. For tests and tools.

        `id` is ignored for a worker. Raises ValueError, IndexError.
        """
