"""Workers are replaced when they die, later and later when they die at once, and ended when told to drain."""

import asyncio
import os
import signal
import socket
from types import SimpleNamespace

import pytest

from fastmesh import wire
from fastmesh.control import workers as module
from fastmesh.control.publish import Publisher
from fastmesh.control.sockets import ListeningSockets
from fastmesh.control.state import State, WorkerPhase
from fastmesh.control.workers import Workers
from tests.unit.control.parts import snapshot


class Shared:
    """Shared memory of which only heartbeats and deaths matter."""

    def __init__(self, count: int) -> None:
        self.fd = os.open("/dev/null", os.O_RDWR)
        self.cleared: list[int] = []
        self.heartbeats_ns = [0] * count

    def clear_gauges(self, worker: int) -> None:
        self.cleared.append(worker)

    def workers(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(worker=slot, heartbeat_ns=beat) for slot, beat in enumerate(self.heartbeats_ns)]


class Scene:
    """Workers, a launcher that forks nothing, and the other ends of the channels."""

    def __init__(self, count: int = 2) -> None:
        self.state = State("config", count)
        self.shared = Shared(count)
        self.publisher = Publisher(self.state, ListeningSockets())
        self.publisher.publish(snapshot("v1"), [], 0)
        ours, theirs = wire.pair()
        self.launcher, self.channel = wire.Channel(theirs), wire.Channel(ours)
        self.workers = Workers(
            self.state, self.channel, self.shared, self.publisher, lambda: os.open("/dev/null", os.O_WRONLY)
        )
        self.ends: dict[int, wire.Channel] = {}
        self.pid = 100

    async def asked(self) -> wire.AnyMessage:
        """What the launcher is asked next; a fork it answers."""
        message, fds = await asyncio.wait_for(self.launcher.receive(), 5)
        if isinstance(message, wire.Fork):
            self.pid += 1
            if message.slot in self.ends:
                self.ends.pop(message.slot).close()
            self.ends[message.slot] = wire.Channel(socket.socket(fileno=fds[0]))
            self.workers.on_forked(wire.Forked(message.slot, self.pid))
        return message

    async def told(self, slot: int) -> wire.AnyMessage:
        message, fds = await asyncio.wait_for(self.ends[slot].receive(), 5)
        for fd in fds:
            os.close(fd)
        return message

    async def serve(self, slot: int) -> None:
        """The worker in a slot says that it serves."""
        self.ends[slot].send(wire.Installed("v1"))
        while self.state.workers[slot].phase is not WorkerPhase.SERVING:
            await asyncio.sleep(0)

    def die(self, slot: int, exit_code: int = -9) -> None:
        self.workers.on_exited(wire.Exited(slot, self.state.workers[slot].pid, exit_code))

    def close(self) -> None:
        for channel in (*self.ends.values(), self.launcher, self.channel, *self.workers.channels):
            channel.close()
        os.close(self.shared.fd)


def in_scene(test):
    """Run the test with a scene, on an event loop."""

    async def main() -> None:
        scene = Scene()
        try:
            await test(scene)
        finally:
            scene.close()

    def run() -> None:
        asyncio.run(main())

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


async def started(scene: Scene) -> None:
    scene.workers.start()
    assert [await scene.asked(), await scene.asked()] == [wire.Fork(0), wire.Fork(1)]


@in_scene
async def test_a_worker_is_told_its_slot_and_the_snapshot(scene):
    await started(scene)
    assert await scene.told(1) == wire.Start(1)
    assert await scene.told(1) == wire.install(scene.state.snapshot, (), 0)
    assert not scene.state.ready
    await scene.serve(1)
    assert scene.state.ready
    assert (scene.state.workers[1].pid, scene.state.workers[1].version) == (102, "v1")


@in_scene
async def test_all_serving_is_waited_for(scene):
    await started(scene)
    waiting = asyncio.ensure_future(scene.workers.first_serving())
    await scene.serve(0)
    assert not waiting.done()
    await scene.serve(1)
    assert await waiting is True


@in_scene
async def test_a_worker_that_never_serves_ends_the_waiting(scene):
    await started(scene)
    waiting = asyncio.ensure_future(scene.workers.first_serving())
    await asyncio.sleep(0)
    scene.die(0, 1)
    assert await waiting is False


@in_scene
async def test_a_dead_worker_is_replaced_at_once_in_its_slot(scene):
    await started(scene)
    await scene.serve(0)
    await scene.serve(1)
    scene.die(1)
    assert scene.shared.cleared == [1]
    assert scene.state.workers[1].last_exit == "killed by SIGKILL"
    assert await scene.asked() == wire.Fork(1)
    assert await scene.told(1) == wire.Start(1)
    await scene.serve(1)
    assert (scene.state.workers[1].restarts, scene.state.workers[1].pid) == (1, 103)
    assert scene.state.workers[0].restarts == 0


@in_scene
async def test_a_crash_loop_backs_off(scene):
    """Seconds to wait after each crash in a row, and after one that came late."""
    await started(scene)
    waits = [scene.workers._backoff(0, lived_s=0.1) for _ in range(14)]
    assert waits[:5] == [0.0, 0.1, 0.2, 0.4, 0.8]
    assert waits[-1] == module.BACKOFF_MAX_S
    assert scene.workers._backoff(1, lived_s=0.1) == 0.0
    assert scene.workers._backoff(0, lived_s=module.STEADY_S + 1) == 0.0


@in_scene
async def test_a_worker_that_waits_for_its_next_start_says_so(scene):
    await started(scene)
    scene.die(0, 1)
    assert await scene.asked() == wire.Fork(0)
    scene.die(0, 1)
    waiting = scene.state.workers[0]
    assert (waiting.phase, waiting.last_exit, waiting.pid) == (WorkerPhase.BACKOFF, "exit status 1", 0)
    assert waiting.next_start_s > scene.state.started_s
    assert await scene.asked() == wire.Fork(0)
    assert waiting.phase is WorkerPhase.STARTING


@in_scene
async def test_a_fork_that_fails_is_tried_again(scene):
    await started(scene)
    scene.workers.on_forked(wire.Forked(0, 0, "Cannot allocate memory"))
    assert scene.state.workers[0].last_exit == "not started: Cannot allocate memory"
    assert await scene.asked() == wire.Fork(0)


@in_scene
async def test_the_end_of_an_earlier_process_is_not_that_of_its_successor(scene):
    await started(scene)
    scene.workers.on_exited(wire.Exited(0, 99, -9))
    assert scene.state.workers[0].last_exit == ""


@in_scene
async def test_draining_tells_everybody_and_replaces_nobody(scene):
    await started(scene)
    for slot in (0, 1):
        await scene.serve(slot)
        await scene.told(slot)
        await scene.told(slot)
    draining = asyncio.ensure_future(scene.workers.drain(500))
    assert [await scene.told(slot) for slot in (0, 1)] == [wire.Drain(500)] * 2
    assert {worker.phase for worker in scene.state.workers} == {WorkerPhase.DRAINING}
    scene.die(0, 0)
    assert not draining.done()
    scene.die(1, -9)
    await asyncio.wait_for(draining, 5)
    assert {worker.phase for worker in scene.state.workers} == {WorkerPhase.STOPPED}
    assert scene.workers.channels == []


def test_a_worker_that_does_not_end_by_the_deadline_is_killed(monkeypatch):
    monkeypatch.setattr(module, "OVERDUE_S", 0.01)

    async def test(scene: Scene) -> None:
        await started(scene)
        draining = asyncio.ensure_future(scene.workers.drain(10))
        assert {await scene.asked() for _ in (0, 1)} == {wire.Kill(pid, signal.SIGKILL) for pid in (101, 102)}
        scene.die(0)
        scene.die(1)
        await asyncio.wait_for(draining, 5)

    in_scene(test)()


@in_scene
async def test_a_worker_that_rejects_the_first_version_ends_the_waiting(scene):
    await started(scene)
    scene.ends[1].send(wire.Rejected("v1", "too many services"))
    assert await asyncio.wait_for(scene.workers.first_serving(), 5) is False


@in_scene
async def test_a_worker_in_backoff_does_not_start_while_draining(scene):
    await started(scene)
    scene.die(0, 1)
    await scene.asked()
    scene.die(0, 1)
    scene.workers._restarts[0].cancel()
    draining = asyncio.ensure_future(scene.workers.drain(0))
    await asyncio.sleep(0)
    scene.die(1, 0)
    await asyncio.wait_for(draining, 5)


@in_scene
async def test_a_worker_that_speaks_rubbish_is_killed(scene):
    await started(scene)
    scene.ends[0]._sock.send(b"rubbish")
    assert await scene.asked() == wire.Kill(101, signal.SIGKILL)


@in_scene
async def test_a_version_that_is_rejected_is_an_error_in_the_state(scene):
    await started(scene)
    scene.ends[0].send(wire.Rejected("v2", "no such regex"))
    while not scene.state.error:
        await asyncio.sleep(0)
    assert scene.state.error == "worker 0 cannot serve version v2: no such regex"


def test_a_worker_whose_heart_stalls_is_killed(monkeypatch):
    monkeypatch.setattr(module, "_WATCH_INTERVAL_S", 0.001)
    monkeypatch.setattr(module, "STALL_WARN_S", 0.02)
    monkeypatch.setattr(module, "STALL_KILL_S", 0.05)

    async def test(scene: Scene) -> None:
        await started(scene)
        scene.shared.heartbeats_ns[1] = 2**63  # one beats on
        watching = asyncio.ensure_future(scene.workers.watch())
        assert await scene.asked() == wire.Kill(101, signal.SIGKILL)
        watching.cancel()

    in_scene(test)()


@pytest.mark.parametrize(
    ("code", "text"), [(0, "exit status 0"), (-11, "killed by SIGSEGV"), (-77, "killed by signal 77")]
)
def test_how_it_ended_is_said_in_words(code, text):
    assert module._exit_text(code) == text
