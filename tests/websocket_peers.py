"""WebSocket clients and servers for tests: the `websockets` library over HTTP/1.1, and its frames on streams of HTTP/2.

All servers echo, and do as a few texts say: `close` (with 4001), `abort`.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import h2.events
import h2.exceptions
from hyperframe.frame import GoAwayFrame
from websockets.exceptions import ConnectionClosed
from websockets.frames import Opcode
from websockets.protocol import Protocol, Side, State
from websockets.sync.server import ServerConnection, serve

from tests.engine import TIMEOUT_S, Client, ScriptedUpstream
from tests.http2_peers import CANCEL, Http2Client, Http2Endpoint

CLOSE_CODE, CLOSE_REASON = 4001, "as asked"


class Talk:
    """WebSocket frames from and to bytes, wherever these are from."""

    def __init__(self, side: Side) -> None:
        self.protocol = Protocol(side, state=State.OPEN, max_size=None)
        self.messages: list[str | bytes] = []
        self.pongs: list[bytes] = []
        self._parts: list[bytes] = []
        self._is_text = False

    def receive(self, data: bytes) -> None:
        self.protocol.receive_data(data)
        for frame in self.protocol.events_received():
            if frame.opcode is Opcode.PONG:
                self.pongs.append(bytes(frame.data))
            elif frame.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
                if frame.opcode is not Opcode.CONT:
                    self._is_text = frame.opcode is Opcode.TEXT
                self._parts.append(bytes(frame.data))
                if frame.fin:
                    whole = b"".join(self._parts)
                    self._parts.clear()
                    self.messages.append(whole.decode() if self._is_text else whole)

    def say(self, message: str | bytes) -> None:
        if isinstance(message, str):
            self.protocol.send_text(message.encode())
        else:
            self.protocol.send_binary(message)

    def output(self) -> bytes:
        return b"".join(self.protocol.data_to_send())


class Http2WebSocket:
    """A WebSocket on a stream of a client's HTTP/2 connection (RFC 8441)."""

    def __init__(self, client: Http2Client, path: str = "/") -> None:
        client.wait(lambda: client.h2.remote_settings.enable_connect_protocol == 1)
        self.client = client
        self.talk = Talk(Side.CLIENT)
        scheme = "https" if isinstance(client.sock, ssl.SSLSocket) else "http"
        self.stream_id = client.request(
            [
                (":method", "CONNECT"),
                (":protocol", "websocket"),
                (":scheme", scheme),
                (":path", path),
                (":authority", "mesh.test"),
                ("sec-websocket-version", "13"),
            ],
            ends=False,
        )
        self.answer = client.answers[self.stream_id]
        client.wait(lambda: self.answer.status or self.answer.reset is not None)
        assert self.answer.status == 200, self.answer

    def send(self, message: str | bytes) -> None:
        self.talk.say(message)
        self.flush()

    def flush(self) -> None:
        if output := self.talk.output():
            self.client.send_body(self.stream_id, output, ends=False)

    @property
    def is_ended(self) -> bool:
        return self.answer.ended or self.answer.reset is not None or self.client.is_ended

    def take(self) -> None:
        """What has come since; waits for something to come if nothing has."""
        if not self.answer.body and not self.is_ended:
            self.client.take()
        data, self.answer.body = self.answer.body, b""
        self.talk.receive(data)
        if not self.is_ended:
            self.flush()

    def recv(self) -> str | bytes:
        while not self.talk.messages:
            if self.is_ended:
                raise EOFError(f"the stream ended: {self.answer}")
            self.take()
        return self.talk.messages.pop(0)

    def ping(self, data: bytes) -> None:
        """Wait until it comes back."""
        self.talk.protocol.send_ping(data)
        self.flush()
        while data not in self.talk.pongs:
            assert not self.is_ended
            self.take()

    def close(self, code: int = 1000, reason: str = "") -> None:
        """The closing handshake, and the end of the stream."""
        if self.talk.protocol.state is State.OPEN:
            self.talk.protocol.send_close(code, reason)
            self.flush()
        self.to_close()
        if not self.is_ended:
            self.client.h2.end_stream(self.stream_id)
            self.client.flush()

    def to_close(self) -> tuple[int | None, str | None]:
        """Wait until the server closes; its code and reason."""
        while self.talk.protocol.close_rcvd is None and not self.is_ended:
            self.take()
        return self.close_code, self.talk.protocol.close_rcvd.reason if self.talk.protocol.close_rcvd else None

    @property
    def close_code(self) -> int | None:
        return self.talk.protocol.close_rcvd.code if self.talk.protocol.close_rcvd else None


class Http1Server:
    """The library's own server."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.close_codes: list[int | None] = []
        self._server = serve(self._echo, "127.0.0.1", 0, ssl=tls, max_size=None, compression=None, ping_interval=None)
        self.port: int = self._server.socket.getsockname()[1]
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def _echo(self, connection: ServerConnection) -> None:
        try:
            for message in connection:
                if message == "close":
                    connection.close(CLOSE_CODE, CLOSE_REASON)
                elif message == "abort":
                    connection.socket.shutdown(socket.SHUT_RDWR)
                else:
                    connection.send(message)
        except ConnectionClosed:
            pass
        finally:
            self.close_codes.append(connection.close_code)

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join(TIMEOUT_S)


class Http2Server:
    """A server that takes extended CONNECT on streams of HTTP/2."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.close_codes: list[int | None] = []
        self.heads: list[list[tuple[str, str]]] = []
        self._upstream = ScriptedUpstream(self._serve, tls)
        self.port = self._upstream.port

    @property
    def connections(self) -> int:
        return self._upstream.connections

    def _serve(self, client: Client, number: int) -> None:
        peer = Http2Endpoint(client, number, ENABLE_CONNECT_PROTOCOL=1)
        streams = _EchoStreams(peer, self)
        peer.on_event = streams.handle
        try:
            peer.serve()
        finally:
            streams.end()

    def close(self) -> None:
        self._upstream.close()


class _EchoStreams:
    """The WebSockets on one connection."""

    def __init__(self, peer: Http2Endpoint, server: Http2Server) -> None:
        self._peer = peer
        self._server = server
        self._talks: dict[int, Talk] = {}
        self._unsent: dict[int, bytes] = {}

    def handle(self, _: Http2Endpoint, event: h2.events.Event) -> bool:
        stream_id = getattr(event, "stream_id", None)
        if isinstance(event, h2.events.RequestReceived):
            head = dict(event.headers)
            assert (head[":method"], head[":protocol"]) == ("CONNECT", "websocket")
            self._server.heads.append(list(event.headers))
            self._peer.h2.send_headers(stream_id, [(":status", "200")])
            self._talks[stream_id] = Talk(Side.SERVER)
        elif isinstance(event, h2.events.DataReceived):
            self._peer.h2.acknowledge_received_data(event.flow_controlled_length, stream_id)
            if talk := self._talks.get(stream_id):
                talk.receive(event.data)
                self._answer(stream_id, talk)
        elif isinstance(event, h2.events.StreamEnded | h2.events.StreamReset):
            self._forget(stream_id)
        self._pump()
        return True

    def _answer(self, stream_id: int, talk: Talk) -> None:
        for message in talk.messages:
            if message == "close":
                talk.protocol.send_close(CLOSE_CODE, CLOSE_REASON)
            elif message == "abort":
                self._peer.h2.reset_stream(stream_id, CANCEL)
                self._forget(stream_id)
                return
            else:
                talk.say(message)
        talk.messages.clear()
        self._unsent[stream_id] = self._unsent.get(stream_id, b"") + talk.output()

    def _pump(self) -> None:
        for stream_id, talk in list(self._talks.items()):
            data = self._unsent.get(stream_id, b"")
            while data:
                room = min(self._peer.h2.local_flow_control_window(stream_id), self._peer.h2.max_outbound_frame_size)
                if room <= 0:
                    break
                self._peer.h2.send_data(stream_id, data[:room])
                data = data[room:]
            self._unsent[stream_id] = data
            if not data and talk.protocol.close_rcvd and talk.protocol.close_sent:
                self._forget(stream_id)  # a server is the first to end the connection below (RFC 6455 7.1.1)

    def _forget(self, stream_id: int) -> None:
        self._unsent.pop(stream_id, None)
        if talk := self._talks.pop(stream_id, None):
            close = talk.protocol.close_rcvd
            self._server.close_codes.append(close.code if close else 1006)
            with suppress(h2.exceptions.StreamClosedError):
                self._peer.h2.end_stream(stream_id)

    def end(self) -> None:
        for stream_id in list(self._talks):
            self._forget(stream_id)


@contextmanager
def http2_client(port: int, tls: ssl.SSLContext | None = None) -> Iterator[Http2Client]:
    sock = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S)
    if tls is not None:
        tls.set_alpn_protocols(["h2"])
        sock = tls.wrap_socket(sock, server_hostname="mesh.test")
        assert sock.selected_alpn_protocol() == "h2"
    client = Http2Client(sock)
    # h2 takes nothing more once it has seen GOAWAY; a client lets the streams that are open go on.
    client.h2._frame_dispatch_table[GoAwayFrame] = lambda frame: ([], [])
    try:
        yield client
    finally:
        client.close()


Server = Http1Server | Http2Server
Socket = Any  # websockets.sync.client.ClientConnection | Http2WebSocket: the same methods
