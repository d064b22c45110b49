"""A data-plane process: an event loop that drives the engine, and the channel on which the supervisor speaks."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
import time
from typing import TYPE_CHECKING

import uvloop

from fastmesh import wire
from fastmesh._core.engine import Engine
from fastmesh._core.openssl import TlsUnavailable
from fastmesh._core.shared import SharedMemory

if TYPE_CHECKING:
    from fastmesh._core.tables import Tables
    from fastmesh.identity.credentials import Credentials, SnapshotCredentials
    from fastmesh.snapshot import Snapshot

DRAIN_GRACE_S = 0.5
"""After the drain's deadline: time for the engine to close what was left."""

_IDLE_CHECK_S = 0.02


def main(sock: socket.socket) -> int:
    """Serve until the supervisor says to drain, or is gone."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(sock))


async def _serve(sock: socket.socket) -> int:
    channel = wire.Channel(sock)
    try:
        start, fds = await channel.receive()
        if not isinstance(start, wire.Start):
            raise wire.WireError(f"a worker begins with Start, not {type(start).__name__}")
        worker = _Worker(start.slot, SharedMemory.attach(fds[0]), channel)
        try:
            worker.begin(fds[1])
            await worker.obey()
        finally:
            worker.close()
    except EOFError:
        return 1  # the supervisor is gone, and the launcher ends us next
    finally:
        channel.close()
    return 0


class _Worker:
    def __init__(self, slot: int, shared: SharedMemory, channel: wire.Channel) -> None:
        self._channel = channel
        self._shared = shared
        self._engine = Engine(shared, slot)
        self._loop = asyncio.get_running_loop()
        self._credentials: Credentials | None = None  # made for the first snapshot that uses TLS
        self._new_listeners: dict[int, int] = {}  # listener id: descriptor, until the next Install

    def begin(self, access_log_fd: int) -> None:
        self._engine.set_access_log(access_log_fd)
        self._loop.add_reader(self._engine.fileno(), self._engine.run)

    def close(self) -> None:
        self._loop.remove_reader(self._engine.fileno())
        self._engine.close()
        for fd in self._new_listeners.values():
            os.close(fd)

    async def obey(self) -> None:
        """Do what the supervisor says, in order; returns when drained. Raises EOFError when it is gone."""
        while True:
            message, fds = await self._channel.receive()
            match message:
                case wire.Listen():
                    self._keep_listener(message.listener_id, fds[0])
                case wire.Install():
                    await self._install(message)
                case wire.Endpoints():
                    self._engine.update_endpoints(message.service_id, message.endpoints)
                case wire.Drain():
                    await self._drain(message.timeout_ms)
                    return
                case _:
                    raise wire.WireError(f"a worker has no use for {type(message).__name__}")

    def _keep_listener(self, listener_id: int, fd: int) -> None:
        if (old := self._new_listeners.pop(listener_id, None)) is not None:
            os.close(old)
        self._new_listeners[listener_id] = fd

    async def _install(self, message: wire.Install) -> None:
        version = message.frame.version
        gc.disable()  # a collection in the midst of so many new objects would hold requests up
        try:
            tables = await self._compile(message)
            # From here on without an await: no request sees new tables with old listeners.
            self._engine.install(tables)
            for listener_id in message.removed_listener_ids:
                self._engine.remove_listener(listener_id, message.drain_timeout_ms)
            while self._new_listeners:
                listener_id, fd = self._new_listeners.popitem()
                self._engine.add_listener(listener_id, fd)
        except (ValueError, OSError, TlsUnavailable) as error:
            self._channel.send(wire.Rejected(version, str(error)))
        else:
            self._channel.send(wire.Installed(version))
        finally:
            gc.freeze()  # what there is now has no part in collections: it goes when nothing refers to it
            gc.enable()

    async def _compile(self, message: wire.Install) -> Tables:
        """In slices: requests are served in between."""
        decoding = wire.snapshot_of(message)
        while True:
            try:
                next(decoding)
            except StopIteration as end:
                tables = self._engine.begin(end.value, self._credentials_of(end.value))
                break
            await asyncio.sleep(0)
        while not tables.step():
            await asyncio.sleep(0)
        return tables

    def _credentials_of(self, snapshot: Snapshot) -> SnapshotCredentials | None:
        if not any(one.tls for one in snapshot.listeners) and not any(one.tls for one in snapshot.services):
            return None
        if self._credentials is None:
            from fastmesh.identity.credentials import Credentials  # a worker without TLS never loads cryptography

            self._credentials = Credentials()
        return self._credentials.of(snapshot)

    async def _drain(self, timeout_ms: int) -> None:
        """Until no client is left; the supervisor may go in the meantime."""
        self._engine.drain(timeout_ms)
        deadline_s = time.monotonic() + timeout_ms / 1000 + DRAIN_GRACE_S
        while self._is_busy() and time.monotonic() < deadline_s:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._channel.receive(), _IDLE_CHECK_S)

    def _is_busy(self) -> bool:
        live = self._engine.live()
        return live["downstream"] + live["exchange"] > 0
