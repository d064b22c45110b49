"""Flow control is backpressure: windows open as the other side drains, one slow stream holds up no other."""

import threading
import time

import h2.events
import pytest

from tests.engine import Client, EngineThread, proxied, reply, wait_until
from tests.http2_peers import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    TO_HTTP2,
    WINDOW_UPDATE,
    Http2Endpoint,
    RawClient,
    Request,
    block,
    connect,
    frame,
    get,
    http2_endpoint,
    settings,
    u32,
)

LARGE = b"0123456789abcdef" * 65536 * 4  # 4 MiB


def buffered(engine: EngineThread) -> int:
    return engine.shared.workers()[0].buffer_bytes


def large1(client: Client, number: int) -> None:
    while True:
        head = client.until(b"\r\n\r\n")
        client.send(reply(LARGE if b"/large" in head else b"small"))


def large2(peer: Http2Endpoint, request: Request) -> None:
    peer.reply(request.stream_id, LARGE if request.header(":path") == "/large" else b"small")


UPSTREAMS = [(large1, {}), (http2_endpoint(large2), TO_HTTP2)]


@pytest.mark.parametrize(("script", "service"), UPSTREAMS, ids=["http1", "http2"])
def test_a_client_that_opens_no_window_holds_up_the_endpoint_not_its_other_streams(script, service):
    with proxied(script, service=service) as (engine, _):
        client = RawClient(engine.port)
        client.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, block(*get("/large"))))
        got = 0
        while got < 65535:
            found = client.take_frame()
            assert found is not None
            got += len(found[3]) if found[0] == DATA else 0
        assert got == 65535
        # The connection's window is shut as well: open that, and only other streams go on.
        client.send(frame(WINDOW_UPDATE, 0, 0, u32(2**24)))
        client.send(frame(HEADERS, END_HEADERS | END_STREAM, 3, block(*get("/small"))))
        found = client.until_kind(DATA)
        assert found is not None
        assert (found[2], found[3]) == (3, b"small")
        assert buffered(engine) < 2_000_000
        client.send(frame(WINDOW_UPDATE, 0, 1, u32(2**24)))
        while got < len(LARGE):
            found = client.take_frame()
            assert found is not None
            if found[0] == DATA:
                assert found[2] == 1
                got += len(found[3])
        client.close()


@pytest.mark.parametrize(("script", "service"), UPSTREAMS, ids=["http1", "http2"])
def test_an_http1_client_that_does_not_read_holds_up_the_endpoint(script, service):
    with proxied(script, service=service) as (engine, _):
        client = engine.connect()
        client.send(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
        time.sleep(0.3)  # as long as it would take to read it all into memory
        assert buffered(engine) < 2_000_000
        assert client.response().body == LARGE
        client.close()


@pytest.mark.parametrize("window", [1, 1000, 65535, 1_000_000])
def test_any_window_of_the_client_is_kept_to(window):
    body = LARGE[: 200 * min(window, 5000)]
    with proxied(http2_endpoint(lambda peer, request: peer.reply(request.stream_id, body)), service=TO_HTTP2) as (
        engine,
        _,
    ):
        client = connect(engine, initial_window=window)
        assert client.fetch().body == body  # h2 raises when a window is overrun
        client.close()


@pytest.mark.parametrize("window", [1, 1000, 100_000])
def test_any_window_of_the_endpoint_is_kept_to(window):
    body = LARGE[: 200 * min(window, 5000)]
    seen: list[bytes] = []

    def keep(peer: Http2Endpoint, request: Request) -> None:
        seen.append(request.body)
        peer.reply(request.stream_id)

    with proxied(http2_endpoint(keep, INITIAL_WINDOW_SIZE=window), service=TO_HTTP2) as (engine, _):
        client = connect(engine)
        assert client.fetch().status == 200  # h2 counts as if its SETTINGS had been known from the start: let them come
        assert client.fetch(get(method="POST"), body).status == 200
        assert seen == [b"", body]
        client.close()


def test_the_initial_window_may_change_while_bodies_wait():
    with proxied(large1) as (engine, _):
        client = RawClient(engine.port, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings((4, 0)))
        client.send(frame(WINDOW_UPDATE, 0, 0, u32(2**24)))
        client.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, block(*get("/large"))))
        assert client.until_kind(HEADERS) is not None
        assert client.is_alive()
        assert not [found for found in client.frames if found[0] == DATA]
        client.send(settings((4, 30000)))
        got = 0
        while got < 30000:
            found = client.until_kind(DATA)
            assert found is not None
            got += len(found[3])
        client.send(settings((4, 10000)))  # now 20,000 below zero
        client.send(frame(WINDOW_UPDATE, 0, 1, u32(20001)))
        found = client.until_kind(DATA)
        assert found is not None
        assert len(found[3]) == 1
        client.close()


@pytest.mark.parametrize("protocol", ["http1", "http2"])
def test_an_endpoint_that_does_not_read_holds_up_one_upload_and_no_more(protocol):
    release = threading.Event()

    def lazy1(client: Client, number: int) -> None:
        while True:
            head = client.until(b"\r\n\r\n")
            if b"/lazy" in head:
                release.wait(10)
            client._chunked()
            client.send(reply(b"read"))

    def lazy2(peer: Http2Endpoint, event: object) -> bool:
        if isinstance(event, h2.events.RemoteSettingsChanged):
            peer.h2.increment_flow_control_window(2**20)  # room for others beside a full stream
        if isinstance(event, h2.events.DataReceived) and peer.requests[event.stream_id].header(":path") == "/lazy":
            held.append((peer, event))
            return not release.is_set() or bool(peer.handle(event))
        return False

    held: list = []
    script, service = (lazy1, {}) if protocol == "http1" else (http2_endpoint(on_event=lazy2), TO_HTTP2)
    with proxied(script, service=service) as (engine, _):
        client = connect(engine)
        lazy = client.request(get("/lazy", method="POST"), ends=False)
        # As much as the windows and the buffers on the way take; then no more.
        sent = 0
        idle_since = time.monotonic()
        client.sock.settimeout(0.3)
        while time.monotonic() - idle_since < 0.3:
            room = min(client.h2.local_flow_control_window(lazy), 16384)
            if room > 0:
                client.h2.send_data(lazy, bytes(room))
                client.flush()
                sent += room
                idle_since = time.monotonic()
                continue
            try:
                client.take()
            except TimeoutError:
                break
        client.sock.settimeout(10)
        assert sent < 20_000_000
        assert buffered(engine) < 2_000_000
        assert client.fetch(get("/other", method="POST"), b"x" * 200_000).status == 200
        release.set()
        if protocol == "http1":
            client.h2.end_stream(lazy)
            client.flush()
            assert client.answer(lazy).body == b"read"
        client.close()


def test_streams_of_one_connection_take_turns():
    with proxied(large1) as (engine, _):
        client = RawClient(engine.port, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings((4, 2**30)))
        for stream_id in (1, 3, 5, 7):
            client.send(frame(HEADERS, END_HEADERS | END_STREAM, stream_id, block(*get("/large"))))
        wait_until(lambda: engine.live()["stream"] == 4)
        time.sleep(0.1)  # all four wait for the connection's window by now
        client.send(frame(WINDOW_UPDATE, 0, 0, u32(1_000_000)))
        got = dict.fromkeys((1, 3, 5, 7), 0)
        while sum(got.values()) < 1_000_000 + 65535:
            found = client.until_kind(DATA)
            assert found is not None
            got[found[2]] += len(found[3])
        assert min(got.values()) > 150_000
        client.close()


def test_a_client_whose_windows_stay_shut_is_timed_out():
    with proxied(large1, service={"idle_timeout_ms": 300}) as (engine, _):
        client = RawClient(engine.port, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings((4, 0)))
        client.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, block(*get("/large"))))
        kind, _ = client.outcome()
        assert kind == "stream"
        assert client.is_alive()
        wait_until(lambda: engine.live()["stream"] == 0)
        client.close()
