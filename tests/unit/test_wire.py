"""Messages between our processes: whole, bounded, with exactly their descriptors."""

import array
import asyncio
import os
import socket

import msgpack
import msgspec
import pytest

from fastmesh import wire
from fastmesh.snapshot import AccessLog, Endpoint, Snapshot
from tests.unit.control.parts import service


def snapshot(filler: int = 0) -> Snapshot:
    return Snapshot("v1", (), (), (), (), AccessLog(template="x" * filler))


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture
def ends():
    ours, theirs = wire.pair()
    with ours, theirs:
        yield ours, theirs


@pytest.mark.parametrize(
    "message",
    [
        wire.Kill(7, 9),
        wire.Forked(1, 0, "no memory"),
        wire.Exited(2, 77, -9),
        wire.install(snapshot(), (3, 4), 30_000),
        wire.Endpoints(5, (Endpoint(1, "127.0.0.1", 80, 2, (("version", "v1"),)),)),
        wire.Drain(1000),
    ],
    ids=lambda message: type(message).__name__,
)
def test_message_arrives_as_it_was_sent(ends, message):
    wire.send(ends[0], wire.pack(message))
    assert wire.receive(ends[1]) == (message, ())


def test_messages_are_plain_msgpack(ends):
    wire.send(ends[0], wire.pack(wire.Exited(2, 77, -9)))
    assert msgpack.unpackb(ends[1].recv(1000)) == ["Exited", 2, 77, -9]


def test_messages_keep_their_bounds_and_their_descriptors(ends):
    before = descriptors()
    read, write = os.pipe()
    wire.send(ends[0], wire.pack(wire.Fork(1), [write]))
    wire.send(ends[0], wire.pack(wire.Drain(5)))
    wire.send(ends[0], wire.pack(wire.Start(0), [read, write]))
    os.close(read)
    os.close(write)
    _, (first,) = wire.receive(ends[1])
    message, none = wire.receive(ends[1])
    _, (other_read, other_write) = wire.receive(ends[1])
    assert (message, none) == (wire.Drain(5), ())
    os.write(first, b"through the passed descriptor")
    assert os.read(other_read, 100) == b"through the passed descriptor"
    for fd in (first, other_read, other_write):
        assert not os.get_inheritable(fd)
        os.close(fd)
    assert descriptors() == before


def test_a_large_message_reaches_every_receiver_through_one_sealed_memfd(ends):
    before = descriptors()
    message = wire.install(snapshot(5_000_000), (), 0)
    packet = wire.pack(message)
    assert packet.data == wire.SPILLED
    for _ in range(3):
        wire.send(ends[0], packet)
    with pytest.raises(OSError):
        os.write(packet.spill_fd, b"a change of mind")
    packet.close()
    for _ in range(3):
        assert wire.receive(ends[1]) == (message, ())
    assert descriptors() == before


def test_a_snapshot_is_taken_apart_and_put_together_again(ends):
    services = tuple(service(number, "10.0.0.1", "10.0.0.2") for number in range(2 * wire.PIECE_PARTS_MAX + 1))
    sent = Snapshot("v1", (), services, (), ())
    wire.send(ends[0], wire.pack(wire.install(sent, (7,), 5)))
    message, _ = wire.receive(ends[1])
    decoding = wire.snapshot_of(message)
    steps = 0
    with pytest.raises(StopIteration) as end:
        while True:
            next(decoding)
            steps += 1
    assert steps == 3
    assert end.value.value == sent
    assert (message.removed_listener_ids, message.drain_timeout_ms) == ((7,), 5)


def test_a_wrong_number_of_descriptors_is_refused_before_it_is_sent():
    with pytest.raises(ValueError, match="takes 1 descriptors, not 0"):
        wire.pack(wire.Fork(1))


def test_nothing_to_read_is_not_the_end(ends):
    with pytest.raises(BlockingIOError):
        wire.receive(ends[1])


def test_the_end_of_the_other_process_is_the_end_of_the_file(ends):
    ends[0].close()
    with pytest.raises(EOFError):
        wire.receive(ends[1])


@pytest.mark.parametrize(
    ("data", "fd_count"),
    [
        (b"\x00", 0),
        (msgspec.msgpack.encode(["Unheard", 1]), 0),
        (msgspec.msgpack.encode(["Drain", "soon"]), 0),
        (msgspec.msgpack.encode(["Drain", 1]), 2),  # descriptors that nobody asked for
        (msgspec.msgpack.encode(["Fork", 1]), 0),  # a descriptor is missing
        (wire.SPILLED, 0),
        (b"x" * (wire.INLINE_MAX_BYTES + 1), 0),
        (msgspec.msgpack.encode(["Drain", 1]), wire.FDS_MAX + 1),
    ],
)
def test_rubbish_is_an_error_and_leaves_no_descriptor(ends, data, fd_count):
    before = descriptors()
    fds = array.array("i", [ends[0].fileno()] * fd_count)
    ends[0].sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)] if fd_count else [])
    with pytest.raises(wire.WireError):
        wire.receive(ends[1])
    assert descriptors() == before


def test_a_receiver_that_is_slow_gets_all_in_order():
    async def main() -> None:
        before = descriptors()
        ours, theirs = wire.pair()
        sender, receiver = wire.Channel(ours), wire.Channel(theirs)
        read, write = os.pipe()
        for number in range(3000):
            sender.send(wire.Listen(number), [write])
        os.close(write)
        for number in range(3000):
            message, (fd,) = await receiver.receive()
            assert message == wire.Listen(number)
            os.close(fd)
        assert os.read(read, 1) == b""  # no copy of the write end is left
        os.close(read)
        sender.close()
        with pytest.raises(EOFError):
            await receiver.receive()
        receiver.close()
        assert descriptors() <= before

    asyncio.run(main())


def test_a_receiver_that_reads_nothing_is_given_up_on():
    async def main() -> None:
        before = descriptors()
        ours, theirs = wire.pair()
        sender, receiver = wire.Channel(ours), wire.Channel(theirs)
        for _ in range(wire.UNSENT_MAX * 2):
            sender.send(wire.Drain(1))
        received = 0
        with pytest.raises(EOFError):
            while await receiver.receive():
                received += 1
        assert 0 < received < wire.UNSENT_MAX
        receiver.close()
        assert descriptors() <= before

    asyncio.run(main())


def test_sending_to_a_process_that_is_gone_is_no_error():
    async def main() -> None:
        ours, theirs = wire.pair()
        theirs.close()
        sender = wire.Channel(ours)
        sender.send(wire.Drain(1))
        sender.close()
        sender.send(wire.Drain(1))

    asyncio.run(main())


def test_receiving_can_be_cancelled_and_taken_up_again():
    async def main() -> None:
        ours, theirs = wire.pair()
        sender, receiver = wire.Channel(ours), wire.Channel(theirs)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(receiver.receive(), 0.01)
        sender.send(wire.Drain(1))
        assert await receiver.receive() == (wire.Drain(1), ())
        sender.close()
        receiver.close()

    asyncio.run(main())
