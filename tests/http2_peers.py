"""HTTP/2 clients and endpoints for tests: the h2 library over a real socket, and frames by hand."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings
import hpack

from fastmesh import snapshot as s
from tests.engine import TIMEOUT_S, Client, EngineThread

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITISED = 1, 1, 4, 8, 32
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT, STREAM_CLOSED = range(6)
FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, CONNECT_ERROR, ENHANCE_YOUR_CALM = range(6, 12)

TO_HTTP2 = {"protocol": s.Protocol.HTTP2}
Headers = list[tuple[str, str]]


def frame(kind: int, flags: int = 0, stream_id: int = 0, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream_id) + payload


def settings(*pairs: tuple[int, int]) -> bytes:
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", *pair) for pair in pairs))


def u32(value: int) -> bytes:
    return struct.pack(">I", value)


def block(*headers: tuple[str, str]) -> bytes:
    """A header block that needs no dynamic table."""
    encoder = hpack.Encoder()
    encoder.header_table_size = 0
    return encoder.encode(headers, huffman=False)


def get(path: str = "/", *more: tuple[str, str], method: str = "GET") -> Headers:
    return [(":method", method), (":scheme", "http"), (":authority", "mesh.test"), (":path", path), *more]


GET_BLOCK = block(*get())


@dataclass
class Answer:
    """What came on one stream."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    trailers: dict[str, str] | None = None
    informational: list[int] = field(default_factory=list)
    ended: bool = False
    reset: int | None = None


class Http2Client(Client):
    """A client that speaks through h2, with the answers sorted by stream. Windows open as bodies are read, unless
    `reads` is False."""

    def __init__(self, sock: socket.socket, *, initial_window: int | None = None, **config: Any) -> None:
        super().__init__(sock)
        self.h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=True, header_encoding="utf-8", **config)
        )
        if initial_window is not None:
            codes = h2.settings.SettingCodes
            self.h2.local_settings = h2.settings.Settings(True, {codes.INITIAL_WINDOW_SIZE: initial_window})
        self.answers: dict[int, Answer] = {}
        self.goaways: list[tuple[int, int]] = []
        self.reads = True
        self.is_ended = False
        self.h2.initiate_connection()
        self.flush()

    def flush(self) -> None:
        if data := self.h2.data_to_send():
            self.sock.sendall(data)

    def request(
        self, headers: Headers | None = None, body: bytes = b"", trailers: Headers | None = None, ends: bool = True
    ) -> int:
        """Send a request, its body as far as the windows are open; returns the stream."""
        stream_id = self.h2.get_next_available_stream_id()
        self.answers[stream_id] = Answer()
        ends_at_once = ends and not body and not trailers
        self.h2.send_headers(stream_id, headers or get(), end_stream=ends_at_once)
        self.flush()
        if body:
            self.send_body(stream_id, body, ends=ends and not trailers)
        if trailers:
            self.h2.send_headers(stream_id, trailers, end_stream=True)
            self.flush()
        return stream_id

    def send_body(self, stream_id: int, body: bytes, ends: bool = True) -> None:
        """All of it: waits for windows, taking what comes meanwhile."""
        at = 0
        while at < len(body):
            room = min(self.h2.local_flow_control_window(stream_id), self.h2.max_outbound_frame_size, len(body) - at)
            if room <= 0:
                if not self.take():
                    raise EOFError(f"the connection ended after {at} of {len(body)} bytes")
                continue
            self.h2.send_data(stream_id, body[at : at + room])
            at += room
            self.flush()
        if ends:
            self.h2.end_stream(stream_id)
            self.flush()

    def take(self) -> bool:
        """Receive once and sort it. False: the connection has ended."""
        try:
            data = self.sock.recv(65536)
        except ConnectionResetError:
            data = b""
        if not data:
            self.is_ended = True
            return False
        for event in self.h2.receive_data(data):
            self.sort(event)
        self.flush()
        return True

    def sort(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.ConnectionTerminated):
            self.goaways.append((event.last_stream_id or 0, int(event.error_code or 0)))
            return
        stream_id = getattr(event, "stream_id", None)
        if not stream_id:
            return
        answer = self.answers.setdefault(stream_id, Answer())
        if isinstance(event, h2.events.InformationalResponseReceived):
            answer.informational.append(int(dict(event.headers)[":status"]))
        elif isinstance(event, h2.events.ResponseReceived):
            answer.headers = dict(event.headers)
            answer.status = int(answer.headers.pop(":status"))
        elif isinstance(event, h2.events.DataReceived):
            answer.body += event.data
            if self.reads and event.flow_controlled_length:
                self.h2.acknowledge_received_data(event.flow_controlled_length, stream_id)
        elif isinstance(event, h2.events.TrailersReceived):
            answer.trailers = dict(event.headers)
        elif isinstance(event, h2.events.StreamEnded):
            answer.ended = True
        elif isinstance(event, h2.events.StreamReset):
            answer.reset = int(event.error_code)

    def answer(self, stream_id: int) -> Answer:
        """Wait until the stream has ended, one way or another."""
        answer = self.answers[stream_id]
        while not answer.ended and answer.reset is None:
            if not self.take():
                raise EOFError(f"the connection ended before stream {stream_id}: {answer}, {self.goaways}")
        return answer

    def fetch(self, headers: Headers | None = None, body: bytes = b"", trailers: Headers | None = None) -> Answer:
        return self.answer(self.request(headers, body, trailers))

    def wait(self, true: Callable[[], object]) -> None:
        while not true():
            if not self.take():
                raise EOFError(f"the connection ended: {self.answers}, {self.goaways}")

    def to_goaway(self) -> int:
        """The error code of the GOAWAY with which the connection ends."""
        while self.take():
            pass
        assert self.goaways, "the connection ended without GOAWAY"
        return self.goaways[-1][1]


def connect(engine: EngineThread, **options: Any) -> Http2Client:
    return Http2Client(socket.create_connection(("127.0.0.1", engine.port), timeout=TIMEOUT_S), **options)


class RawClient(Client):
    """Frames by hand. Preface and SETTINGS are sent at once."""

    def __init__(self, port: int, opening: bytes = PREFACE + settings()) -> None:
        super().__init__(socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S))
        self.frames: list[tuple[int, int, int, bytes]] = []
        self.send(opening)

    def take_frame(self) -> tuple[int, int, int, bytes] | None:
        """Kind, flags, stream, payload; None at the end of the connection."""
        try:
            head = self.exactly(9)
            payload = self.exactly(int.from_bytes(head[:3]))
        except (EOFError, ConnectionResetError):
            return None
        found = head[3], head[4], int.from_bytes(head[5:]) & 0x7FFFFFFF, payload
        self.frames.append(found)
        return found

    def until_kind(self, *kinds: int) -> tuple[int, int, int, bytes] | None:
        while (found := self.take_frame()) is not None:
            if found[0] in kinds and not (found[0] == SETTINGS and found[1] & ACK):
                return found
        return None

    def outcome(self) -> tuple[str, int]:
        """How the peer took it: ("connection", code), ("stream", code), or ("closed", 0)."""
        found = self.until_kind(GOAWAY, RST_STREAM)
        if found is None:
            return "closed", 0
        if found[0] == GOAWAY:
            return "connection", int.from_bytes(found[3][4:8])
        return "stream", int.from_bytes(found[3][:4])

    def is_alive(self) -> bool:
        """Whether a PING comes back."""
        self.send(frame(PING, 0, 0, b"are you?"))
        while (found := self.take_frame()) is not None:
            if found[0] == PING and found[1] & ACK and found[3] == b"are you?":
                return True
        return False


@dataclass
class Request:
    """A request as an endpoint saw it."""

    stream_id: int
    headers: Headers
    body: bytes = b""
    trailers: Headers | None = None

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)


class Http2Endpoint:
    """One connection of an endpoint, driven by h2. `on_request` is called when a request is whole; `on_event`, if there
    is one, first sees every event, and what it returns True for is not looked at again."""

    def __init__(self, client: Client, number: int, **initial: int) -> None:
        self.client = client
        self.number = number
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        if initial:
            values = {h2.settings.SettingCodes[name]: value for name, value in initial.items()}
            self.h2.local_settings = h2.settings.Settings(False, values)
        self.requests: dict[int, Request] = {}
        self.on_request: Callable[[Http2Endpoint, Request], None] = lambda peer, request: peer.reply(request.stream_id)
        self.on_event: Callable[[Http2Endpoint, h2.events.Event], object] | None = None
        self.waiting: dict[int, tuple[bytes, Headers | None, bool]] = {}

    def serve(self) -> None:
        self.h2.initiate_connection()
        self.flush()
        while data := self.client.sock.recv(65536):
            events = self.h2.receive_data(data)
            said_goodbye = any(isinstance(event, h2.events.ConnectionTerminated) for event in events)
            for event in events:
                if (self.on_event is None or not self.on_event(self, event)) and not said_goodbye:
                    self.handle(event)
            if said_goodbye:
                return  # h2 takes a GOAWAY for the end of everything
            self.pump()
            self.flush()

    def flush(self) -> None:
        if data := self.h2.data_to_send():
            self.client.sock.sendall(data)

    def handle(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RequestReceived):
            self.requests[event.stream_id] = Request(event.stream_id, list(event.headers))
        elif isinstance(event, h2.events.DataReceived):
            self.requests[event.stream_id].body += event.data
            if event.flow_controlled_length:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.TrailersReceived):
            self.requests[event.stream_id].trailers = list(event.headers)
        elif isinstance(event, h2.events.StreamEnded):
            self.on_request(self, self.requests.pop(event.stream_id))

    def reply(
        self,
        stream_id: int,
        body: bytes = b"ok",
        *headers: tuple[str, str],
        status: int = 200,
        trailers: Headers | None = None,
    ) -> None:
        ends = not body and not trailers
        self.h2.send_headers(stream_id, [(":status", str(status)), *headers], end_stream=ends)
        if not ends:
            self.waiting[stream_id] = body, trailers, True
        self.pump()
        self.flush()

    def send(self, stream_id: int, data: bytes, ends: bool = False) -> None:
        """More of a body."""
        before, trailers, _ = self.waiting.get(stream_id, (b"", None, False))
        self.waiting[stream_id] = before + data, trailers, ends
        self.pump()

    def pump(self) -> None:
        """Send what the windows allow."""
        for stream_id, (body, trailers, ends) in list(self.waiting.items()):
            try:
                room = min(self.h2.local_flow_control_window(stream_id), self.h2.max_outbound_frame_size)
                while body and room > 0:
                    self.h2.send_data(stream_id, body[:room])
                    body = body[room:]
                    room = min(self.h2.local_flow_control_window(stream_id), self.h2.max_outbound_frame_size)
                if body:
                    self.waiting[stream_id] = body, trailers, ends
                    continue
                if trailers:
                    self.h2.send_headers(stream_id, trailers, end_stream=True)
                elif ends:
                    self.h2.end_stream(stream_id)
            except (h2.exceptions.StreamClosedError, KeyError):
                pass  # reset meanwhile
            del self.waiting[stream_id]


def http2_endpoint(
    on_request: Callable[[Http2Endpoint, Request], None] | None = None,
    on_event: Callable[[Http2Endpoint, h2.events.Event], object] | None = None,
    **initial: int,
) -> Callable[[Client, int], None]:
    """A script for `proxied`."""

    def script(client: Client, number: int) -> None:
        peer = Http2Endpoint(client, number, **initial)
        if on_request is not None:
            peer.on_request = on_request
        peer.on_event = on_event
        peer.serve()

    return script
