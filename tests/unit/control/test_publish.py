"""What workers are told of a new snapshot, and what a new worker is told."""

import asyncio
import os
import socket

import pytest

from fastmesh import wire
from fastmesh.control.publish import Publisher
from fastmesh.control.sockets import BindError, ListeningSockets
from fastmesh.control.state import ListenerPhase, State
from tests.mesh import free_port
from tests.unit.control.parts import listener, service, snapshot


class Scene:
    """A publisher, and one worker's ear."""

    def __init__(self) -> None:
        self.state = State("config", 1)
        self.sockets = ListeningSockets()
        self.publisher = Publisher(self.state, self.sockets)
        ours, self.ear = wire.pair()
        self.channel = wire.Channel(ours)

    def publish(self, *args, drain_ms: int = 1000, services=()) -> None:
        self.publisher.publish(snapshot(*args, services=services), [self.channel], drain_ms)

    def heard(self) -> list[wire.AnyMessage]:
        messages = []
        while True:
            try:
                message, fds = wire.receive(self.ear)
            except BlockingIOError:
                return messages
            for fd in fds:
                os.close(fd)
            messages.append(message)

    def phases(self) -> dict[str, ListenerPhase]:
        return {each.address: each.phase for each in self.state.listeners}

    def close(self) -> None:
        self.channel.close()
        self.ear.close()
        self.sockets.close()


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


@in_scene
async def test_listeners_come_before_the_snapshot_that_needs_them(scene):
    first, second = free_port(), free_port()
    scene.publish("v1", listener(1, first), listener(2, second))
    assert scene.heard() == [wire.Listen(1), wire.Listen(2), wire.install(scene.state.snapshot, (), 1000)]
    assert scene.state.version == "v1"


@in_scene
async def test_only_what_is_new_is_sent_and_what_went_is_named(scene):
    first, second, third = free_port(), free_port(), free_port()
    scene.publish("v1", listener(1, first), listener(2, second))
    scene.heard()
    scene.publish("v2", listener(2, second), listener(3, third), drain_ms=77)
    assert scene.heard() == [wire.Listen(3), wire.install(scene.state.snapshot, (1,), 77)]


@in_scene
async def test_a_removed_listener_is_shown_as_draining_until_its_deadline(scene):
    first, second = free_port(), free_port()
    scene.publish("v1", listener(1, first), listener(2, second))
    scene.publish("v2", listener(2, second), drain_ms=20)
    draining, listening = f"127.0.0.1:{first}", f"127.0.0.1:{second}"
    assert scene.phases() == {draining: ListenerPhase.DRAINING, listening: ListenerPhase.LISTENING}
    while len(scene.phases()) > 1:
        await asyncio.sleep(0.005)
    assert scene.phases() == {listening: ListenerPhase.LISTENING}


@in_scene
async def test_an_address_in_use_changes_nothing(scene):
    scene.publish("v1", listener(1, free_port()))
    scene.heard()
    before = scene.state.snapshot, scene.phases()
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(BindError):
        scene.publish("v2", listener(1, taken.getsockname()[1]))
    assert scene.heard() == []
    assert (scene.state.snapshot, scene.phases()) == before


@in_scene
async def test_a_new_worker_is_told_everything(scene):
    scene.publish("v1", listener(1, free_port()), listener(2, free_port()))
    scene.publish("v2", listener(2, free_port()))
    scene.heard()
    scene.publisher.greet(scene.channel)
    assert scene.heard() == [wire.Listen(2), wire.install(scene.state.snapshot, (), 1000)]


@in_scene
async def test_before_the_first_snapshot_there_is_nothing_to_tell(scene):
    scene.publisher.greet(scene.channel)
    assert scene.heard() == []


@in_scene
async def test_discovery_sends_the_endpoints_that_differ(scene):
    scene.publish("v1", services=(service(1, "10.0.0.1"), service(2, "10.0.0.2")))
    scene.heard()
    found = service(2, "10.0.0.2", "10.0.0.3")
    scene.publisher.update_endpoints(snapshot("v1", services=(service(1, "10.0.0.1"), found)), [scene.channel])
    assert scene.heard() == [wire.Endpoints(2, found.endpoints)]
    scene.publisher.greet(scene.channel)
    assert scene.heard()[-1] == wire.install(scene.state.snapshot, (), 1000)
    assert scene.state.snapshot.services[1] == found
