"""What of gRPC shows on HTTP, for tests; the request path uses grpc.pxd."""

def timeout_parse(text: bytes) -> int | None:
    """The nanoseconds of a grpc-timeout; None: it is not one."""

def timeout_write(ns: int) -> bytes:
    """A grpc-timeout, rounded down."""

def status_of_http(status: int) -> int:
    """The gRPC status that stands for an HTTP status."""

def status_of_reason(reason: int) -> int:
    """The gRPC status of an answer of the proxy's own, by the index of its reason."""

def status_parse(text: bytes) -> int:
    """0 to 16, or -1."""

def message_write(text: bytes) -> bytes:
    """A grpc-message, percent-encoded."""

def split_path(path: bytes) -> tuple[bytes, bytes] | None:
    """Service and method; None: not the path of a call."""

def is_content_type(value: bytes) -> bool:
    """Whether this content-type says gRPC."""
