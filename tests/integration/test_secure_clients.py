"""Clients that people use, over TLS: curl, nghttp, h2load and aiohttp, with HTTP/2 and HTTP/1.1."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from tests.aiohttp_server import AiohttpServer
from tests.mesh import Mesh
from tests.secure import NAME, Authority

DEADLINE_S = 60
MIB = 1 << 20
LARGE = os.urandom(MIB) * 64
SECURED = "secured.mesh.test"
LARGE_DIGEST = hashlib.sha256(LARGE).hexdigest()


class Site:
    """A mesh with TLS towards clients, and towards an endpoint of the host SECURED only."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder / "certs")
        assert self.authority.client.key_pem
        self.authority.issue("web", "web.test", SECURED)
        self.servers = [AiohttpServer(LARGE), AiohttpServer(LARGE, tls=self.authority.server_settings())]
        plain, secured = self.servers
        self.mesh = Mesh(folder / "config")
        at = self.authority
        self.mesh.serve(
            plain.address,
            web=f"tls: {{certificates: {{certificate: {at.chain('web')}, key: {at.key('web')}}}, "
            f"client_certificate: optional, client_ca: {at.ca}, forward_client_certificate: true}}",
        )
        self.mesh.write(
            f"services:\n  secured:\n    endpoints: [{secured.address}]\n"
            f"    tls: {{ca: {at.ca}, server_name: server.test}}\n"
            f"routes:\n  secured: {{match: {{hosts: [{SECURED}]}}, to: secured}}\n",
            "secured.yaml",
        )
        self.mesh.start()

    @property
    def url(self) -> str:
        return f"https://{NAME}:{self.mesh.port}"

    def run(self, *command: str, stdin: bytes = b"") -> bytes:
        """What a client wrote to standard output; it must have succeeded."""
        if shutil.which(command[0]) is None:
            pytest.skip(f"{command[0]} is not installed: apt-get install {PACKAGES[command[0]]}")
        # A sanitizer's runtime is preloaded for fastmesh, not for clients, which hang under it.
        env = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
        done = subprocess.run(command, input=stdin, capture_output=True, timeout=DEADLINE_S, env=env)
        assert done.returncode == 0, done.stdout[-2000:].decode() + done.stderr[-2000:].decode()
        return done.stdout

    def curl(self, *arguments: str, stdin: bytes = b"") -> bytes:
        common = [
            "--silent",
            "--show-error",
            "--fail",
            "--max-time",
            str(DEADLINE_S),
            "--cacert",
            str(self.authority.ca),
        ]
        for name in (NAME, SECURED):
            common += ["--resolve", f"{name}:{self.mesh.port}:127.0.0.1"]
        return self.run("curl", *common, *arguments, stdin=stdin)

    def close(self) -> None:
        self.mesh.close()
        for server in self.servers:
            server.stop()


PACKAGES = {"curl": "curl", "nghttp": "nghttp2-client", "h2load": "nghttp2-client"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("secure"))
    yield site
    site.close()


@pytest.fixture(params=["http1", "http2"])
def version(request: pytest.FixtureRequest) -> str:
    """As curl names it."""
    return {"http1": "--http1.1", "http2": "--http2"}[request.param]


def test_curl(site: Site, version: str) -> None:
    told = site.curl(version, "--write-out", " %{http_version}", f"{site.url}/name/curl").decode()
    assert told == ("curl 2" if version == "--http2" else "curl 1.1")


def test_curl_keeps_one_connection_for_several_requests(site: Site, version: str) -> None:
    urls = [f"{site.url}/name/{i}" for i in range(20)]
    written = site.curl(version, "--write-out", " %{num_connects}\n", *urls).decode().splitlines()
    assert written == [f"{i} {int(i == 0)}" for i in range(20)]


def test_curl_in_parallel(site: Site, tmp_path: Path) -> None:
    urls = [f"{site.url}/name/{i}" for i in range(100)]
    site.curl("--http2", "--parallel", "--output-dir", str(tmp_path), "--remote-name-all", *urls)
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {str(i): str(i) for i in range(100)}


def test_curl_with_a_client_certificate(site: Site, version: str) -> None:
    url = f"{site.url}/header/x-forwarded-client-cert"
    pair = ["--cert", str(site.authority.chain("client")), "--key", str(site.authority.key("client"))]
    assert site.curl(version, "--header", "x-forwarded-client-cert: DNS=forged.test", url) == b""
    assert b"DNS=client.test" in site.curl(version, *pair, url)


def test_curl_refuses_a_mesh_that_it_does_not_trust(site: Site, tmp_path: Path) -> None:
    stranger = Authority(tmp_path / "stranger")
    failed = subprocess.run(
        ["curl", "--silent", "--cacert", str(stranger.ca), f"https://127.0.0.1:{site.mesh.port}/name/x"], check=False
    )
    assert failed.returncode == 60


@pytest.mark.parametrize("host", [NAME, SECURED])
def test_curl_moves_64_mib_both_ways(site: Site, version: str, host: str, tmp_path: Path) -> None:
    url = f"https://{host}:{site.mesh.port}"
    file = tmp_path / "large"
    file.write_bytes(LARGE)
    answer = json.loads(site.curl(version, "--upload-file", str(file), f"{url}/digest"))
    assert answer == {"sha256": LARGE_DIGEST, "length": len(LARGE)}
    site.curl(version, "--output", str(file), f"{url}/content")
    assert hashlib.sha256(file.read_bytes()).hexdigest() == LARGE_DIGEST


def test_curl_echoes_a_body_of_unknown_length(site: Site, version: str) -> None:
    body = LARGE[: 5 * MIB]
    assert site.curl(version, "--upload-file", "-", f"{site.url}/echo", stdin=body) == body


def test_nghttp(site: Site) -> None:
    urls = [f"https://127.0.0.1:{site.mesh.port}/name/{i}" for i in range(20)]
    written = site.run("nghttp", "--no-verify-peer", *urls).decode()
    assert sorted(written.replace("\n", "")) == sorted("".join(str(i) for i in range(20)))
    assert "[ERROR]" not in written


def test_nghttp_uploads(site: Site, tmp_path: Path) -> None:
    file = tmp_path / "large"
    file.write_bytes(LARGE[: 8 * MIB])
    url = f"https://127.0.0.1:{site.mesh.port}/digest"
    answer = json.loads(site.run("nghttp", "--no-verify-peer", "--data", str(file), url))
    assert answer == {"sha256": hashlib.sha256(file.read_bytes()).hexdigest(), "length": 8 * MIB}


def test_h2load(site: Site) -> None:
    url = f"https://127.0.0.1:{site.mesh.port}/name/x"
    told = site.run("h2load", "-n", "2000", "-c", "8", "-m", "16", url).decode()
    assert re.search(r"2000 done, 2000 succeeded, 0 failed, 0 errored, 0 timeout", told), told
    assert "ALPN protocol: h2" in told or "Application protocol: h2" in told


def test_aiohttp(site: Site) -> None:
    settings = site.authority.client_settings("client")

    async def talk() -> None:
        connector = aiohttp.TCPConnector(limit=50, ssl=settings)
        async with aiohttp.ClientSession(f"https://127.0.0.1:{site.mesh.port}", connector=connector) as session:

            async def small(i: int) -> None:
                async with session.get(f"/name/{i}") as answer:
                    assert await answer.text() == str(i)

            async def large(i: int) -> None:
                body = bytes([i]) * 200_000
                async with session.post("/echo", data=body) as answer:
                    assert await answer.read() == body

            await asyncio.gather(*(small(i) for i in range(300)), *(large(i) for i in range(30)))

    asyncio.run(asyncio.wait_for(talk(), DEADLINE_S))


def test_a_plain_client_is_told(site: Site) -> None:
    answer = subprocess.run(
        ["curl", "--silent", "--write-out", "%{http_code}", f"http://127.0.0.1:{site.mesh.port}/"],
        capture_output=True,
        check=False,
    ).stdout
    assert b"This port speaks TLS" in answer and answer.endswith(b"400")


def test_an_old_tls_version_is_refused(site: Site) -> None:
    failed = subprocess.run(
        ["curl", "--silent", "--insecure", "--tls-max", "1.1", f"https://127.0.0.1:{site.mesh.port}/"], check=False
    )
    assert failed.returncode == 35
