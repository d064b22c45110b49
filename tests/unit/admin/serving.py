"""Runs an admin server in a thread, with the event loop of the product, for clients that block."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvloop

from fastmesh.admin import AdminServer, Api, Mesh
from fastmesh.admin.server import Handler


@contextmanager
def serving(
    handler: Handler, timeout_s: float = 10.0, connections_max: int = 64, host: str = "127.0.0.1"
) -> Iterator[int]:
    """The port on which a server with this handler listens."""
    ports: list[int] = []
    started = threading.Event()
    loop = uvloop.new_event_loop()
    stop = asyncio.Event()

    async def main() -> None:
        server = AdminServer(handler, timeout_s=timeout_s, connections_max=connections_max)
        try:
            await server.start(host, 0)
            ports.append(server.port)
        finally:
            started.set()
        await stop.wait()
        await server.close()

    thread = threading.Thread(target=lambda: loop.run_until_complete(main()))
    thread.start()
    started.wait(10)
    try:
        yield ports[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()


@contextmanager
def serving_mesh(mesh: Mesh, host: str = "127.0.0.1") -> Iterator[str]:
    """The URL of the admin API of a mesh."""
    with serving(Api(mesh, host)) as port:
        yield f"http://127.0.0.1:{port}"
