"""Ports on loopback: free ones, and connections to them."""

import socket

TIMEOUT_S = 5.0


def free_ports(count: int) -> list[int]:
    """Distinct ports on loopback that nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def connect(port: int) -> socket.socket:
    """A connection that sends at once: small writes in a row would wait for delayed acknowledgements."""
    made = socket.create_connection(("127.0.0.1", port), TIMEOUT_S)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made
