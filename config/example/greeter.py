"""A small gRPC service to put behind the mesh: greet.Greeter, over HTTP/2 and mutual TLS, with its health check.

python greeter.py [ADDRESS:PORT]    127.0.0.1:9004, with the certificates of config/certs/

Greet takes {1: name} and answers {1: text}. It is written with h2, which fastmesh itself needs, and knows as much of
gRPC as one unary method asks for; a service of yours will use a gRPC library.
"""

import socket
import ssl
import sys
import threading
from pathlib import Path

import h2.config
import h2.connection
import h2.events
import h2.exceptions

CERTS = Path(__file__).resolve().parent.parent / "certs"
REQUEST_LIMIT_BYTES = 1024
OK, INVALID_ARGUMENT, UNIMPLEMENTED = "0", "3", "12"
SERVING = b"\x08\x01"


def message(payload: bytes) -> bytes:
    """As gRPC frames it: not compressed, its length, itself."""
    return b"\0" + len(payload).to_bytes(4, "big") + payload


def text_field(text: str) -> bytes:
    """Field 1 of a protobuf message, a string shorter than 128 bytes."""
    data = text.encode()[:127]
    return b"\x0a" + bytes([len(data)]) + data


def read_name(body: bytes) -> str | None:
    """Field 1 of the one message of a request; None: it is not one."""
    payload = body[5:]
    if body[:1] != b"\0" or len(payload) != int.from_bytes(body[1:5], "big"):
        return None
    if payload == b"":
        return "stranger"
    if payload[:1] != b"\x0a" or len(payload) < 2 or payload[1] != len(payload) - 2:
        return None
    return payload[2:].decode("utf-8", "replace")


def identity(connection: ssl.SSLSocket) -> str:
    """Who the mesh proved to be."""
    names = (connection.getpeercert() or {}).get("subjectAltName", ())
    return next((str(value) for kind, value in names if kind == "URI"), "somebody")


class Conversation:
    """One HTTP/2 connection."""

    def __init__(self, connection: ssl.SSLSocket) -> None:
        self.connection = connection
        self.http2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        self.requests: dict[int, tuple[str, bytes]] = {}  # by stream: path and body so far

    def run(self) -> None:
        self.http2.initiate_connection()
        self.connection.sendall(self.http2.data_to_send())
        while data := self.connection.recv(65536):
            for event in self.http2.receive_data(data):
                self.handle(event)
            self.connection.sendall(self.http2.data_to_send())

    def handle(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.RequestReceived(stream_id=int(stream), headers=list(headers)):
                self.requests[stream] = (dict(headers)[":path"], b"")
            case h2.events.DataReceived(stream_id=int(stream), data=bytes(data)) if stream in self.requests:
                path, body = self.requests[stream]
                self.requests[stream] = (path, (body + data)[: REQUEST_LIMIT_BYTES + 1])
                self.http2.acknowledge_received_data(event.flow_controlled_length or 0, stream)
            case h2.events.StreamEnded(stream_id=int(stream)) if stream in self.requests:
                self.answer(stream, *self.requests.pop(stream))
            case h2.events.StreamReset(stream_id=int(stream)):
                self.requests.pop(stream, None)

    def answer(self, stream: int, path: str, body: bytes) -> None:
        if path == "/grpc.health.v1.Health/Check":
            self.send(stream, SERVING)
        elif path != "/greet.Greeter/Greet":
            self.fail(stream, UNIMPLEMENTED, "there is no such method")
        elif len(body) > REQUEST_LIMIT_BYTES or (name := read_name(body)) is None:
            self.fail(stream, INVALID_ARGUMENT, "the request is not one short name")
        else:
            self.send(stream, text_field(f"Hello, {name}! {identity(self.connection)} called me.\n"))

    def send(self, stream: int, payload: bytes) -> None:
        self.http2.send_headers(stream, [(":status", "200"), ("content-type", "application/grpc")])
        self.http2.send_data(stream, message(payload))
        self.http2.send_headers(stream, [("grpc-status", OK)], end_stream=True)

    def fail(self, stream: int, status: str, words: str) -> None:
        """A head that stands for trailers too."""
        head = [(":status", "200"), ("content-type", "application/grpc")]
        self.http2.send_headers(stream, [*head, ("grpc-status", status), ("grpc-message", words)], end_stream=True)


def security() -> ssl.SSLContext:
    """Mutual TLS: who has no certificate of the example's authority does not get through the handshake."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(CERTS / "greeter.crt", CERTS / "greeter.key")
    made.load_verify_locations(CERTS / "ca.crt")
    made.verify_mode = ssl.CERT_REQUIRED
    made.set_alpn_protocols(["h2"])
    return made


def serve(accepted: socket.socket, secured_by: ssl.SSLContext) -> None:
    try:
        with accepted, secured_by.wrap_socket(accepted, server_side=True) as connection:
            connection.settimeout(None)  # the mesh keeps connections open
            Conversation(connection).run()
    except (OSError, h2.exceptions.H2Error):
        pass  # a client that goes away, or makes no sense, loses its connection and nothing else


def main() -> None:
    address, _, port = (sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:9004").rpartition(":")
    secured_by = security()
    try:
        listening = socket.create_server((address, int(port)))
    except OSError as error:
        print(f"greeter: cannot listen on {address}:{port}: {error.strerror}", file=sys.stderr)
        sys.exit(1)
    while True:
        accepted, _ = listening.accept()
        accepted.settimeout(10)  # for the handshake
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=serve, args=(accepted, secured_by), daemon=True).start()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(0)
