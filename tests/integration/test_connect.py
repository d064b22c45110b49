"""CONNECT where a route allows it: a tunnel through the endpoint, HTTP/1.1 on both sides."""

from __future__ import annotations

from contextlib import closing

from tests.engine import Client, EngineThread, ScriptedUpstream, make_snapshot


def proxy(client: Client, _: int) -> None:
    """An endpoint that is a proxy itself: it answers CONNECT, then echoes."""
    head = client.until(b"\r\n\r\n")
    if not head.startswith(b"CONNECT db.local:5432 HTTP/1.1\r\n"):
        client.send(b"HTTP/1.1 400 Bad\r\ncontent-length: 0\r\n\r\n")
        return
    client.send(b"HTTP/1.1 200 Connected\r\n\r\nready ")
    while data := client.receive():
        client.send(data.upper())


def refusing(client: Client, _: int) -> None:
    client.until(b"\r\n\r\n")
    client.send(b"HTTP/1.1 403 No\r\ncontent-length: 2\r\n\r\nno")


def test_a_tunnel_carries_bytes_both_ways() -> None:
    with closing(ScriptedUpstream(proxy)) as upstream:
        engine = EngineThread(make_snapshot([upstream.port], route={"allows_connect": True}))
        client = engine.connect()
        client.send(b"CONNECT db.local:5432 HTTP/1.1\r\nhost: db.local:5432\r\n\r\n")
        head = client.until(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ") and b"content-length" not in head and b"transfer-enc" not in head
        assert client.exactly(6) == b"ready "
        client.send(b"select 1;")
        assert client.exactly(9) == b"SELECT 1;"
        client.sock.shutdown(1)
        assert client.to_end() == b""
        client.close()
        engine.close()


def test_bytes_behind_the_head_wait_for_the_tunnel() -> None:
    with closing(ScriptedUpstream(proxy)) as upstream:
        engine = EngineThread(make_snapshot([upstream.port], route={"allows_connect": True}))
        client = engine.connect()
        client.send(b"CONNECT db.local:5432 HTTP/1.1\r\nhost: db.local:5432\r\n\r\nearly")
        client.until(b"\r\n\r\n")
        assert client.exactly(11) == b"ready EARLY"
        client.close()
        engine.close()


def test_an_answer_that_does_not_succeed_is_an_answer() -> None:
    with closing(ScriptedUpstream(refusing)) as upstream:
        engine = EngineThread(make_snapshot([upstream.port], route={"allows_connect": True}))
        client = engine.connect()
        client.send(b"CONNECT db.local:5432 HTTP/1.1\r\nhost: db.local:5432\r\n\r\n")
        response = client.response()
        assert (response.status, response.body) == (403, b"no")
        client.close()
        engine.close()


def test_without_permission_it_is_refused() -> None:
    engine = EngineThread(make_snapshot([1]))
    client = engine.connect()
    client.send(b"CONNECT db.local:5432 HTTP/1.1\r\nhost: db.local:5432\r\n\r\n")
    response = client.response()
    assert (response.status, response.headers["x-fastmesh-reason"]) == (501, "connect_not_supported")
    client.close()
    engine.close()
