"""Few connections for many exchanges, and nothing that an endpoint surely did not process surfaces as an error."""

import contextlib
import socket
import threading
import time

import h2.events
import h2.exceptions
import msgspec
import pytest

from tests.engine import Client, EngineThread, ScriptedUpstream, make_snapshot, proxied, wait_until
from tests.http2_peers import (
    CANCEL,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    INTERNAL_ERROR,
    NO_ERROR,
    PUSH_PROMISE,
    REFUSED_STREAM,
    RST_STREAM,
    TO_HTTP2,
    Http2Endpoint,
    Request,
    block,
    connect,
    frame,
    get,
    http2_endpoint,
    settings,
    u32,
)


def service_stats(engine: EngineThread):
    return engine.shared.service(1)


def test_many_streams_share_few_connections():
    with proxied(http2_endpoint(), service=TO_HTTP2, listener={"streams_max": 1000}) as (engine, upstream):
        clients = [connect(engine) for _ in range(10)]
        streams = [(client, client.request(get(f"/{i}"))) for client in clients for i in range(100)]
        assert [client.answer(stream_id).status for client, stream_id in streams] == [200] * 1000
        assert upstream.connections <= 10
        for client in clients:
            client.close()


def test_a_connection_is_used_again_and_counted():
    with proxied(http2_endpoint(), service=TO_HTTP2) as (engine, upstream):
        client = engine.connect()
        for _ in range(5):
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert client.response().body == b"ok"
        assert upstream.connections == 1
        stats = service_stats(engine)
        assert (stats.connects, stats.reuses) == (1, 4)
        endpoint = engine.shared.endpoint(1)
        assert (endpoint.connections, endpoint.idle, endpoint.active) == (1, 1, 0)
        client.close()


def test_the_services_limit_of_streams_opens_another_connection():
    release = threading.Event()

    def wait(peer: Http2Endpoint, request: Request) -> None:
        release.wait(10)
        peer.reply(request.stream_id)

    with proxied(http2_endpoint(wait), service={**TO_HTTP2, "streams_max": 2}) as (engine, upstream):
        client = connect(engine)
        streams = [client.request() for _ in range(5)]
        wait_until(lambda: upstream.connections == 3)
        release.set()
        assert [client.answer(stream_id).status for stream_id in streams] == [200] * 5
        client.close()


def test_the_endpoints_limit_of_streams_is_kept_to():
    most = 0
    lock = threading.Lock()

    def on_event(peer: Http2Endpoint, event: h2.events.Event) -> None:
        nonlocal most
        if isinstance(event, h2.events.RequestReceived):
            with lock:
                most = max(most, peer.h2.open_inbound_streams)

    script = http2_endpoint(on_event=on_event, MAX_CONCURRENT_STREAMS=3)
    with proxied(script, service=TO_HTTP2) as (engine, upstream):
        client = connect(engine)
        assert client.fetch().status == 200  # the endpoint's SETTINGS have come
        streams = [client.request() for _ in range(30)]
        assert [client.answer(stream_id).status for stream_id in streams] == [200] * 30
        assert most <= 3
        assert upstream.connections > 1
        client.close()


def test_refused_streams_are_tried_again_with_their_bodies():
    refused = 0

    def on_event(peer: Http2Endpoint, event: h2.events.Event) -> bool:
        nonlocal refused
        if isinstance(event, h2.events.StreamEnded) and refused < 2:
            refused += 1
            peer.requests.pop(event.stream_id)
            peer.h2.reset_stream(event.stream_id, REFUSED_STREAM)
            return True
        return False

    seen: list[bytes] = []

    def keep(peer: Http2Endpoint, request: Request) -> None:
        seen.append(request.body)
        peer.reply(request.stream_id)

    with proxied(http2_endpoint(keep, on_event), service=TO_HTTP2) as (engine, _):
        client = connect(engine)
        assert client.fetch(get(method="POST"), b"body" * 1000).status == 200
        assert (refused, seen) == (2, [b"body" * 1000])
        assert service_stats(engine).retries == 2
        client.close()


def test_streams_above_the_last_of_a_goaway_go_elsewhere():
    def on_event(peer: Http2Endpoint, event: h2.events.Event) -> bool:
        """The first connection serves one stream, and says goodbye to the others."""
        if peer.number > 0 or not isinstance(event, h2.events.StreamEnded):
            return False
        ended.append(event.stream_id)
        if len(ended) == 10:
            peer.flush()
            peer.client.send(frame(GOAWAY, 0, 0, u32(1) + u32(NO_ERROR)))
            peer.reply(1)
        return True

    ended: list[int] = []
    with proxied(http2_endpoint(on_event=on_event), service=TO_HTTP2) as (engine, upstream):
        client = connect(engine)
        streams = [client.request(get(method="POST"), b"x") for _ in range(10)]
        assert [client.answer(stream_id).status for stream_id in streams] == [200] * 10
        assert upstream.connections == 2
        assert service_stats(engine).retries == 9
        wait_until(lambda: engine.live()["upstream"] == 1)
        client.close()


def test_an_endpoint_that_goes_away_between_requests_is_not_noticed():
    def once(peer: Http2Endpoint, request: Request) -> None:
        peer.reply(request.stream_id)
        peer.client.send(frame(GOAWAY, 0, 0, u32(request.stream_id) + u32(NO_ERROR)))

    with proxied(http2_endpoint(once), service=TO_HTTP2) as (engine, upstream):
        client = connect(engine)
        for i in range(20):
            assert client.fetch(get(method="POST"), b"x").status == 200, i
        assert upstream.connections == 20
        client.close()


RESPONSE = frame(HEADERS, END_HEADERS, 1, block((":status", "200")))
MALFORMED = {
    "not HTTP/2": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "DATA before a head": settings() + frame(0, END_STREAM, 1, b"x"),
    "no :status": settings() + frame(HEADERS, END_HEADERS | END_STREAM, 1, block(("x", "y"))),
    "PUSH_PROMISE": settings() + frame(PUSH_PROMISE, 4, 1, u32(2) + block(*get())),
    "SETTINGS_ENABLE_PUSH": settings((2, 1)),
    "a stream that nobody opened": settings() + frame(HEADERS, END_HEADERS | END_STREAM, 7, block((":status", "200"))),
    "a reset": settings() + frame(RST_STREAM, 0, 1, u32(INTERNAL_ERROR)),
    "upper case": settings() + frame(HEADERS, END_HEADERS | END_STREAM, 1, block((":status", "200"), ("X", "y"))),
    "transfer-encoding": settings()
    + frame(HEADERS, END_HEADERS | END_STREAM, 1, block((":status", "200"), ("transfer-encoding", "chunked"))),
    "CR LF": settings() + frame(HEADERS, END_HEADERS | END_STREAM, 1, block((":status", "200"), ("x", "a\r\nb: c"))),
    "101": settings() + frame(HEADERS, END_HEADERS | END_STREAM, 1, block((":status", "101"))),
    "too many 1xx": settings() + frame(HEADERS, END_HEADERS, 1, block((":status", "103"))) * 20,
}


def says(answer: bytes):
    def script(client: Client, number: int) -> None:
        client.until(b"SM\r\n\r\n")
        while True:
            head = client.exactly(9)
            client.exactly(int.from_bytes(head[:3]))
            if head[3] == HEADERS:
                break
        client.send(answer)
        while client.receive():
            pass

    return script


@pytest.mark.parametrize("name", MALFORMED)
@pytest.mark.parametrize("downstream", ["http1", "http2"])
def test_what_makes_no_sense_is_a_502(name, downstream):
    with proxied(says(MALFORMED[name]), service=TO_HTTP2) as (engine, _):
        if downstream == "http1":
            client = engine.connect()
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            while (status := client.response().status) == 103:
                pass
            assert status == 502
        else:
            client = connect(engine)
            assert client.fetch().status == 502
        client.close()


TRUNCATED = {
    "a reset": settings() + RESPONSE + frame(0, 0, 1, b"part") + frame(RST_STREAM, 0, 1, u32(CANCEL)),
    "the wrong length": settings()
    + frame(HEADERS, END_HEADERS, 1, block((":status", "200"), ("content-length", "10")))
    + frame(0, END_STREAM, 1, b"part"),
}


@pytest.mark.parametrize("name", TRUNCATED)
@pytest.mark.parametrize("downstream", ["http1", "http2"])
def test_what_is_cut_off_is_seen_to_be(name, downstream):
    with proxied(says(TRUNCATED[name]), service=TO_HTTP2) as (engine, _):
        if downstream == "http1":
            client = engine.connect()
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            with pytest.raises((EOFError, ConnectionResetError)):
                client.response()
        else:
            client = connect(engine)
            answer = client.fetch()
            assert (answer.status, answer.reset, answer.ended) == (200, INTERNAL_ERROR, False)
        client.close()


def test_a_connection_that_breaks_takes_its_exchanges_with_it():
    def script(client: Client, number: int) -> None:
        client.until(b"SM\r\n\r\n")
        heads = 0
        while heads < 5:
            head = client.exactly(9)
            client.exactly(int.from_bytes(head[:3]))
            heads += head[3] == HEADERS
        client.reset()

    with proxied(script, service=TO_HTTP2) as (engine, _):
        client = connect(engine)
        streams = [client.request(get(method="POST"), b"x") for _ in range(5)]
        assert [client.answer(stream_id).status for stream_id in streams] == [502] * 5
        client.close()


def test_an_early_answer_ends_the_upload():
    def early(peer: Http2Endpoint, event: h2.events.Event) -> bool:
        if isinstance(event, h2.events.RequestReceived):
            peer.reply(event.stream_id, b"too much", status=413)
            with contextlib.suppress(h2.exceptions.StreamClosedError):  # of the one without a body
                peer.h2.reset_stream(event.stream_id, NO_ERROR)
        return True

    with proxied(http2_endpoint(on_event=early), service=TO_HTTP2) as (engine, _):
        client = connect(engine)
        stream_id = client.request(get(method="POST"), ends=False)
        client.wait(lambda: client.answers[stream_id].reset is not None)
        answer = client.answers[stream_id]
        assert (answer.status, answer.body, answer.ended, answer.reset) == (413, b"too much", True, NO_ERROR)
        assert client.fetch().status == 413
        client.close()


def test_a_client_that_gives_up_cancels_at_the_endpoint():
    resets: list[int] = []

    def on_event(peer: Http2Endpoint, event: h2.events.Event) -> bool:
        if isinstance(event, h2.events.StreamReset):
            resets.append(int(event.error_code))
        return isinstance(event, h2.events.StreamEnded)  # never answers

    with proxied(http2_endpoint(on_event=on_event), service=TO_HTTP2) as (engine, upstream):
        client = connect(engine)
        streams = [client.request() for _ in range(3)]
        wait_until(lambda: engine.live()["stream"] == 6)
        for stream_id in streams:
            client.h2.reset_stream(stream_id, CANCEL)
        client.flush()
        wait_until(lambda: resets == [CANCEL] * 3)
        plain = engine.connect()
        plain.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        wait_until(lambda: engine.live()["stream"] == 1)
        plain.reset()  # FIN alone is its right, once the request is whole
        wait_until(lambda: resets == [CANCEL] * 4)
        assert upstream.connections == 1
        client.close()


def test_idle_connections_are_closed_with_a_goaway():
    goaways: list[int] = []

    def on_event(peer: Http2Endpoint, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.ConnectionTerminated):
            goaways.append(int(event.error_code))

    with proxied(http2_endpoint(on_event=on_event), service={**TO_HTTP2, "pool_idle_timeout_ms": 200}) as (engine, _):
        client = connect(engine)
        assert client.fetch().status == 200
        wait_until(lambda: engine.live()["upstream"] == 0)
        wait_until(lambda: goaways == [NO_ERROR])
        assert engine.shared.endpoint(1).idle == 0
        client.close()


def test_connections_beyond_their_age_end_with_their_last_stream():
    with proxied(http2_endpoint(), service={**TO_HTTP2, "pool_age_max_ms": 100}) as (engine, upstream):
        client = connect(engine)
        deadline = time.monotonic() + 0.6
        while time.monotonic() < deadline:
            assert client.fetch().status == 200
        assert 4 <= upstream.connections <= 20
        client.close()


def test_an_endpoint_that_leaves_the_snapshot_keeps_what_it_has_begun():
    release = threading.Event()

    def wait(peer: Http2Endpoint, request: Request) -> None:
        if request.header(":path") == "/wait":
            release.wait(10)
        peer.reply(request.stream_id, b"%d" % peer.number)

    with proxied(http2_endpoint(wait), service=TO_HTTP2) as (engine, upstream):
        other = ScriptedUpstream(http2_endpoint(lambda peer, request: peer.reply(request.stream_id, b"other")))
        client = connect(engine)
        waiting = client.request(get("/wait"))
        wait_until(lambda: engine.live()["stream"] == 2)
        snapshot = make_snapshot([upstream.port, other.port], service=TO_HTTP2, version="02")
        service = snapshot.services[0]
        snapshot = msgspec.structs.replace(
            snapshot, services=(msgspec.structs.replace(service, endpoints=service.endpoints[1:]),)
        )
        engine.install(snapshot)
        assert client.fetch().body == b"other"
        release.set()
        assert client.answer(waiting).body == b"0"
        wait_until(lambda: engine.live()["upstream"] == 1)
        other.close()
        client.close()


def test_an_endpoint_that_refuses_connections_is_503():
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    engine = EngineThread(make_snapshot([port], service=TO_HTTP2))
    client = connect(engine)
    streams = [client.request() for _ in range(3)]
    assert [client.answer(stream_id).status for stream_id in streams] == [503] * 3
    assert service_stats(engine).connect_failures > 0
    client.close()
    engine.close()
