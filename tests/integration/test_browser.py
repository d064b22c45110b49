"""A browser through a mesh: pages over HTTP/2 with TLS, and WebSockets, to endpoints of both versions of HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.aiohttp_server import AiohttpServer
from tests.browser import Browser, require_browser
from tests.mesh import Mesh, wait_until
from tests.secure import NAME, TERMINATED, Authority
from tests.websocket_peers import Http1Server, Http2Server

PAGE = b"""<!doctype html>
<title>mesh</title>
<p id=told>nothing</p>
<script>
document.getElementById("told").textContent = performance.getEntriesByType("navigation")[0].nextHopProtocol;

async function load(count) {
    const answers = await Promise.all(Array.from({length: count}, (_, i) => fetch("/name/" + i).then(it => it.text())));
    const hops = performance.getEntriesByType("resource").map(it => it.nextHopProtocol);
    return {answers, hops: [...new Set(hops)]};
}

async function upload(length) {
    const body = new Uint8Array(length).map((_, i) => i * 7);
    const answer = new Uint8Array(await (await fetch("/echo", {method: "POST", body})).arrayBuffer());
    return answer.length === length && answer.every((byte, i) => byte === body[i]);
}

function talk(path, lines) {
    return new Promise((resolve, reject) => {
        const socket = new WebSocket("wss://" + location.host + path);
        const heard = [];
        socket.onopen = () => socket.send(lines[0]);
        socket.onmessage = event => {
            heard.push(event.data);
            if (heard.length < lines.length) socket.send(lines[heard.length]);
            else socket.close(4000, "enough");
        };
        socket.onerror = () => reject(new Error("the WebSocket failed"));
        socket.onclose = event => resolve({heard, code: event.code, clean: event.wasClean});
    });
}
</script>
"""


class Site:
    """A mesh with TLS, a page, and WebSocket servers that speak HTTP/1.1 and HTTP/2, with a browser before it."""

    def __init__(self, folder: Path) -> None:
        authority = Authority(folder / "certs")
        self.servers = [AiohttpServer(PAGE, "text/html"), Http1Server(), Http2Server()]
        page, *sockets = self.servers
        http1, http2 = (f"127.0.0.1:{server.port}" for server in sockets)
        self.log = folder / "access.log"
        self.mesh = Mesh(folder / "config")
        self.mesh.serve(
            f"127.0.0.1:{page.port}",
            web=authority.web_lines(TERMINATED),
            more=f"access_log: {{path: {self.log}}}",
        )
        self.mesh.write(
            f"services:\n  http1: {{endpoints: [{http1}]}}\n  http2: {{endpoints: [{http2}], protocol: http2}}\n"
            "routes:\n"
            "  http1: {match: {path: {prefix: /http1}}, to: http1}\n"
            "  http2: {match: {path: {prefix: /http2}}, to: http2}\n",
            "sockets.yaml",
        )
        self.mesh.start()
        self.browser = Browser(folder, authority.chain("web"), NAME)
        self.browser.go(f"https://{NAME}:{self.mesh.port}/content")

    def lines(self, path: str) -> list[dict[str, Any]]:
        """What the access log says of a path."""
        return [line for line in map(json.loads, self.log.read_text().splitlines()) if line["path"] == path]

    def close(self) -> None:
        self.browser.close()
        self.mesh.close()
        for server in self.servers:
            if isinstance(server, AiohttpServer):
                server.stop()
            else:
                server.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    require_browser()
    site = Site(tmp_path_factory.mktemp("browser"))
    yield site
    site.close()


def test_a_page_comes_over_http2(site: Site) -> None:
    assert site.browser.evaluate("document.getElementById('told').textContent") == "h2"
    wait_until(lambda: site.lines("/content"))
    (line, *_) = site.lines("/content")
    assert (line["protocol"], line["tls"], line["status"]) == ("HTTP/2", "TLSv1.3", 200)


def test_a_page_loads_many_things_at_once(site: Site) -> None:
    told = site.browser.evaluate("load(200)")
    assert told["answers"] == [str(i) for i in range(200)]
    assert told["hops"] == ["h2"]


def test_a_page_uploads(site: Site) -> None:
    assert site.browser.evaluate("upload(3000000)") is True


@pytest.mark.parametrize("server", ["http1", "http2"])
def test_a_page_opens_a_websocket(site: Site, server: str) -> None:
    lines = ["hello", "ä" * 10_000, "", "x" * 1_000_000]
    told = site.browser.evaluate(f"talk('/{server}', {json.dumps(lines)})")
    assert told == {"heard": lines, "code": 4000, "clean": True}
    wait_until(lambda: site.lines(f"/{server}"))
    (line,) = site.lines(f"/{server}")
    # A browser has an HTTP/2 connection to the page's host, and opens the WebSocket on a stream of it (RFC 8441).
    assert (line["protocol"], line["service"], line["reason"]) == ("HTTP/2", server, "")
    assert line["bytes_in"] > line["bytes_out"] > 1_000_000


@pytest.mark.parametrize("server", ["http1", "http2"])
def test_a_websocket_is_closed_by_its_server(site: Site, server: str) -> None:
    told = site.browser.evaluate(f"talk('/{server}/closed', ['close', 'never said'])")
    assert told == {"heard": [], "code": 4001, "clean": True}
