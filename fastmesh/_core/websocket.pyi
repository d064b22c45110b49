"""The part of the WebSocket handshake that only HTTP/1.1 has."""

def accept(key: bytes) -> bytes:
    """The Sec-WebSocket-Accept that answers a Sec-WebSocket-Key (RFC 6455 4.2.2)."""
