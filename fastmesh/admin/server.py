"""A small HTTP/1.1 server for the admin API: h11 reads and writes the protocol, this file moves the bytes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from http import HTTPStatus

import h11

from fastmesh.admin.http import ApiError, Request, Response

HEAD_MAX_BYTES = 16384
BODY_MAX_BYTES = 65536
READ_BYTES = 16384
CONNECTIONS_MAX = 64
TIMEOUT_S = 10.0  # for a whole request to come in, for a chunk to go out, between requests

COMMON_HEADERS = (("cache-control", "no-store"), ("x-content-type-options", "nosniff"), ("server", "fastmesh-admin"))

log = logging.getLogger(__name__)

Handler = Callable[[Request], Awaitable[Response]]


class AdminServer:
    """Serves one handler on one address. Belongs to one event loop."""

    def __init__(
        self, handler: Handler, *, timeout_s: float = TIMEOUT_S, connections_max: int = CONNECTIONS_MAX
    ) -> None:
        """`handler` may raise `ApiError`; anything else it raises is logged and answered with 500."""
        self._handler = handler
        self._timeout_s = timeout_s
        self._connections_max = connections_max
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0  # the one that is bound

    async def start(self, host: str, port: int) -> None:
        """Listen there. Raises OSError."""
        self._server = await asyncio.start_server(self._accept, host, port, limit=READ_BYTES)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening and end all connections."""
        if self._server is not None:
            self._server.close()
            self._server = None
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # The task is ours, so that `close` can end it, and that one too many costs no more than this.
        if len(self._tasks) >= self._connections_max:
            writer.transport.abort()
            return
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Connection(reader, writer, self._timeout_s)
        try:
            while await connection.answer(self._handler):
                pass
            writer.close()
            async with asyncio.timeout(self._timeout_s):
                await writer.wait_closed()
        except (OSError, TimeoutError, h11.LocalProtocolError):
            pass  # the client has gone, or does not take its answer
        except Exception:
            log.exception("admin API: an answer was broken off")
        finally:
            # What was closed is not harmed; all else is cut off, so that no half answer is taken for whole, and nobody
            # who does not read keeps a connection for ever.
            writer.transport.abort()


class _Connection:
    """One client."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, timeout_s: float) -> None:
        self._reader = reader
        self._writer = writer
        self._timeout_s = timeout_s
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_MAX_BYTES)

    async def answer(self, handler: Handler) -> bool:
        """Serve one request; whether there may be another."""
        try:
            async with asyncio.timeout(self._timeout_s):
                request = await self._request()
        except h11.RemoteProtocolError as error:
            if self._http.our_state is h11.SEND_RESPONSE or self._http.our_state is h11.IDLE:
                refusal = ApiError(error.error_status_hint, f"bad request: {error}", "send HTTP/1.1")
                await self._send(refusal.response(), "GET", close=True)
            return False
        except ApiError as error:
            await self._send(error.response(), "GET", close=True)
            return False
        except TimeoutError:
            return False
        if request is None:
            return False
        await self._send(await _handled(handler, request), request.method)
        if self._http.our_state is h11.MUST_CLOSE or self._http.their_state is not h11.DONE:
            return False
        self._http.start_next_cycle()
        return True

    async def _request(self) -> Request | None:
        """The next request with its body; None when the client has closed."""
        head: h11.Request | None = None
        body = b""
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                if self._http.they_are_waiting_for_100_continue:
                    await self._write(self._http.send(h11.InformationalResponse(status_code=100, headers=[])))
                self._http.receive_data(await self._reader.read(READ_BYTES))
            elif isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > BODY_MAX_BYTES:
                    raise ApiError(413, "the body is too large", f"send at most {BODY_MAX_BYTES} bytes")
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers}
                return Request(head.method.decode("latin-1"), head.target.decode("latin-1"), headers, body)
            else:
                return None

    async def _send(self, response: Response, method: str, close: bool = False) -> None:
        headers = [*COMMON_HEADERS, ("content-type", response.media), *response.headers.items()]
        chunks: Iterable[bytes]
        if isinstance(response.body, bytes):
            headers.append(("content-length", str(len(response.body))))
            chunks = [response.body]
        else:
            chunks = response.body
        if close:
            headers.append(("connection", "close"))
        reason = HTTPStatus(response.status).phrase.encode()
        head = h11.Response(status_code=response.status, headers=headers, reason=reason)
        self._writer.write(self._http.send(head) or b"")
        if method != "HEAD":
            for chunk in chunks:
                await self._write(self._http.send(h11.Data(data=chunk)))
        await self._write(self._http.send(h11.EndOfMessage()))

    async def _write(self, data: bytes | None) -> None:
        self._writer.write(data or b"")
        async with asyncio.timeout(self._timeout_s):
            await self._writer.drain()
        # Whoever makes chunks makes them in slices of the loop's time: let the others have theirs.
        await asyncio.sleep(0)


async def _handled(handler: Handler, request: Request) -> Response:
    try:
        return await handler(request)
    except ApiError as error:
        return error.response()
    except Exception:
        log.exception("admin API: %s %s failed", request.method, request.path)
        return ApiError(500, "an error in fastmesh itself", "see its log").response()
