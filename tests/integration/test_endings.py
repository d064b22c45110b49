"""Exchanges of which one side has ended, or goes away, while the other has not: nothing may point at what is gone."""

from __future__ import annotations

import contextlib
import socket
import threading
from contextlib import closing

from fastmesh import snapshot as s
from tests.engine import Client, EngineThread, ScriptedUpstream, make_snapshot, proxied, wait_until
from tests.http2_peers import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PREFACE,
    RST_STREAM,
    TO_HTTP2,
    Headers,
    Http2Endpoint,
    RawClient,
    Request,
    connect,
    frame,
    get,
    http2_endpoint,
    settings,
    u32,
)
from tests.integration.test_tcp import tcp_snapshot

WEBSOCKET: Headers = [
    (":method", "CONNECT"),
    (":protocol", "websocket"),
    (":scheme", "http"),
    (":authority", "mesh.test"),
    (":path", "/chat"),
]


def wait_for_exchanges(engine: EngineThread, count: int) -> None:
    wait_until(lambda: engine.live()["exchange"] == count, lambda: str(engine.live()))


def test_a_client_leaves_when_its_answer_has_ended_but_the_endpoints_has_not() -> None:
    """A response to HEAD ends with its head for the client; the endpoint's END_STREAM is still to come."""
    may_end = threading.Event()

    def slow_end(peer: Http2Endpoint, request: Request) -> None:
        peer.h2.send_headers(request.stream_id, [(":status", "200"), ("content-length", "10")])
        peer.flush()
        may_end.wait(30)
        peer.h2.end_stream(request.stream_id)

    with proxied(http2_endpoint(slow_end), service=TO_HTTP2) as (engine, _):
        client = connect(engine)
        assert client.fetch(get(method="HEAD")).status == 200
        client.reset()
        wait_for_exchanges(engine, 0)
        may_end.set()


def test_an_answer_that_ends_late_ends_well() -> None:
    def late(peer: Http2Endpoint, request: Request) -> None:
        peer.h2.send_headers(request.stream_id, [(":status", "200")])
        peer.flush()
        peer.h2.end_stream(request.stream_id)

    with proxied(http2_endpoint(late), service=TO_HTTP2) as (engine, _):
        client = connect(engine)
        for _ in range(20):
            assert client.fetch(get(method="HEAD")).status == 200
        client.close()
        engine.settle()
        assert engine.shared.series(2).requests[2] == 20


def test_a_client_leaves_a_tunnel_that_has_ended_both_ways_and_still_holds_bytes() -> None:
    """The endpoint has ended its side, and takes nothing of what the client sent before it ended its own."""
    over = threading.Event()

    def deaf(client: Client, _: int) -> None:
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.until(b"\r\n\r\n")
        client.send(b"HTTP/1.1 200 OK\r\n\r\n")
        client.sock.shutdown(socket.SHUT_WR)
        over.wait(30)

    with proxied(deaf, route={"allows_connect": True}) as (engine, _):
        client = connect(engine)
        stream_id = client.request([(":method", "CONNECT"), (":authority", "a:1")], ends=False)
        answer = client.answers[stream_id]
        client.wait(lambda: answer.ended)
        assert (answer.status, answer.reset) == (200, None)
        taken = 0
        with contextlib.suppress(TimeoutError):  # until nothing more is taken: the endpoint is blocked
            client.sock.settimeout(0.3)
            while taken < 16 << 20:
                client.send_body(stream_id, b"x" * 16384, ends=False)
                taken += 16384
        client.h2.end_stream(stream_id)
        client.flush()
        client.reset()
        wait_for_exchanges(engine, 0)
        over.set()


def test_an_endpoint_resets_a_tunnel_that_it_has_ended() -> None:
    """END_STREAM, then RST_STREAM, then the connection is gone; and the client goes on sending."""

    def hang_up(client: Client, _: int) -> None:
        client.exactly(len(PREFACE))
        client.send(settings((8, 1)))  # SETTINGS_ENABLE_CONNECT_PROTOCOL
        kind = -1
        while kind != HEADERS:
            head = client.exactly(9)
            length, kind, stream_id = int.from_bytes(head[:3]), head[3], int.from_bytes(head[5:])
            client.exactly(length)
        client.send(
            frame(HEADERS, END_HEADERS, stream_id, b"\x88")
            + frame(DATA, END_STREAM, stream_id, b"bye")
            + frame(RST_STREAM, 0, stream_id, u32(0))
        )

    with proxied(hang_up, service=TO_HTTP2) as (engine, _):
        for _ in range(3):
            client = connect(engine)
            stream_id = client.request([*WEBSOCKET], ends=False)
            answer = client.answers[stream_id]
            client.wait(lambda answer=answer: answer.ended or answer.reset is not None)
            assert answer.status == 200
            wait_until(lambda: engine.live()["upstream"] == 0)
            client.sock.sendall(frame(DATA, 0, stream_id, b"is anyone there?") * 3)
            wait_for_exchanges(engine, 0)
            client.close()


def test_a_tcp_client_is_reset_when_its_endpoint_begins_to_read_again() -> None:
    """Both happen in one round: the last flush of a connection that is let go of tells nobody."""
    read_on = threading.Event()
    has_read = threading.Event()

    def slow(client: Client, _: int) -> None:
        read_on.wait(10)
        client.sock.settimeout(0.2)
        try:
            while client.receive():
                pass
        except TimeoutError:
            has_read.set()

    with closing(ScriptedUpstream(slow)) as upstream:
        engine = EngineThread(tcp_snapshot([upstream.port]))
        client = engine.connect()
        client.sock.setblocking(False)
        for _ in range(2):
            try:
                while True:
                    client.sock.send(b"x" * 65536)
            except BlockingIOError:
                wait_until(lambda: engine.shared.endpoint(1).active == 1)
        with engine._lock:
            client.reset()
            read_on.set()
            has_read.wait(10)
        engine.close()


def test_frames_behind_the_end_of_a_held_stream() -> None:
    """The client's stream is closed both ways, and waits for its exchange; what still comes for it is an error."""
    may_end = threading.Event()

    def slow_end(peer: Http2Endpoint, request: Request) -> None:
        peer.h2.send_headers(request.stream_id, [(":status", "200")])
        peer.flush()
        may_end.wait(30)

    for late in (
        frame(DATA, END_STREAM, 1, b"late"),
        frame(8, 0, 1, u32(0x7FFFFFFF)) * 2,
        frame(RST_STREAM, 0, 1, u32(8)),
        frame(1, 5, 1, b"\x82"),
    ):
        may_end.clear()
        with proxied(http2_endpoint(slow_end), service=TO_HTTP2) as (engine, _):
            raw = RawClient(engine.port)
            block = b"\x02\x04HEAD\x86\x84\x41\x01a"
            raw.send(frame(1, 5, 1, block))
            assert raw.until_kind(1) is not None
            raw.send(late)
            wait_for_exchanges(engine, 0)
            raw.close()
            may_end.set()


def test_http2_and_the_snapshot_is_swapped_in_the_midst() -> None:
    """The service that streams go to is gone, its endpoint too; they end where they began."""
    may_answer = threading.Event()

    def slow(peer: Http2Endpoint, request: Request) -> None:
        may_answer.wait(10)
        peer.reply(request.stream_id, b"late")

    with closing(ScriptedUpstream(http2_endpoint(slow))) as upstream:
        engine = EngineThread(make_snapshot([upstream.port], service=TO_HTTP2))
        client = connect(engine)
        streams = [client.request() for _ in range(5)]
        wait_for_exchanges(engine, 5)
        engine.install(make_snapshot([1], service={"id": 2, "protocol": s.Protocol.HTTP1}, version="02"))
        may_answer.set()
        assert [client.answer(stream_id).body for stream_id in streams] == [b"late"] * 5
        client.close()
        engine.close()
