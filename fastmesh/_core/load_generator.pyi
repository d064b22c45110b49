"""An HTTP/1.1 load generator: open loop at a fixed rate, or closed loop as fast as the answers come.

Latency counts from the moment at which a request was meant to start, so a service that stalls is charged for every
request that it held up, also those that could not even be sent (no coordinated omission).
"""

from typing import final

from fastmesh._core.latency_histogram import LatencyHistogram

@final
class LoadGenerator:
    def __init__(
        self,
        host: str,
        port: int,
        request: bytes,
        *,
        method: str = "GET",
        connections: int = 64,
        rate: float = 0.0,
        duration_s: float = 10.0,
        warmup_s: float = 0.0,
        timeout_s: float = 10.0,
        close: bool = False,
    ) -> None:
        """`host`: an IP address; `request`: head and body as they are sent; `method`: that of the request.

        `rate`: requests a second, at most 10,000,000; 0: closed loop. Requests meant for the first `warmup_s` seconds
        are sent and not counted. `timeout_s` runs from the moment at which a connection takes the request. `close`:
        a new connection for each request. Raises ValueError, OSError, MemoryError.
        """

    def run(self, slice_s: float = 0.1) -> bool:
        """Generate load for at most `slice_s` seconds (at most 60) without the GIL; True when the run is over.

        Begins at the first call. Returns early when a signal arrives. After the end of the duration no request is
        sent, and those under way have until their timeout.
        """

    def stop(self) -> None:
        """End the run now; requests under way are forgotten. The figures stay."""

    def close(self) -> None:
        """`stop`, and close every connection; until then idle ones stay open after the run."""

    @property
    def latency(self) -> LatencyHistogram:
        """From the intended start to the last byte of the response, whatever its status.

        Requests that timed out or were never sent count with the time that they had waited: a lower bound. Those that
        failed otherwise do not count.
        """

    @property
    def delay(self) -> LatencyHistogram:
        """From the intended start to the sending: the wait for a free connection, and the generator's own lateness."""

    @property
    def errors(self) -> dict[str, int]:
        """Requests without a response: `connect`, `reset`, `timeout`, `malformed`."""

    @property
    def statuses(self) -> dict[str, int]:
        """Responses by class: `1xx` (101 only) to `5xx`."""

    @property
    def responses(self) -> int:
        """Responses that were received whole."""

    @property
    def unsent(self) -> int:
        """Requests that were due before the end and found no free connection; known when the run is over."""

    @property
    def received_bytes(self) -> int:
        """Heads and bodies, the warm-up included."""

    @property
    def connected(self) -> int:
        """Connections that are open or being opened."""

    @property
    def connect_error(self) -> str:
        """Why the last connection that failed could not be made; empty when none failed."""

    @property
    def elapsed_s(self) -> float:
        """Seconds since the begin, the warm-up included."""

    @property
    def measured_s(self) -> float:
        """Seconds of the measured window, from the end of the warm-up to now, or to the end and the last response."""
