"""A server for tests: aiohttp, on a thread of its own, streaming both ways."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
import threading

from aiohttp import web

DEADLINE_S = 30
PIECE_BYTES = 262_144


async def _echo(request: web.Request) -> web.StreamResponse:
    """The body comes back in pieces, as it arrives."""
    answer = web.StreamResponse(headers={"x-expect": request.headers.get("expect", "")})
    await answer.prepare(request)
    async for piece in request.content.iter_chunked(16_384):
        await answer.write(piece)
    await answer.write_eof()
    return answer


async def _digest(request: web.Request) -> web.Response:
    digest, length = hashlib.sha256(), 0
    async for piece in request.content.iter_chunked(PIECE_BYTES):
        digest.update(piece)
        length += len(piece)
    return web.json_response({"sha256": digest.hexdigest(), "length": length})


async def _name(request: web.Request) -> web.Response:
    return web.Response(text=request.match_info["name"])


async def _count(request: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse()
    await answer.prepare(request)
    for number in range(int(request.match_info["count"])):
        await answer.write(b"%d\n" % number)
    await answer.write_eof()
    return answer


async def _header(request: web.Request) -> web.Response:
    return web.Response(text=request.headers.get(request.match_info["name"], ""))


class AiohttpServer:
    """/echo, /digest, /name/NAME, /count/COUNT, /header/NAME: the value of a request header, /content: `content`."""

    def __init__(self, content: bytes = b"", content_type: str = "", tls: ssl.SSLContext | None = None) -> None:
        async def get_content(request: web.Request) -> web.Response:
            return web.Response(body=content, content_type=content_type or "application/octet-stream")

        application = web.Application()
        application.router.add_route("*", "/echo", _echo)
        application.router.add_route("*", "/digest", _digest)
        application.router.add_get("/name/{name}", _name)
        application.router.add_get("/count/{count}", _count)
        application.router.add_get("/header/{name}", _header)
        application.router.add_get("/content", get_content)
        started = threading.Event()

        async def run() -> None:
            self._loop, self._stopped = asyncio.get_running_loop(), asyncio.Event()
            runner = web.AppRunner(application)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
            self.port = runner.addresses[0][1]
            started.set()
            await self._stopped.wait()
            await runner.cleanup()

        self._thread = threading.Thread(target=asyncio.run, args=(run(),), daemon=True)
        self._thread.start()
        assert started.wait(DEADLINE_S)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join(DEADLINE_S)
