"""The supervisor's process: its event loop, and what the launcher tells it."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import uvloop

from fastmesh import wire

if TYPE_CHECKING:
    from fastmesh.control.workers import Workers

log = logging.getLogger(__name__)


def run(sock: socket.socket, serve: Callable[[wire.Channel], Awaitable[int]]) -> int:
    """Run `serve` on an event loop with the channel to the launcher; its exit code."""

    async def main() -> int:
        channel = wire.Channel(sock)
        try:
            return await serve(channel)
        finally:
            channel.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())


async def obey_launcher(
    channel: wire.Channel,
    workers: Workers,
    on_end: Callable[[], None],
    on_reload: Callable[[], None],
    on_reopen_logs: Callable[[], None],
) -> None:
    """Hear of workers that were forked or ended, and of signals. Runs until the launcher is gone, or cancelled."""
    handlers = {
        signal.SIGTERM: on_end,
        signal.SIGINT: on_end,
        signal.SIGHUP: on_reload,
        signal.SIGUSR1: on_reopen_logs,
    }
    while True:
        try:
            message, _ = await channel.receive()
        except EOFError:
            on_end()
            return
        match message:
            case wire.Forked():
                workers.on_forked(message)
            case wire.Exited():
                workers.on_exited(message)
            case wire.Signalled():
                log.info("received %s", signal.Signals(message.signal).name)
                handlers[signal.Signals(message.signal)]()
