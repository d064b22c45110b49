"""What a row asks of every proxy alike: the protocols on both sides, and TLS."""

from dataclasses import dataclass
from pathlib import Path

CONNECTIONS_MAX = 20_000
SERVER_NAME = "localhost"  # of the certificate of every server


@dataclass(frozen=True)
class Shape:
    """The work of a proxy. HTTP/2 is spoken by prior knowledge, without TLS."""

    downstream: str = "http1"  # http1, http2, tcp
    upstream: str = "http1"  # http1, http2, grpc
    tls: bool = False  # TLS 1.3 at the listener
    mutual: bool = False  # client certificates are required there, and the upstream has TLS that requires one too

    @property
    def tools(self) -> tuple[str, ...]:
        """The programs that load and upstream need, besides wrk and nginx."""
        tools = ("h2load",) if self.downstream == "http2" else ()
        return tools + (("nghttpd",) if self.upstream in ("http2", "grpc") else ())


PLAIN = Shape()
TLS = Shape(tls=True)
MUTUAL_TLS = Shape(tls=True, mutual=True)
HTTP2 = Shape(downstream="http2")
HTTP2_BOTH = Shape(downstream="http2", upstream="http2")
GRPC = Shape(downstream="http2", upstream="grpc")
TCP = Shape(downstream="tcp")


@dataclass(frozen=True)
class Place:
    """Where a proxy runs, and what it is to do."""

    folder: Path
    certificates: Path  # ca.crt, and .crt, .key and .pem (both in one) of server and client
    shape: Shape
    port: int
    upstream_port: int
    admin_port: int
    routes: int
    workers: int
