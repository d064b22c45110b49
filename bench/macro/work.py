"""What is asked of a proxy, and what the upstream answers."""

from dataclasses import dataclass, field
from pathlib import Path

from bench.macro.shapes import Shape

HOST = "bench.example"
SMALL = b"x" * 127
SIZES = {"/64k": 64 * 1024, "/1m": 1024 * 1024}


@dataclass(frozen=True)
class Work:
    """A request, and how many of them at a time."""

    path: str = "/small"
    host: str = HOST
    headers: tuple[tuple[str, str], ...] = field(default=())
    body: bytes = b""  # makes it a POST; HTTP/2 only
    connections: int = 64
    streams: int = 1  # on each connection; HTTP/2 only
    script: Path | None = None  # for wrk


def grpc_frame(message: bytes) -> bytes:
    """A message as gRPC puts it into a body: not compressed, with its length."""
    return b"\0" + len(message).to_bytes(4, "big") + message


GRPC_REQUEST = grpc_frame(b"\n\x05world")  # field 1, a string
GRPC_RESPONSE = grpc_frame(b"\n\x0chello, world")
GRPC_HEADERS = (
    ("te", "trailers"),
    ("content-type", "application/grpc"),
    ("user-agent", "grpc-python/1.85.1 grpc-c/53.0.0 (linux; chttp2)"),
    ("grpc-accept-encoding", "identity, deflate, gzip"),
    ("grpc-timeout", "4999m"),
)

HTTP1_WORK = Work()
HTTP2_WORK = Work(connections=8, streams=16)
# The upstream knows the type of a response by the end of its path.
GRPC_WORK = Work("/bench.Greeter/Hello.grpc", HOST, GRPC_HEADERS, GRPC_REQUEST, connections=8, streams=16)


def work_of(shape: Shape) -> Work:
    """The small request of a shape."""
    if shape.upstream == "grpc":
        return GRPC_WORK
    return HTTP2_WORK if shape.downstream == "http2" else HTTP1_WORK
