"""What our processes say to each other: msgpack messages over Unix sockets, with descriptors.

Each pair of processes (launcher and supervisor, supervisor and worker) shares one AF_UNIX SOCK_SEQPACKET pair. The
kernel keeps the bounds of messages and hands descriptors (SCM_RIGHTS) over with exactly the message that they belong
to, so there is no stream to cut up and no descriptor to match with bytes. A socket carries small messages only: a body
beyond `INLINE_MAX_BYTES` (a snapshot may take megabytes) goes into a sealed memfd, once for all receivers, and the
packet holds `SPILLED` and that memfd as its last descriptor. Hence no half message, no buffer that grows with a slow
reader, and a bound on every size. The end of the other process reads as the end of the file.

Supervisor to worker: `Start`, then any number of `Listen`, `Install`, `Endpoints`, and one `Drain`.
"""

from __future__ import annotations

import array
import asyncio
import fcntl
import os
import socket
from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import msgspec

from fastmesh.snapshot import Endpoint, Route, Service, Snapshot

INLINE_MAX_BYTES = 32 * 1024
SPILL_MAX_BYTES = 256 * 1024 * 1024
PIECE_PARTS_MAX = 200
FDS_MAX = 8
UNSENT_MAX = 4096
"""Messages that wait for one receiver; more, and it counts as dead."""

SPILLED = b"\xc1"
"""Stands for a body in a memfd; msgpack never begins a message with this byte."""

_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
_FD_BYTES = array.array("i").itemsize


class WireError(Exception):
    """The other side sent something that is no message: the channel is of no more use."""


class Message(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Base of all messages; `fd_count` is the number of descriptors that travel with one."""

    fd_count: ClassVar[int] = 0


class Fork(Message, frozen=True):
    """Supervisor to launcher: fork a worker; descriptor: its end of the channel to the supervisor."""

    fd_count: ClassVar[int] = 1
    slot: int


class Kill(Message, frozen=True):
    """Supervisor to launcher: send a signal to a worker, if it still runs (only its parent can know)."""

    pid: int
    signal: int


class Forked(Message, frozen=True):
    """Launcher to supervisor: the answer to `Fork`; pid 0: `error` says why not."""

    slot: int
    pid: int
    error: str = ""


class Exited(Message, frozen=True):
    """Launcher to supervisor: a worker ended; `exit_code` is negative for a signal, as in subprocess."""

    slot: int
    pid: int
    exit_code: int


class Signalled(Message, frozen=True):
    """Launcher to supervisor: the launcher received a signal that is meant for the whole mesh."""

    signal: int


class Start(Message, frozen=True):
    """Supervisor to worker, first of all; descriptors: shared memory, and the pipe for access log lines."""

    fd_count: ClassVar[int] = 2
    slot: int


class Listen(Message, frozen=True):
    """A listening socket, put to use by the next `Install`; replaces the one that the listener had."""

    fd_count: ClassVar[int] = 1
    listener_id: int


class Install(Message, frozen=True):
    """A snapshot. In one step the worker serves it, accepts on the new listeners and drains those that went.

    Services and routes stand apart, a few hundred in each piece, so that a worker can decode them between requests.
    """

    frame: Snapshot  # without services and routes
    services: tuple[msgspec.Raw, ...]
    routes: tuple[msgspec.Raw, ...]
    removed_listener_ids: tuple[int, ...]
    drain_timeout_ms: int


class Installed(Message, frozen=True):
    """Worker to supervisor: it serves this version."""

    version: str


class Rejected(Message, frozen=True):
    """Worker to supervisor: it cannot serve this version and keeps the one before."""

    version: str
    error: str


class Endpoints(Message, frozen=True):
    """Discovery: a service's endpoints are these now."""

    service_id: int
    endpoints: tuple[Endpoint, ...]


class Drain(Message, frozen=True):
    """Accept nothing more, finish what runs, end by the deadline."""

    timeout_ms: int


AnyMessage = (
    Fork | Kill | Forked | Exited | Signalled | Start | Listen | Install | Installed | Rejected | Endpoints | Drain
)

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[AnyMessage] = msgspec.msgpack.Decoder(AnyMessage)


_services_decoder = msgspec.msgpack.Decoder(tuple[Service, ...])
_routes_decoder = msgspec.msgpack.Decoder(tuple[Route, ...])


def install(snapshot: Snapshot, removed_listener_ids: tuple[int, ...], drain_timeout_ms: int) -> Install:
    """The message that brings a snapshot."""
    frame = msgspec.structs.replace(snapshot, services=(), routes=())
    return Install(frame, _pieces(snapshot.services), _pieces(snapshot.routes), removed_listener_ids, drain_timeout_ms)


def _pieces(parts: tuple[Service, ...] | tuple[Route, ...]) -> tuple[msgspec.Raw, ...]:
    starts = range(0, len(parts), PIECE_PARTS_MAX)
    return tuple(msgspec.Raw(_encoder.encode(parts[start : start + PIECE_PARTS_MAX])) for start in starts)


def snapshot_of(message: Install) -> Generator[None, None, Snapshot]:
    """The snapshot that the message brings, decoded by and by: each step is the work of about a millisecond."""
    services: list[Service] = []
    routes: list[Route] = []
    for piece in message.services:
        services += _services_decoder.decode(piece)
        yield
    for piece in message.routes:
        routes += _routes_decoder.decode(piece)
        yield
    return msgspec.structs.replace(message.frame, services=tuple(services), routes=tuple(routes))


@dataclass(slots=True)
class Packet:
    """An encoded message, ready to be sent any number of times. Owns `spill_fd`, not `fds`."""

    data: bytes
    fds: tuple[int, ...] = ()
    spill_fd: int = -1  # memfd that holds the body, or -1

    @property
    def all_fds(self) -> tuple[int, ...]:
        return self.fds if self.spill_fd < 0 else (*self.fds, self.spill_fd)

    def close(self) -> None:
        if self.spill_fd >= 0:
            os.close(self.spill_fd)
            self.spill_fd = -1


def pair() -> tuple[socket.socket, socket.socket]:
    """Two ends of a new channel, non-blocking, not inherited by other programs."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in ends:
        end.setblocking(False)
    return ends


def pack(message: AnyMessage, fds: Sequence[int] = ()) -> Packet:
    """Encode a message; raises ValueError for a wrong number of descriptors, OSError when there is no memory."""
    if len(fds) != message.fd_count:
        raise ValueError(f"{type(message).__name__} takes {message.fd_count} descriptors, not {len(fds)}")
    body = _encoder.encode(message)
    if len(body) <= INLINE_MAX_BYTES:
        return Packet(body, tuple(fds))
    return Packet(SPILLED, tuple(fds), _spill(body))


def _spill(body: bytes) -> int:
    if len(body) > SPILL_MAX_BYTES:
        raise ValueError(f"a message of {len(body)} bytes is too large; the limit is {SPILL_MAX_BYTES}")
    fd = os.memfd_create("fastmesh-message", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with open(fd, "wb", closefd=False) as file:
        file.write(body)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
    return fd


def send(sock: socket.socket, packet: Packet) -> None:
    """Send at once or not at all. Raises BlockingIOError when the socket is full, OSError when nobody reads it."""
    socket.send_fds(sock, [packet.data], list(packet.all_fds), socket.MSG_NOSIGNAL)


def receive(sock: socket.socket) -> tuple[AnyMessage, tuple[int, ...]]:
    """The next message with its descriptors, which the caller owns.

    Raises BlockingIOError when there is none yet, EOFError when the other end is gone, WireError for rubbish.
    """
    try:
        data, ancillary, flags, _ = sock.recvmsg(
            INLINE_MAX_BYTES, socket.CMSG_SPACE(FDS_MAX * _FD_BYTES), socket.MSG_CMSG_CLOEXEC
        )
    except ConnectionResetError:
        raise EOFError from None
    if not data:
        raise EOFError
    fds = _descriptors(ancillary)
    try:
        if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
            raise WireError("a message came cut off")
        if data == SPILLED:
            if not fds:
                raise WireError("a message came without its body")
            data = _unspill(fds.pop())
        message = _decoder.decode(data)
        if len(fds) != message.fd_count:
            raise WireError(f"{type(message).__name__} came with {len(fds)} descriptors, not {message.fd_count}")
    except (WireError, msgspec.DecodeError, OSError) as error:
        for fd in fds:
            os.close(fd)
        raise WireError(str(error)) from error
    return message, tuple(fds)


def _descriptors(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    fds = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(data[: len(data) - len(data) % _FD_BYTES])
    return list(fds)


def _unspill(fd: int) -> bytes:
    try:
        size = os.fstat(fd).st_size
        if size > SPILL_MAX_BYTES:
            raise WireError(f"a message of {size} bytes is too large")
        return os.pread(fd, size, 0)  # by position: the receivers share one offset
    finally:
        os.close(fd)


class Channel:
    """One end of a channel, for use on an event loop by one reading task and any number of senders."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._unsent: deque[Packet] = deque()  # with duplicated descriptors, which the queue owns
        self._closed = False

    def send(self, message: AnyMessage, fds: Sequence[int] = ()) -> None:
        """Send now or when there is room, in order; descriptors may be closed afterwards."""
        packet = pack(message, fds)
        try:
            self.send_packet(packet)
        finally:
            packet.close()

    def send_packet(self, packet: Packet) -> None:
        """The same for a packet that several receivers get. What is sent to a process that is gone is dropped.

        One that reads nothing is given up on: the channel is closed, which is the end of the file to it.
        """
        if len(self._unsent) >= UNSENT_MAX:
            self.close()
        if self._closed:
            return
        if not self._unsent:
            try:
                send(self._sock, packet)
                return
            except BlockingIOError:
                self._loop.add_writer(self._sock, self._send_unsent)
            except OSError:
                return
        spill_fd = os.dup(packet.spill_fd) if packet.spill_fd >= 0 else -1
        self._unsent.append(Packet(packet.data, tuple(os.dup(fd) for fd in packet.fds), spill_fd))

    def _send_unsent(self) -> None:
        try:
            while self._unsent:
                send(self._sock, self._unsent[0])
                _close_all(self._unsent.popleft())
        except BlockingIOError:
            return
        except OSError:
            self._drop_unsent()
        self._loop.remove_writer(self._sock)

    def _drop_unsent(self) -> None:
        while self._unsent:
            _close_all(self._unsent.popleft())

    async def receive(self) -> tuple[AnyMessage, tuple[int, ...]]:
        """The next message with its descriptors, which the caller owns. Raises EOFError, WireError."""
        while True:
            try:
                return receive(self._sock)
            except BlockingIOError:
                await self._readable()

    async def _readable(self) -> None:
        readable: asyncio.Future[None] = self._loop.create_future()
        self._loop.add_reader(self._sock, _resolve, readable)
        try:
            await readable
        finally:
            if not self._closed:
                self._loop.remove_reader(self._sock)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._loop.remove_reader(self._sock)
        self._loop.remove_writer(self._sock)
        self._drop_unsent()
        self._sock.close()


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _close_all(packet: Packet) -> None:
    for fd in packet.all_fds:
        os.close(fd)
