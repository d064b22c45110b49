"""Brings a snapshot to the workers: sockets first, then the snapshot, so that a failure leaves everything as it was."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from fastmesh import wire
from fastmesh.control.sockets import ListeningSockets, address_text
from fastmesh.control.state import ListenerPhase, ListenerState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fastmesh.control.state import State
    from fastmesh.snapshot import Snapshot

log = logging.getLogger(__name__)


class Publisher:
    """What the workers serve, and what a new worker has to be told."""

    def __init__(self, state: State, sockets: ListeningSockets) -> None:
        self._state = state
        self._sockets = sockets
        self._drain_timeout_ms = 0

    def publish(self, snapshot: Snapshot, channels: Iterable[wire.Channel], drain_timeout_ms: int) -> None:
        """Bind what is new and send the snapshot to these workers. Raises BindError, and nothing has changed."""
        change = self._sockets.prepare(snapshot.listeners)
        old = {listener.id: listener for listener in self._state.listeners}
        self._sockets.commit(change)
        self._state.snapshot = snapshot
        self._drain_timeout_ms = drain_timeout_ms
        install = wire.pack(wire.install(snapshot, change.removed_ids, drain_timeout_ms))
        try:
            for channel in channels:
                self._send(channel, install, change.added_ids)
        finally:
            install.close()
        self._note_listeners(snapshot, [old[id] for id in change.removed_ids if id in old])

    def greet(self, channel: wire.Channel) -> None:
        """Bring a new worker to where the others are."""
        if self._state.snapshot is None:
            return
        install = wire.pack(wire.install(self._state.snapshot, (), self._drain_timeout_ms))
        try:
            self._send(channel, install, self._sockets.ids)
        finally:
            install.close()

    def update_endpoints(self, snapshot: Snapshot, channels: Iterable[wire.Channel]) -> None:
        """The same version with other endpoints, as discovery found them: small messages to these workers."""
        old = self._state.snapshot
        before = {service.id: service.endpoints for service in old.services} if old is not None else {}
        self._state.snapshot = snapshot
        changed = [service for service in snapshot.services if before.get(service.id) != service.endpoints]
        for channel in channels:
            for service in changed:
                channel.send(wire.Endpoints(service.id, service.endpoints))

    def _send(self, channel: wire.Channel, install: wire.Packet, listener_ids: Iterable[int]) -> None:
        for listener_id in listener_ids:
            channel.send(wire.Listen(listener_id), [self._sockets.socket_of(listener_id).fileno()])
        channel.send_packet(install)

    def _note_listeners(self, snapshot: Snapshot, removed: list[ListenerState]) -> None:
        draining = [listener for listener in self._state.listeners if listener.phase is ListenerPhase.DRAINING]
        for listener in removed:
            listener.phase = ListenerPhase.DRAINING
            draining.append(listener)
            log.info("listener %s: removed, draining", listener.name)
            asyncio.get_running_loop().call_later(self._drain_timeout_ms / 1000, self._forget, listener)
        listening = [
            ListenerState(listener.id, listener.name, address_text(listener.host, listener.port))
            for listener in snapshot.listeners
        ]
        self._state.listeners = listening + [listener for listener in draining if listener not in listening]

    def _forget(self, listener: ListenerState) -> None:
        self._state.listeners = [other for other in self._state.listeners if other is not listener]
