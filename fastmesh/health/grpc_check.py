"""The call Check of grpc.health.v1.Health, spoken by h2. Sans-IO but for the two streams."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import h2.config
import h2.connection
import h2.events
import h2.exceptions

from fastmesh import __version__
from fastmesh.health.failure import CheckFailed

READ_BYTES = 16384
ANSWER_MAX_BYTES = 65536
STATUSES = ("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")
SERVING = 1


def request_message(service: str) -> bytes:
    """HealthCheckRequest, in the five-byte frame of gRPC: field 1 is the service's name."""
    name = service.encode()
    message = b"\x0a" + _varint(len(name)) + name if name else b""
    return b"\0" + len(message).to_bytes(4, "big") + message


def status_of(answer: bytes) -> int:
    """The status in a framed HealthCheckResponse: field 1, an enum. Raises CheckFailed."""
    if len(answer) < 5 or answer[0] != 0 or len(answer) != 5 + int.from_bytes(answer[1:5], "big"):
        raise CheckFailed("the answer is not one gRPC message")
    message = answer[5:]
    if not message:
        return 0
    if message[0] != 0x08 or len(message) != 2:
        raise CheckFailed("the answer is not a HealthCheckResponse")
    return message[1]


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


async def ask(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, authority: str, scheme: str, service: str
) -> None:
    """Return if the service is SERVING. Raises CheckFailed, OSError."""
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
    connection.initiate_connection()
    stream = connection.get_next_available_stream_id()
    headers = [
        (":method", "POST"),
        (":scheme", scheme),
        (":authority", authority),
        (":path", "/grpc.health.v1.Health/Check"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        ("user-agent", f"fastmesh-health/{__version__}"),
    ]
    connection.send_headers(stream, headers)
    connection.send_data(stream, request_message(service), end_stream=True)
    answer = bytearray()
    while True:
        writer.write(connection.data_to_send())
        data = await reader.read(READ_BYTES)
        if not data:
            raise CheckFailed("the connection ended before the answer")
        for event in _events(connection, data):
            if isinstance(event, h2.events.ResponseReceived):
                _look_at(event.headers, is_head=True)
            elif isinstance(event, h2.events.DataReceived):
                answer += event.data
                connection.acknowledge_received_data(event.flow_controlled_length, stream)
                if len(answer) > ANSWER_MAX_BYTES:
                    raise CheckFailed("the answer is too long")
            elif isinstance(event, h2.events.TrailersReceived):
                _look_at(event.headers, is_head=False)
            elif isinstance(event, h2.events.StreamReset | h2.events.ConnectionTerminated):
                raise CheckFailed(f"the call was reset: error {event.error_code}")
            elif isinstance(event, h2.events.StreamEnded):
                _judge(status_of(bytes(answer)))
                return


def _events(connection: h2.connection.H2Connection, data: bytes) -> list[h2.events.Event]:
    try:
        return connection.receive_data(data)
    except h2.exceptions.ProtocolError as error:
        raise CheckFailed(f"not HTTP/2: {error}") from None


def _look_at(fields: Iterable[tuple[str | bytes, str | bytes]], *, is_head: bool) -> None:
    headers = {str(name): str(value) for name, value in fields}  # h2 has decoded them
    if is_head and headers.get(":status") != "200":
        raise CheckFailed(f"status {headers.get(':status')}")
    grpc_status = headers.get("grpc-status")
    if grpc_status not in (None, "0"):
        message = headers.get("grpc-message", "")
        raise CheckFailed(f"gRPC status {grpc_status}" + (f": {message}" if message else ""))


def _judge(status: int) -> None:
    if status != SERVING:
        raise CheckFailed(STATUSES[status] if status < len(STATUSES) else f"status {status}")
