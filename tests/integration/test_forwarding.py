"""What arrives on the other side: at the endpoint of a request, at the client of a response."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator

import pytest

from tests.engine import Client, ScriptedUpstream, reply
from tests.mesh import Mesh, wait_until
from tests.upstream import Upstream

STRANGE = {"x-forwarded-for": "6.6.6.6", "x-forwarded-proto": "https", "x-forwarded-host": "evil.example"}
HOP_BY_HOP = {"keep-alive", "proxy-connection", "proxy-authorization", "te", "upgrade", "http2-settings", "x-private"}


def arrived(mesh: Mesh, upstream: Upstream, headers: dict[str, str], path: str = "/") -> list[tuple[str, str]]:
    """The headers with which a request reached the endpoint."""
    upstream.seen.clear()
    assert mesh.get(path, headers=headers).status == 200
    return upstream.seen[0].headers


def values(headers: list[tuple[str, str]], name: str) -> list[str]:
    return [value for key, value in headers if key == name]


@pytest.fixture
def configured(mesh: Mesh, upstream: Upstream) -> Callable[[str], Mesh]:
    """Starts a mesh whose listener has these lines."""

    def start(web: str) -> Mesh:
        mesh.serve(upstream.address, web=web)
        return mesh.start(workers=1)

    return start


def test_a_request_passes_without_what_belongs_to_the_connection(hello: Mesh, upstream: Upstream) -> None:
    sent = {
        "Connection": "keep-alive, X-Private, Host, Content-Length, X-Forwarded-For",
        "Keep-Alive": "timeout=5",
        "Proxy-Connection": "keep-alive",
        "Proxy-Authorization": "Basic c2VjcmV0",
        "TE": "trailers",
        "Upgrade": "nothing",
        "X-Private": "1",
        "X-Public": "2",
        "Cookie": "a=b; c=d",
        "Authorization": "Bearer kept",
    }
    headers = arrived(hello, upstream, sent)
    names = {name for name, _ in headers}
    assert not names & HOP_BY_HOP
    assert values(headers, "connection") in ([], ["keep-alive"])
    assert values(headers, "host") == [hello.address]
    assert values(headers, "x-forwarded-for") == ["127.0.0.1"]
    for kept in ("x-public", "cookie", "authorization"):
        assert values(headers, kept) == [value for name, value in sent.items() if name.lower() == kept]


def test_the_target_arrives_as_it_was_sent(hello: Mesh, upstream: Upstream) -> None:
    for path in ("/a/../b/%2e%2e/c?x=%20y&&=", "//double//slash/", "/;p=1?", "/utf-8/%C3%A4"):
        arrived(hello, upstream, {}, path)
        assert upstream.seen[0].target == path


def test_a_stranger_is_not_believed(hello: Mesh, upstream: Upstream) -> None:
    headers = arrived(hello, upstream, {**STRANGE, "Host": "shop.example"})
    assert values(headers, "x-forwarded-for") == ["127.0.0.1"]
    assert values(headers, "x-forwarded-proto") == ["http"]
    assert values(headers, "x-forwarded-host") == ["shop.example"]
    assert values(headers, "host") == ["shop.example"]


def test_a_trusted_proxy_is_believed(configured: Callable[[str], Mesh], upstream: Upstream) -> None:
    mesh = configured("trusted_hops: 1")
    headers = arrived(mesh, upstream, STRANGE)
    assert values(headers, "x-forwarded-for") == ["6.6.6.6, 127.0.0.1"]
    assert values(headers, "x-forwarded-proto") == ["https"]
    assert values(headers, "x-forwarded-host") == ["evil.example"]
    headers = arrived(mesh, upstream, {})
    assert values(headers, "x-forwarded-for") == ["127.0.0.1"]
    assert values(headers, "x-forwarded-proto") == ["http"]
    assert values(headers, "x-forwarded-host") == [mesh.address]


def test_the_client_is_the_one_that_the_first_trusted_proxy_saw(
    configured: Callable[[str], Mesh], upstream: Upstream
) -> None:
    mesh = configured("trusted_hops: 2\nrate_limit: {rate: 1/h, burst: 1, key: source_address}")
    chain = {"X-Forwarded-For": "66.6.6.6, 10.0.0.1, 10.0.0.2"}
    assert values(arrived(mesh, upstream, chain), "x-forwarded-for") == ["10.0.0.1, 10.0.0.2, 127.0.0.1"]
    # What a stranger claims before the trusted part makes no other client of him; another client has his own bucket.
    assert mesh.get(headers={"X-Forwarded-For": "7.7.7.7, 10.0.0.1, 10.0.0.2"}).status == 429
    assert mesh.get(headers={"X-Forwarded-For": "10.0.0.9, 10.0.0.2"}).status == 200
    assert mesh.get(headers={"X-Forwarded-For": "not an address"}).status == 200
    assert mesh.get().status == 429


def test_a_request_id_is_kept_or_made(hello: Mesh, upstream: Upstream) -> None:
    assert values(arrived(hello, upstream, {"X-Request-Id": "order-17.a"}), "x-request-id") == ["order-17.a"]
    made = [values(arrived(hello, upstream, {}), "x-request-id") for _ in range(50)]
    assert all(len(ids) == 1 for ids in made)
    assert len({ids[0] for ids in made}) == 50
    assert all(re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", ids[0]) for ids in made)
    for doubtful in ("a b", "x" * 129, "ä".encode().decode("latin-1"), 'quo"te'):
        found = values(arrived(hello, upstream, {"X-Request-Id": doubtful}), "x-request-id")
        assert len(found) == 1 and found[0] != doubtful


def test_an_answer_of_our_own_names_the_request_that_the_log_names(hello: Mesh, upstream: Upstream) -> None:
    upstream.stop()
    refused = hello.get(headers={"X-Request-Id": "order-18"})
    assert refused.status == 503
    assert refused.headers["x-request-id"] == "order-18"


def test_via_is_added_only_if_asked(configured: Callable[[str], Mesh], upstream: Upstream) -> None:
    mesh = configured("via: edge-1")
    headers = arrived(mesh, upstream, {"Via": "1.0 before"})
    assert ", ".join(values(headers, "via")) == "1.0 before, 1.1 edge-1"
    assert mesh.get().headers["via"] == "1.1 edge-1"
    version = mesh.version()
    mesh.serve(upstream.address)
    wait_until(lambda: mesh.version() != version)
    assert values(arrived(mesh, upstream, {"Via": "1.0 before"}), "via") == ["1.0 before"]
    assert "via" not in mesh.get().headers


@pytest.fixture
def answering(mesh: Mesh) -> Iterator[Callable[..., dict[str, str]]]:
    """What a client gets of a response with these headers."""
    sent: list[bytes] = []

    def script(client: Client, number: int) -> None:
        while True:
            client.until(b"\r\n\r\n")
            client.send(reply(b"ok", *sent))

    upstream = ScriptedUpstream(script)
    mesh.serve(f"127.0.0.1:{upstream.port}")
    mesh.start(workers=1)

    def answer(*headers: bytes) -> dict[str, str]:
        sent[:] = headers
        answered = mesh.get()
        assert answered.text == "ok"
        return answered.headers

    yield answer
    upstream.close()


def test_a_response_passes_without_what_belongs_to_the_connection(answering: Callable[..., dict[str, str]]) -> None:
    headers = answering(
        b"Connection: X-Private, keep-alive",
        b"Keep-Alive: timeout=5",
        b"Proxy-Authenticate: Basic",
        b"X-Private: 1",
        b"X-Public: 2",
        b'ETag: "abc"',
        b"Date: Sun, 06 Nov 1994 08:49:37 GMT",
        b"Server: something/1.0",
    )
    assert headers["x-public"] == "2"
    assert headers["etag"] == '"abc"'
    assert headers["date"] == "Sun, 06 Nov 1994 08:49:37 GMT"
    assert headers["server"] == "something/1.0"
    assert not headers.keys() & {"x-private", "keep-alive", "proxy-authenticate"}
    assert "x-private" not in headers.get("connection", "").lower()


def test_cookies_are_not_folded_together(mesh: Mesh) -> None:
    cookies = [b"Set-Cookie: a=1; Expires=Sun, 06 Nov 1994 08:49:37 GMT", b"Set-Cookie: b=2"]

    def script(client: Client, number: int) -> None:
        client.until(b"\r\n\r\n")
        client.send(reply(b"ok", *cookies))

    upstream = ScriptedUpstream(script)
    mesh.serve(f"127.0.0.1:{upstream.port}")
    mesh.start(workers=1)
    client = Client(socket.create_connection(("127.0.0.1", mesh.port), timeout=10))
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    head = client.response().head.split(b"\r\n")
    assert [line.split(b": ")[1] for line in head if line.lower().startswith(b"set-cookie")] == [
        cookie.split(b": ", 1)[1] for cookie in cookies
    ]
    client.close()
    upstream.close()
