"""The workers' processes: started, heard, replaced when they die or hang, ended."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastmesh import wire
from fastmesh.control.state import WorkerPhase, WorkerState

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastmesh._core.shared import SharedMemory
    from fastmesh.control.publish import Publisher
    from fastmesh.control.state import State

BACKOFF_FIRST_S = 0.1
BACKOFF_MAX_S = 30.0
STEADY_S = 30.0
"""A worker that lived this long did not crash in a loop: the next one starts at once."""

OVERDUE_S = 3.0
"""Past the deadline of a drain; then a worker that has not ended is killed."""

STALL_WARN_S = 10.0
STALL_KILL_S = 30.0
_WATCH_INTERVAL_S = 1.0

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Process:
    """The process in a slot."""

    channel: wire.Channel
    reader: asyncio.Task[None]
    started_s: float  # time.monotonic()
    pid: int = 0  # 0: the launcher has not answered yet
    stalled: bool = False


class Workers:
    """Keeps a process in each slot until told to drain."""

    def __init__(
        self,
        state: State,
        launcher: wire.Channel,
        shared: SharedMemory,
        publisher: Publisher,
        open_log_pipe: Callable[[], int],
    ) -> None:
        """`open_log_pipe`: the write end of a new pipe for access log lines."""
        self._state = state
        self._launcher = launcher
        self._shared = shared
        self._publisher = publisher
        self._open_log_pipe = open_log_pipe
        self._processes: dict[int, _Process] = {}
        self._crashes = [0] * state.worker_count  # in a row
        self._restarts: dict[int, asyncio.TimerHandle] = {}
        self._draining = False
        self._changed = asyncio.Event()
        state.workers = [WorkerState(slot) for slot in range(state.worker_count)]

    @property
    def channels(self) -> list[wire.Channel]:
        return [process.channel for process in self._processes.values()]

    def start(self) -> None:
        for slot in range(self._state.worker_count):
            self._start(slot)

    async def first_serving(self) -> bool:
        """Wait until every worker serves; False when one of them failed instead."""
        while True:
            if all(worker.phase is WorkerPhase.SERVING for worker in self._state.workers):
                return True
            if self._state.error or any(worker.last_exit for worker in self._state.workers):
                return False
            await self._changed.wait()

    async def drain(self, timeout_ms: int) -> None:
        """Have every worker finish what it does; returns when all have ended, by themselves or not."""
        self._draining = True
        for restart in self._restarts.values():
            restart.cancel()
        for slot, process in self._processes.items():
            self._state.workers[slot].phase = WorkerPhase.DRAINING
            process.channel.send(wire.Drain(timeout_ms))
        overdue = asyncio.get_running_loop().call_later(timeout_ms / 1000 + OVERDUE_S, self._kill_all)
        while self._processes:
            await self._changed.wait()
        overdue.cancel()

    def _kill_all(self) -> None:
        for slot, process in self._processes.items():
            log.error("worker %d: still there after the deadline: killing pid %d", slot, process.pid)
            self._launcher.send(wire.Kill(process.pid, signal.SIGKILL))

    def on_forked(self, message: wire.Forked) -> None:
        process = self._processes[message.slot]
        if message.pid == 0:
            log.error("worker %d: cannot fork: %s", message.slot, message.error)
            self._ended(message.slot, f"not started: {message.error}")
            return
        process.pid = self._state.workers[message.slot].pid = message.pid
        log.debug("worker %d: started, pid %d", message.slot, message.pid)

    def on_exited(self, message: wire.Exited) -> None:
        process = self._processes.get(message.slot)
        if process is not None and process.pid == message.pid:
            self._ended(message.slot, _exit_text(message.exit_code))

    async def watch(self) -> None:
        """Warn of workers whose heartbeat stalls, then replace them. Runs until cancelled."""
        while True:
            await asyncio.sleep(_WATCH_INTERVAL_S)
            heartbeats_ns = {stats.worker: stats.heartbeat_ns for stats in self._shared.workers()}
            for slot, process in self._processes.items():
                self._check_heartbeat(slot, process, heartbeats_ns[slot])

    def _check_heartbeat(self, slot: int, process: _Process, heartbeat_ns: int) -> None:
        stalled_s = time.monotonic() - max(heartbeat_ns / 1e9, process.started_s)
        if stalled_s > STALL_KILL_S and process.pid:
            log.error("worker %d: no sign of life for %.0f s: killing pid %d", slot, stalled_s, process.pid)
            self._launcher.send(wire.Kill(process.pid, signal.SIGKILL))
        elif stalled_s > STALL_WARN_S and not process.stalled:
            process.stalled = True
            log.warning("worker %d: no sign of life for %.0f s, pid %d", slot, stalled_s, process.pid)
        elif stalled_s < STALL_WARN_S:
            process.stalled = False

    def _start(self, slot: int) -> None:
        self._restarts.pop(slot, None)
        state = self._state.workers[slot]
        ours, theirs = wire.pair()
        with theirs:
            channel = wire.Channel(ours)
            self._launcher.send(wire.Fork(slot), [theirs.fileno()])
        log_fd = self._open_log_pipe()
        channel.send(wire.Start(slot), [self._shared.fd, log_fd])
        os.close(log_fd)
        self._publisher.greet(channel)
        reader = asyncio.get_running_loop().create_task(self._hear(slot, channel))
        self._processes[slot] = _Process(channel, reader, time.monotonic())
        state.phase, state.started_s, state.next_start_s = WorkerPhase.STARTING, time.time(), 0.0

    async def _hear(self, slot: int, channel: wire.Channel) -> None:
        state = self._state.workers[slot]
        try:
            while True:
                message, _ = await channel.receive()
                match message:
                    case wire.Installed():
                        state.version = message.version
                        if state.phase is WorkerPhase.STARTING:
                            state.phase = WorkerPhase.SERVING
                        log.debug("worker %d: serves version %s", slot, message.version)
                    case wire.Rejected():
                        log.error("worker %d: cannot serve version %s: %s", slot, message.version, message.error)
                        self._state.error = f"worker {slot} cannot serve version {message.version}: {message.error}"
                self._note_change()
        except EOFError:
            pass  # the launcher tells how it ended
        except wire.WireError as error:
            log.error("worker %d: %s; replacing it", slot, error)
            self._launcher.send(wire.Kill(self._processes[slot].pid, signal.SIGKILL))

    def _ended(self, slot: int, how: str) -> None:
        process = self._processes.pop(slot)
        process.reader.cancel()
        process.channel.close()
        self._shared.clear_gauges(slot)
        state = self._state.workers[slot]
        pid, state.pid, state.last_exit, state.version = state.pid, 0, how, ""
        if self._draining:
            state.phase = WorkerPhase.STOPPED
            log.log(logging.INFO if how == "exit status 0" else logging.WARNING, "worker %d: ended, %s", slot, how)
        else:
            lived_s = time.monotonic() - process.started_s
            delay_s = self._backoff(slot, lived_s)
            log.error("worker %d: pid %d ended, %s; next start in %.1f s", slot, pid, how, delay_s)
            state.phase, state.next_start_s = WorkerPhase.BACKOFF, time.time() + delay_s
            state.restarts += 1
            self._restarts[slot] = asyncio.get_running_loop().call_later(delay_s, self._start, slot)
        self._note_change()

    def _backoff(self, slot: int, lived_s: float) -> float:
        """Seconds to wait: none after a first crash, then doubling."""
        self._crashes[slot] = 1 if lived_s > STEADY_S else self._crashes[slot] + 1
        repeated = self._crashes[slot] - 2
        return 0.0 if repeated < 0 else min(BACKOFF_FIRST_S * 2 ** min(repeated, 20), BACKOFF_MAX_S)

    def _note_change(self) -> None:
        self._changed.set()
        self._changed.clear()


def _exit_text(exit_code: int) -> str:
    if exit_code >= 0:
        return f"exit status {exit_code}"
    try:
        return f"killed by {signal.Signals(-exit_code).name}"
    except ValueError:
        return f"killed by signal {-exit_code}"
