"""CONNECT and WebSocket in every pairing of HTTP/1.1 and HTTP/2."""

import asyncio
import base64
import hashlib
import struct
import threading

import h2.events
import pytest
from websockets.asyncio.server import serve as serve_websockets

from fastmesh._core.websocket import accept
from tests.engine import Client, EngineThread, make_snapshot, proxied, reply, wait_until
from tests.http2_peers import CANCEL, TO_HTTP2, Http2Client, Http2Endpoint, connect, http2_endpoint

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
UPGRADE = (
    f"GET /chat HTTP/1.1\r\nHost: mesh.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
).encode()


def expected_accept(key: str) -> str:
    return base64.b64encode(hashlib.sha1(key.encode() + GUID).digest()).decode()


@pytest.mark.parametrize("length", [0, 1, 19, 20, 24, 27, 28, 50, 83, 84, 91, 92, 100, 128])
def test_the_accept_is_that_of_rfc_6455(length):
    key = "k" * length
    assert accept(key.encode()).decode() == expected_accept(key)


def connect_headers(path: str = "/chat", protocol: str = "websocket"):
    return [
        (":method", "CONNECT"),
        (":protocol", protocol),
        (":scheme", "http"),
        (":authority", "mesh.test"),
        (":path", path),
        ("sec-websocket-version", "13"),
    ]


def open_tunnel(client: Http2Client, headers=None) -> int:
    stream_id = client.request(headers or connect_headers(), ends=False)
    client.wait(lambda: client.answers[stream_id].status or client.answers[stream_id].reset is not None)
    return stream_id


def echo1(client: Client, number: int) -> None:
    """An HTTP/1.1 endpoint: upgrades, then gives back what comes; its own end when the other side has ended."""
    head = client.until(b"\r\n\r\n").decode()
    fields = {name.lower(): value for name, value in (one.split(": ", 1) for one in head.strip().split("\r\n")[1:])}
    assert head.startswith("GET /chat HTTP/1.1\r\n")
    assert (fields["upgrade"], fields["connection"]) == ("websocket", "upgrade")
    assert len(base64.b64decode(fields["sec-websocket-key"])) == 16
    client.send(
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Accept: " + expected_accept(fields["sec-websocket-key"]).encode() + b"\r\n\r\nwelcome "
    )
    rest, client._rest = client._rest, b""
    client.send(rest)
    while data := client.receive():
        client.send(data)


def echo2(peer: Http2Endpoint, event: h2.events.Event) -> bool:
    """The same over HTTP/2."""
    if isinstance(event, h2.events.RequestReceived):
        fields = dict(event.headers)
        assert (fields[":method"], fields[":protocol"], fields[":path"]) == ("CONNECT", "websocket", "/chat")
        assert "sec-websocket-key" not in fields
        peer.h2.send_headers(event.stream_id, [(":status", "200")])
        peer.send(event.stream_id, b"welcome ")
    elif isinstance(event, h2.events.DataReceived):
        peer.send(event.stream_id, event.data)
        peer.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
    elif isinstance(event, h2.events.StreamEnded):
        peer.send(event.stream_id, b"", ends=True)
    return True


UPSTREAMS = {
    "http1": (echo1, {}),
    "http2": (http2_endpoint(on_event=echo2, ENABLE_CONNECT_PROTOCOL=1), TO_HTTP2),
}


@pytest.mark.parametrize("upstream", UPSTREAMS)
def test_a_tunnel_from_http2(upstream):
    script, service = UPSTREAMS[upstream]
    with proxied(script, service=service) as (engine, _):
        client = connect(engine)
        stream_id = open_tunnel(client)
        answer = client.answers[stream_id]
        assert answer.status == 200
        assert not {"connection", "upgrade", "sec-websocket-accept", "content-length"} & set(answer.headers)
        data = bytes(range(256)) * 1000
        client.send_body(stream_id, data)
        assert client.answer(stream_id).body == b"welcome " + data
        assert answer.ended
        wait_until(lambda: engine.live()["stream"] == 0 and engine.live()["exchange"] == 0)
        client.close()


@pytest.mark.parametrize("upstream", UPSTREAMS)
def test_a_tunnel_from_http1(upstream):
    script, service = UPSTREAMS[upstream]
    with proxied(script, service=service) as (engine, _):
        client = engine.connect()
        client.send(UPGRADE)
        head = client.until(b"\r\n\r\n").decode().lower()
        assert head.startswith("http/1.1 101 ")
        assert "upgrade: websocket\r\n" in head
        assert "connection: upgrade\r\n" in head
        assert f"sec-websocket-accept: {expected_accept(KEY)}\r\n".lower() in head
        data = bytes(range(256)) * 1000
        threading.Thread(target=lambda: (client.send(data), client.sock.shutdown(1)), daemon=True).start()
        assert client.to_end() == b"welcome " + data
        client.close()


@pytest.mark.parametrize("upstream", UPSTREAMS)
def test_what_comes_before_the_answer_waits_for_it(upstream):
    script, service = UPSTREAMS[upstream]
    with proxied(script, service=service) as (engine, _):
        client = connect(engine)
        stream_id = client.request(connect_headers(), ends=False)
        client.send_body(stream_id, b"impatient")
        assert client.answer(stream_id).body == b"welcome impatient"
        client.close()


@pytest.mark.parametrize("upstream", UPSTREAMS)
def test_a_client_that_resets_ends_the_tunnel(upstream):
    script, service = UPSTREAMS[upstream]
    with proxied(script, service=service) as (engine, _):
        client = connect(engine)
        stream_id = open_tunnel(client)
        client.h2.reset_stream(stream_id, CANCEL)
        client.flush()
        wait_until(lambda: engine.live()["exchange"] == 0 and engine.live()["stream"] == 0)
        client.close()


def test_an_endpoint_without_extended_connect_refuses_upgrades():
    with proxied(http2_endpoint(), service=TO_HTTP2) as (engine, _):
        client = connect(engine)
        for _ in range(2):
            assert client.fetch(connect_headers()).status == 502
        plain = engine.connect()
        plain.send(UPGRADE)
        answer = plain.response()
        assert (answer.status, answer.headers["x-fastmesh-reason"]) == (502, "upgrade_refused")
        plain.close()
        client.close()


def test_an_upgrade_that_the_endpoint_declines_is_an_ordinary_answer():
    def no1(client: Client, number: int) -> None:
        client.until(b"\r\n\r\n")
        client.send(reply(b"no", status=b"403 Forbidden"))

    def no2(peer: Http2Endpoint, event: h2.events.Event) -> bool:
        if isinstance(event, h2.events.RequestReceived):
            peer.reply(event.stream_id, b"no", status=403)
        return True

    for script, service in ((no1, {}), (http2_endpoint(on_event=no2, ENABLE_CONNECT_PROTOCOL=1), TO_HTTP2)):
        with proxied(script, service=service) as (engine, _):
            client = connect(engine)
            stream_id = client.request(connect_headers(), ends=False)
            answer = client.answer(stream_id)
            assert (answer.status, answer.body) == (403, b"no")
            plain = engine.connect()
            plain.send(UPGRADE)
            assert plain.response().status == 403
            plain.close()
            client.close()


def test_a_wrong_accept_is_refused():
    def script(client: Client, number: int) -> None:
        client.until(b"\r\n\r\n")
        client.send(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Accept: c3VyZWx5IHdyb25nIGFuc3dlcg==\r\n\r\n"
        )

    with proxied(script) as (engine, _):
        client = connect(engine)
        assert client.fetch(connect_headers()).status == 502
        client.close()


@pytest.mark.parametrize("protocol", ["websocket-2", "x"])
def test_other_protocols_are_malformed(protocol):
    with proxied(echo1) as (engine, _):
        client = connect(engine)
        assert client.fetch(connect_headers(protocol=protocol)).status == 400
        client.close()


def masked(payload: bytes) -> bytes:
    """A text frame as a WebSocket client sends it."""
    mask = b"\1\2\3\4"
    return b"\x81" + bytes([0x80 | len(payload)]) + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(payload))


def test_a_real_websocket_server_behind_http2():
    ready = threading.Event()
    port = 0
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def echo(connection):
        async for message in connection:
            await connection.send(message[::-1])

    async def run():
        nonlocal port
        async with serve_websockets(echo, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()), daemon=True)
    thread.start()
    assert ready.wait(10)
    engine = EngineThread(make_snapshot([port]))
    client = connect(engine)
    stream_id = open_tunnel(client)
    assert client.answers[stream_id].status == 200
    client.send_body(stream_id, masked(b"hello"), ends=False)
    client.wait(lambda: len(client.answers[stream_id].body) >= 7)
    assert client.answers[stream_id].body == b"\x81\x05olleh"
    client.send_body(stream_id, b"\x88\x82\0\0\0\0" + struct.pack(">H", 1000))  # close
    assert client.answer(stream_id).ended
    client.close()
    loop.call_soon_threadsafe(stop.set)
    thread.join(10)
    engine.close()


# ---- plain CONNECT

CONNECT = [(":method", "CONNECT"), (":authority", "mesh.test:80")]


def connect1(client: Client, number: int) -> None:
    head = client.until(b"\r\n\r\n")
    assert head.startswith(b"CONNECT mesh.test:80 HTTP/1.1\r\n")
    client.send(b"HTTP/1.1 200 OK\r\n\r\n")
    while data := client.receive():
        client.send(data)


def connect2(peer: Http2Endpoint, event: h2.events.Event) -> bool:
    if isinstance(event, h2.events.RequestReceived):
        assert [name for name, _ in event.headers if name[0] == ":"] == [":method", ":authority"]
        peer.h2.send_headers(event.stream_id, [(":status", "200")])
    elif isinstance(event, h2.events.DataReceived):
        peer.send(event.stream_id, event.data)
        peer.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
    elif isinstance(event, h2.events.StreamEnded):
        peer.send(event.stream_id, b"", ends=True)
    return True


@pytest.mark.parametrize(
    ("script", "service"), [(connect1, {}), (http2_endpoint(on_event=connect2), TO_HTTP2)], ids=["http1", "http2"]
)
@pytest.mark.parametrize("downstream", ["http1", "http2"])
def test_connect_where_a_route_allows_it(script, service, downstream):
    with proxied(script, service=service, route={"allows_connect": True}) as (engine, _):
        data = bytes(100_000)
        if downstream == "http2":
            client = connect(engine)
            stream_id = open_tunnel(client, CONNECT)
            client.send_body(stream_id, data)
            assert client.answer(stream_id).body == data
        else:
            client = engine.connect()
            client.send(b"CONNECT mesh.test:80 HTTP/1.1\r\nHost: mesh.test:80\r\n\r\n")
            assert client.until(b"\r\n\r\n").startswith(b"HTTP/1.1 200 ")
            threading.Thread(target=lambda: (client.send(data), client.sock.shutdown(1)), daemon=True).start()
            assert client.to_end() == data
        client.close()


def test_connect_where_no_route_allows_it():
    with proxied(connect1) as (engine, _):
        client = connect(engine)
        assert client.fetch(CONNECT).status == 501
        client.close()
