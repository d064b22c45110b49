"""A small HTTP/1.1 server for tests, on a thread of its own, that does as the path says."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import h11


@dataclass
class Seen:
    """A request as it arrived."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        """The first value of a header, by its name in lower case."""
        return next((value for key, value in self.headers if key == name), None)


@dataclass
class Upstream:
    """Answers 200 with its name, or: /slow/MS after so long, /status/CODE, /bytes/N, /echo, /reset."""

    name: str = "upstream"
    host: str = "127.0.0.1"
    port: int = 0
    seen: list[Seen] = field(default_factory=list)
    connections: int = 0  # accepted

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    def start(self) -> Upstream:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(5)
        return self

    def stop(self) -> None:
        """Close the listening socket and every connection."""
        if not self._loop.is_closed():
            asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(5)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(5)
            self._loop.close()

    async def _listen(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._server = await asyncio.start_server(self._serve, self.host, self.port, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            connection = h11.Connection(h11.SERVER)
            while (seen := await self._read(connection, reader)) is not None:
                self.seen.append(seen)
                if not await self._answer(connection, writer, seen):
                    return
                connection.start_next_cycle()
        except (OSError, h11.ProtocolError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _read(self, connection: h11.Connection, reader: asyncio.StreamReader) -> Seen | None:
        head, body = None, bytearray()
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(await reader.read(65536))
            elif isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                headers = [(name.decode(), value.decode("latin-1")) for name, value in head.headers]
                return Seen(head.method.decode(), head.target.decode(), headers, bytes(body))
            else:
                return None

    async def _answer(self, connection: h11.Connection, writer: asyncio.StreamWriter, seen: Seen) -> bool:
        """Whether the connection may carry another request."""
        status, body = 200, self.name.encode()
        match urlsplit(seen.target).path.split("/")[1:]:
            case ["slow", wait_ms]:
                await asyncio.sleep(int(wait_ms) / 1000)
            case ["status", code]:
                status = int(code)
            case ["bytes", count]:
                body = b"x" * int(count)
            case ["echo"]:
                body = seen.body
            case ["reset"]:
                writer.transport.abort()
                return False
        headers = [("content-length", str(len(body))), ("x-upstream", self.name)]
        data = connection.send(h11.Response(status_code=status, headers=headers, reason=b"as asked")) or b""
        if seen.method != "HEAD":
            data += connection.send(h11.Data(data=body)) or b""
        writer.write(data + (connection.send(h11.EndOfMessage()) or b""))
        await writer.drain()
        return connection.our_state is h11.DONE and connection.their_state is h11.DONE
