"""Pieces of the sidecar; the whole is in tests/integration/test_sidecar.py."""

from __future__ import annotations

import socket

import pytest

from fastmesh.sidecar import has_connections
from tests.mesh import wait_until


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_connections_to_a_port(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as server:
        port = server.getsockname()[1]
        assert not has_connections(port)
        client = socket.create_connection((host, port))
        accepted, _ = server.accept()
        assert has_connections(port)
        client.close()
        accepted.close()
        wait_until(lambda: not has_connections(port), "the connection to end")
