"""Each way to make a peer work for nothing is cut off, and counted by kind."""

import socket
from collections.abc import Callable

import pytest

from fastmesh._core.http2_guard import ATTACKS
from tests.engine import Client, EngineThread, proxied, reply, serve, wait_until
from tests.http2_peers import (
    CANCEL,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    GET_BLOCK,
    HEADERS,
    PING,
    PRIORITY,
    RST_STREAM,
    TO_HTTP2,
    WINDOW_UPDATE,
    RawClient,
    block,
    connect,
    frame,
    get,
    http2_endpoint,
    settings,
    u32,
)

WHOLE = HEADERS, END_HEADERS | END_STREAM


def attacks(engine: EngineThread) -> dict[str, int]:
    return {name: n for name, n in zip(ATTACKS, engine.shared.workers()[0].http2_attacks, strict=True) if n}


def never(client: Client, number: int) -> None:
    while client.receive():
        pass


def bomb(stream_id: int) -> bytes:
    """A header block of a few KiB that decodes to many: one large field in the table, named again and again."""
    return frame(*WHOLE, stream_id, b"\x40\x01a\x7f\xa1\x1e" + b"v" * 4000 + b"\xbe" * 4000)


POST = frame(HEADERS, END_HEADERS, 1, block(*get(method="POST")))
FLOODS: dict[str, Callable[[int], bytes]] = {
    "rapid_reset": lambda i: frame(*WHOLE, 2 * i + 1, GET_BLOCK) + frame(RST_STREAM, 0, 2 * i + 1, u32(CANCEL)),
    "settings": lambda i: settings(),
    "ping": lambda i: frame(PING, 0, 0, bytes(8)),
    "empty_frames": lambda i: (POST if i == 0 else b"") + frame(DATA, 0, 1),
    "window_update": lambda i: (POST if i == 0 else b"") + frame(WINDOW_UPDATE, 0, i % 2, u32(1)),
    "priority": lambda i: frame(PRIORITY, 0, 2 * i + 1, bytes(5)),
    "streams": lambda i: frame(*WHOLE, 2 * i + 1, GET_BLOCK),
    "unknown_frames": lambda i: frame(0x42, 0, 0, b"x"),
    "header_bomb": lambda i: bomb(2 * i + 1),
    "continuation": lambda i: frame(CONTINUATION if i else HEADERS, 0, 1, b"\0\x01a\x01b"),
}


@pytest.mark.parametrize("kind", FLOODS)
def test_a_flood_from_a_client_is_cut_off(kind):
    with proxied(never, listener={"streams_max": 50}) as (engine, _):
        client = RawClient(engine.port)
        for i in range(4000):
            try:
                client.send(FLOODS[kind](i))
            except OSError:
                break
        assert client.outcome() == ("connection", ENHANCE_YOUR_CALM) or attacks(engine)
        assert attacks(engine) == {kind: 1}
        client.close()


PROVOKED: dict[str, Callable[[int], bytes]] = {
    "DATA behind END_STREAM": lambda i: frame(*WHOLE, 2 * i + 1, GET_BLOCK) + frame(DATA, 0, 2 * i + 1, b"x"),
    "more than content-length": lambda i: (
        frame(HEADERS, END_HEADERS, 2 * i + 1, block(*get("/", ("content-length", "1"), method="POST")))
        + frame(DATA, 0, 2 * i + 1, b"xxx")
    ),
    "malformed trailers": lambda i: (
        frame(HEADERS, END_HEADERS, 2 * i + 1, block(*get(method="POST")))
        + frame(*WHOLE, 2 * i + 1, block((":path", "/")))
    ),
}


@pytest.mark.parametrize("provoke", PROVOKED)
def test_resets_that_a_client_provokes_count_as_its_own(provoke):
    """CVE-2025-8671: the streams are gone at once, so no limit on their number holds; the endpoint has the work."""
    with proxied(never) as (engine, _):
        client = RawClient(engine.port)
        for i in range(4000):
            try:
                client.send(PROVOKED[provoke](i))
            except OSError:
                break
        assert client.outcome() == ("connection", ENHANCE_YOUR_CALM) or attacks(engine)
        assert attacks(engine) == {"rapid_reset": 1}
        client.close()


def test_an_answer_that_nobody_opens_a_window_for_is_given_up():
    with proxied(serve(reply(b"x" * 5000)), listener={"idle_timeout_ms": 400}) as (engine, _):
        client = RawClient(engine.port, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings((4, 0)))
        client.send(frame(*WHOLE, 1, GET_BLOCK))
        while client.frames[-1:] == [] or client.frames[-1][0] != RST_STREAM:
            assert client.take_frame() is not None
        assert client.frames[-1][2:] == (1, u32(CANCEL))
        assert attacks(engine) == {"stalled_windows": 1}
        client.close()


@pytest.mark.parametrize("kind", ["empty_frames"])
def test_empty_headers_are_a_flood_too(kind):
    with proxied(never) as (engine, _):
        client = RawClient(engine.port)
        client.send(b"".join(frame(HEADERS, END_HEADERS, 2 * i + 1) for i in range(300)))
        while client.take_frame() is not None:
            pass
        assert attacks(engine) == {kind: 1}
        client.close()


def test_a_header_block_without_end_is_cut_off_by_its_size():
    with proxied(never) as (engine, _):
        client = RawClient(engine.port)
        client.send(frame(HEADERS, 0, 1, bytes(16384)))
        for _ in range(4):
            client.send(frame(CONTINUATION, 0, 1, bytes(16384)))
        assert client.outcome() == ("connection", ENHANCE_YOUR_CALM)
        assert attacks(engine) == {"continuation": 1}
        client.close()


def test_a_header_block_without_end_is_cut_off_by_time():
    with proxied(never, listener={"head_timeout_ms": 200}) as (engine, _):
        client = RawClient(engine.port)
        client.send(frame(HEADERS, 0, 1, GET_BLOCK[:4]))
        assert client.outcome() == ("connection", ENHANCE_YOUR_CALM)
        client.close()


def test_a_client_that_says_nothing_behind_the_preface_is_timed_out():
    with proxied(never, listener={"head_timeout_ms": 200}) as (engine, _):
        client = RawClient(engine.port, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        assert client.outcome()[0] == "connection"
        client.close()


def test_answers_that_are_never_read_are_bounded():
    with proxied(never) as (engine, _):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", engine.port))
        sock.settimeout(5)
        sock.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings() + POST)
        # So many PINGs are allowed beside DATA; it is their answers that pile up.
        piece = (frame(PING, 0, 0, bytes(8)) + frame(DATA, 0, 1, b"x")) * 1000
        with pytest.raises(OSError):
            for _ in range(2000):
                sock.sendall(piece)
        wait_until(lambda: attacks(engine) == {"unread_answers": 1})
        assert engine.shared.workers()[0].buffer_bytes < 2_000_000
        sock.close()


def test_requests_whose_answers_are_never_read_are_not_listened_to_any_more():
    with proxied(serve(reply(b"x" * 1000))) as (engine, _):
        client = RawClient(engine.port)
        client.sock.settimeout(1)
        with pytest.raises(OSError):
            for i in range(200_000):
                client.send(frame(*WHOLE, 2 * i + 1, GET_BLOCK))
        assert engine.shared.workers()[0].buffer_bytes < 4_000_000
        client.reset()


def test_honest_clients_are_not_cut_off():
    with proxied(serve(reply(b"ok"))) as (engine, _):
        client = connect(engine)
        for _ in range(5):
            streams = [client.request() for _ in range(100)]
            for stream_id in streams[::2]:
                client.answer(stream_id)
            for stream_id in streams[1::4]:
                if not client.answers[stream_id].ended:
                    client.h2.reset_stream(stream_id, CANCEL)
            client.flush()
            for stream_id in streams[3::4]:
                client.answer(stream_id)
            client.h2.ping(bytes(8))
            client.flush()
        assert client.fetch().status == 200
        assert attacks(engine) == {}
        client.close()


# ---- from endpoints


def raw_endpoint(flood: Callable[[int], bytes]) -> Callable[[Client, int], None]:
    """SETTINGS, then a flood as soon as the first request has come."""

    def script(client: Client, number: int) -> None:
        client.exactly(24)
        client.send(settings())
        while True:
            head = client.exactly(9)
            client.exactly(int.from_bytes(head[:3]))
            if head[3] == HEADERS:
                break
        for i in range(4000):
            client.send(flood(i))
        while client.receive():
            pass

    return script


@pytest.mark.parametrize("kind", ["settings", "ping", "window_update", "priority", "unknown_frames"])
def test_a_flood_from_an_endpoint_is_cut_off(kind):
    flood = FLOODS[kind] if kind != "window_update" else lambda i: frame(WINDOW_UPDATE, 0, 0, u32(1))
    with proxied(raw_endpoint(flood), service=TO_HTTP2) as (engine, _):
        client = engine.connect()
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.response().status == 502
        assert attacks(engine) == {kind: 1}
        client.close()


def test_an_endpoint_that_resets_every_stream_is_cut_off():
    def reset(peer, request):
        peer.h2.reset_stream(request.stream_id, CANCEL)

    with proxied(http2_endpoint(reset), service=TO_HTTP2) as (engine, _):
        client = connect(engine)
        for _ in range(300):
            assert client.fetch().status == 502
            if attacks(engine):
                break
        assert attacks(engine) == {"rapid_reset": 1}
        assert client.fetch().status == 502  # on a new connection
        client.close()


def test_rst_streams_for_nothing_are_cut_off():
    with proxied(raw_endpoint(lambda i: frame(RST_STREAM, 0, 1, u32(CANCEL))), service=TO_HTTP2) as (engine, _):
        client = engine.connect()
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.response().status == 502
        wait_until(lambda: attacks(engine) == {"rapid_reset": 1})
        client.close()
