"""Fixtures that all tests may use."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.mesh import Mesh
from tests.upstream import Upstream


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """A server that runs."""
    server = Upstream().start()
    yield server
    server.stop()


@pytest.fixture
def start_upstream() -> Iterator[Callable[[str], Upstream]]:
    """Starts servers by name."""
    servers: list[Upstream] = []

    def start(name: str) -> Upstream:
        servers.append(Upstream(name).start())
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def mesh(tmp_path: Path) -> Iterator[Mesh]:
    """A mesh that is not yet configured and does not yet run; it ends with the test."""
    mesh = Mesh(tmp_path / "config")
    yield mesh
    mesh.close()


@pytest.fixture
def hello(mesh: Mesh, upstream: Upstream) -> Mesh:
    """A mesh that runs: everything goes to `upstream`."""
    mesh.serve(upstream.address)
    return mesh.start()
