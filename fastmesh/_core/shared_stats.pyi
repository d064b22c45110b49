"""Figures read from shared memory, summed over the workers. Made by fastmesh._core.shared only."""

from typing import final

@final
class SeriesStats:
    """One listener, route, service and subset."""

    @property
    def requests(self) -> tuple[int, ...]:
        """By status class, 0 to 5; [0]: ended without a status."""
    @property
    def reasons(self) -> tuple[int, ...]:
        """By reason, as in fastmesh._core.reason.NAMES."""
    @property
    def bytes_in(self) -> int: ...
    @property
    def bytes_out(self) -> int: ...

@final
class ServiceStats:
    @property
    def duration_us(self) -> tuple[int, ...]:
        """Histogram (fastmesh._core.histogram): request head to the end of the response."""
    @property
    def duration_sum_us(self) -> int: ...
    @property
    def upstream_us(self) -> tuple[int, ...]:
        """Histogram: request sent on, to the response head."""
    @property
    def upstream_sum_us(self) -> int: ...
    @property
    def connects(self) -> int: ...
    @property
    def connect_failures(self) -> int: ...
    @property
    def reuses(self) -> int: ...
    @property
    def retries(self) -> int: ...
    @property
    def panics(self) -> int: ...
    @property
    def active(self) -> int: ...

@final
class EndpointStats:
    @property
    def requests(self) -> int: ...
    @property
    def failures(self) -> int: ...
    @property
    def connect_failures(self) -> int: ...
    @property
    def active(self) -> int: ...
    @property
    def connections(self) -> int: ...
    @property
    def idle(self) -> int: ...
    @property
    def ewma_us(self) -> int:
        """The mean over the workers that have an estimate, 0 when none has."""

@final
class ListenerStats:
    @property
    def accepted(self) -> int: ...
    @property
    def refused(self) -> int: ...
    @property
    def connections(self) -> int: ...
    @property
    def bytes_in(self) -> int: ...
    @property
    def bytes_out(self) -> int: ...
    @property
    def handshakes(self) -> int:
        """TLS handshakes that succeeded."""
    @property
    def handshakes_resumed(self) -> int: ...
    @property
    def tls_failures(self) -> tuple[int, ...]:
        """By cause, as in fastmesh._core.tls.FAILURES."""

@final
class WorkerStats:
    @property
    def worker(self) -> int: ...
    @property
    def pid(self) -> int:
        """0: no process has this slot."""
    @property
    def started_ns(self) -> int:
        """CLOCK_MONOTONIC, as all times here."""
    @property
    def heartbeat_ns(self) -> int: ...
    @property
    def snapshot(self) -> int:
        """The first 8 bytes of the version that is served, as a number."""
    @property
    def wakes(self) -> int: ...
    @property
    def events(self) -> int: ...
    @property
    def log_lines(self) -> int: ...
    @property
    def log_dropped(self) -> int: ...
    @property
    def limiter_evictions(self) -> int: ...
    @property
    def http2_attacks(self) -> tuple[int, ...]:
        """HTTP/2 peers that were cut off, by kind as in fastmesh._core.http2_guard.ATTACKS."""
    @property
    def buffer_bytes(self) -> int: ...
    @property
    def live(self) -> tuple[int, ...]:
        """Live objects by kind, as in fastmesh._core.engine.LIVE_KINDS."""
