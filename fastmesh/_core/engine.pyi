"""The data plane of one worker: an epoll set of its own that carries the traffic, driven from the event loop."""

from typing import final

from fastmesh._core.shared import SharedMemory
from fastmesh._core.tables import Tables, TlsCredentials
from fastmesh.snapshot import Endpoint, Snapshot

LIVE_KINDS: tuple[str, ...]
"""The kinds of live objects, by index in the worker's shared gauges; all are 0 when nothing goes on."""

@final
class Engine:
    def __init__(self, shared: SharedMemory, worker: int) -> None:
        """`worker`: the slot in shared memory that this process writes to. Raises OSError."""

    def fileno(self) -> int:
        """The epoll descriptor, for `loop.add_reader`."""

    def run(self) -> None:
        """Handle what is ready, bounded in rounds and in time. Never raises: it is called by the loop's reader."""

    def begin(self, snapshot: Snapshot, credentials: TlsCredentials | None = None) -> Tables:
        """Begin to compile a snapshot; call `Tables.step` until it is True, then `install`.

        `credentials`: for a snapshot that uses TLS.
        """

    def install(self, tables: Tables) -> None:
        """Swap: requests that begin from now on are served by these. Raises ValueError if they are incomplete."""

    def update_endpoints(self, service_id: int, endpoints: tuple[Endpoint, ...]) -> None:
        """Replace the endpoints of a service (discovery). Unknown services are ignored."""

    def add_listener(self, listener_id: int, fd: int) -> None:
        """Accept on a listening socket, which the engine owns from now on. A listener that has one moves to it; its
        connections stay. Raises ValueError when the listener is not in the tables, OSError.
        """

    def remove_listener(self, listener_id: int, deadline_ms: int) -> None:
        """Stop accepting there. Idle connections close now, exchanges finish; what is left after `deadline_ms` (from
        now) is closed.
        """

    def drain(self, deadline_ms: int) -> None:
        """The same for every listener."""

    def set_access_log(self, fd: int) -> None:
        """Write access log lines to this non-blocking descriptor (a pipe); owned by the engine. -1: none."""

    def live(self) -> dict[str, int]:
        """Live objects by kind."""

    def close(self) -> None:
        """Close every connection and free everything."""
