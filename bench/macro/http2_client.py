"""A client of HTTP/2 by prior knowledge: for single requests, and for connections that stay open."""

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, DataReceived, ResponseReceived, StreamEnded, StreamReset, TrailersReceived
from h2.exceptions import ProtocolError

from bench.macro.ports import connect

Headers = list[tuple[str, str]]


class Http2Error(Exception):
    """The other side broke the protocol, or ended the stream or the connection."""


class Http2Client:
    """One connection. Raises Http2Error and OSError."""

    def __init__(self, port: int) -> None:
        self.status = 0
        self.body = b""
        self.trailers: dict[str, str] = {}
        self._ended = False
        self._socket = connect(port)
        self._state = H2Connection(H2Configuration(client_side=True))
        self._state.initiate_connection()

    def request(self, path: str, authority: str, headers: Headers, body: bytes = b"") -> None:
        """A GET, or a POST of a body; returns when `status`, `body` and `trailers` are there."""
        stream = self._state.get_next_available_stream_id()
        method = "POST" if body else "GET"
        head = [(":method", method), (":scheme", "http"), (":authority", authority), (":path", path), *headers]
        self._state.send_headers(stream, head, end_stream=not body)
        if body:
            self._state.send_data(stream, body, end_stream=True)
        self._ended = False
        while not self._ended:
            self._socket.sendall(self._state.data_to_send())
            self._receive()
        self._socket.sendall(self._state.data_to_send())

    def _receive(self) -> None:
        data = self._socket.recv(65536)
        if not data:
            raise Http2Error("the connection was closed")
        try:
            events = self._state.receive_data(data)
        except ProtocolError as error:
            raise Http2Error(f"{type(error).__name__}: {error}") from error
        for event in events:
            if isinstance(event, ResponseReceived):
                self.status = int(dict(event.headers)[b":status"])
            elif isinstance(event, DataReceived):
                self.body += event.data
                self._state.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, TrailersReceived):
                self.trailers = {name.decode(): value.decode() for name, value in event.headers}
            elif isinstance(event, StreamEnded):
                self._ended = True
            elif isinstance(event, StreamReset | ConnectionTerminated):
                raise Http2Error(f"{type(event).__name__}, error code {event.error_code}")

    def close(self) -> None:
        self._socket.close()
