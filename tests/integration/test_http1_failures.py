"""What goes wrong on either side of an exchange, and what the other side sees of it."""

from __future__ import annotations

import socket
import struct
import threading
import time

import pytest

from fastmesh import snapshot as s
from tests.engine import Client, EngineThread, ScriptedUpstream, make_snapshot, proxied, reply, serve, wait_until

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody"


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


def reason_of(client: Client, status: int) -> str:
    response = client.response()
    assert response.status == status
    return response.headers["x-fastmesh-reason"]


@pytest.fixture
def unreachable():
    engine = EngineThread(make_snapshot([closed_port()]))
    yield engine
    engine.close()


def test_connect_failed(unreachable: EngineThread) -> None:
    client = unreachable.connect()
    for request in (GET, POST, GET):
        client.send(request)
        assert reason_of(client, 503) == "connect_failed"
    client.close()


def test_a_dead_endpoint_is_passed_over() -> None:
    upstream = ScriptedUpstream(serve(reply(b"alive")))
    engine = EngineThread(make_snapshot([closed_port(), upstream.port]))
    client = engine.connect()
    for _ in range(10):
        client.send(GET)
        assert client.response().body == b"alive"
        client.send(POST[:-4].replace(b"4", b"0"))
        assert client.response().body == b"alive"
    client.close()
    upstream.close()
    engine.close()


def test_connect_timeout() -> None:
    # A listening socket whose queue is full takes no further connection.
    full = socket.socket()
    full.bind(("127.0.0.1", 0))
    full.listen(0)
    fillers = []
    for _ in range(4):
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex(full.getsockname())
        fillers.append(filler)
    engine = EngineThread(make_snapshot([full.getsockname()[1]], service={"connect_timeout_ms": 100}))
    client = engine.connect()
    client.send(GET)
    assert reason_of(client, 503) == "connect_timeout"
    client.close()
    engine.close()
    for sock in (full, *fillers):
        sock.close()


def test_no_route_and_no_endpoint() -> None:
    engine = EngineThread(make_snapshot([], route={"path": "/known"}))
    client = engine.connect()
    client.send(GET)
    assert reason_of(client, 404) == "no_route"
    client.send(GET.replace(b"/ ", b"/known "))
    assert reason_of(client, 503) == "no_endpoint"
    client.close()
    engine.close()


def test_answers_of_our_own_are_json_or_text_and_name_the_request() -> None:
    engine = EngineThread(make_snapshot([]))
    client = engine.connect()
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\nAccept: application/json\r\nX-Request-Id: abc-1\r\n\r\n")
    response = client.response()
    assert response.head.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert response.headers["content-type"] == "application/json"
    assert b'"reason":"no_endpoint"' in response.body
    assert response.headers["x-request-id"] == "abc-1"
    client.send(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert client.response("HEAD").status == 503
    client.send(GET)
    assert client.response().body.startswith(b"503 no_endpoint")
    client.close()
    engine.close()


def test_upstream_that_closes_before_answering() -> None:
    def script(client: Client, number: int) -> None:
        client.until(b"\r\n\r\n")

    with proxied(script) as (engine, _):
        client = engine.connect()
        client.send(GET)
        assert reason_of(client, 502) == "upstream_reset"
        client.close()


def test_upstream_that_resets_before_answering() -> None:
    def script(client: Client, number: int) -> None:
        client.until(b"\r\n\r\n")
        client.reset()

    with proxied(script) as (engine, _):
        client = engine.connect()
        client.send(POST)
        assert reason_of(client, 502) == "upstream_reset"
        client.close()


def test_stale_connection_is_retried_once_and_nobody_sees_it() -> None:
    """Each connection answers one request, then resets at the next: as if its idle timeout had struck just then."""

    def script(client: Client, number: int) -> None:
        client.until(b"\r\n\r\n")
        client.send(reply(b"%d" % number))
        client.until(b"\r\n\r\n")
        client.reset()

    with proxied(script) as (engine, upstream):
        client = engine.connect()
        for i in range(10):
            client.send(GET)
            assert client.response().body == b"%d" % i
        client.close()
        assert engine.shared.service(1).retries == 9


def test_a_request_that_must_not_be_sent_twice_is_not() -> None:
    requests: list[bytes] = []

    def script(client: Client, number: int) -> None:
        requests.append(client.until(b"\r\n\r\n"))
        if number == 0:
            client.send(reply())
            requests.append(client.until(b"\r\n\r\n"))
            client.reset()
        client.exactly(4)
        client.send(reply())

    with proxied(script) as (engine, _):
        client = engine.connect()
        client.send(GET)
        assert client.response().status == 200
        client.send(POST)
        assert reason_of(client, 502) == "upstream_reset"
        client.close()
    assert len(requests) == 2


def test_idle_connection_closed_by_the_endpoint_is_not_used_again() -> None:
    def script(client: Client, number: int) -> None:
        client.until(b"\r\n\r\n")
        client.send(reply(b"%d" % number))
        # and closes

    with proxied(script) as (engine, upstream):
        client = engine.connect()
        for i in range(5):
            client.send(POST)
            assert client.response().body == b"%d" % i
            wait_until(lambda: engine.live()["upstream"] == 0)
        client.close()
        assert engine.shared.service(1).retries == 0


@pytest.mark.parametrize(
    "answer",
    [
        b"rubbish\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX : a\r\n\r\n",
        b"HTTP/1.1 99 OK\r\n\r\n",
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 200_000 + b"\r\n\r\n",
        b"HTTP/1.1 103 Early\r\n\r\n" * 40,
    ],
)
def test_malformed_responses(answer: bytes) -> None:
    def script(client: Client, number: int) -> None:
        client.until(b"\r\n\r\n")
        client.send(answer)
        client.to_end()

    with proxied(script) as (engine, _):
        client = engine.connect()
        client.send(b"GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n")
        assert reason_of(client, 502) == "upstream_malformed"
        client.close()


@pytest.mark.parametrize(
    ("answer", "begun"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345", b"12345"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n", b"12345"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\nZZ\r\n", b"12345"),
    ],
)
def test_a_truncated_response_is_visibly_truncated(answer: bytes, begun: bytes) -> None:
    def script(client: Client, number: int) -> None:
        client.until(b"\r\n\r\n")
        client.send(answer)

    with proxied(script) as (engine, _):
        client = engine.connect()
        client.send(GET)
        data = client.to_end()
        assert begun in data
        assert not data.endswith(b"0\r\n\r\n")
    assert sum(engine.shared.series(2).reasons) == 1


def test_a_truncated_close_delimited_body_ends_in_a_reset() -> None:
    def script(client: Client, number: int) -> None:
        client.until(b"\r\n\r\n")
        client.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nTransfer-Encoding: chunked\r\n\r\n"[:0])
        client.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n")
        time.sleep(0.1)

    with proxied(script) as (engine, _):
        client = engine.connect()
        client.send(b"GET / HTTP/1.0\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            client.to_end()
        client.close()


def test_surplus_after_a_response_is_not_taken_for_the_next() -> None:
    def script(client: Client, number: int) -> None:
        client.until(b"\r\n\r\n")
        client.send(reply(b"%d" % number) + reply(b"smuggled"))
        client.until(b"\r\n\r\n")
        client.send(reply(b"second"))

    with proxied(script) as (engine, upstream):
        client = engine.connect()
        for i in range(5):
            client.send(GET)
            assert client.response().body == b"%d" % i
        client.close()
        assert upstream.connections == 5


def test_request_timeout() -> None:
    def script(client: Client, number: int) -> None:
        client.to_end()

    with proxied(script, service={"request_timeout_ms": 100}) as (engine, _):
        client = engine.connect()
        started = time.monotonic()
        client.send(GET)
        assert reason_of(client, 504) == "request_timeout"
        assert time.monotonic() - started >= 0.099  # timers go by whole milliseconds
        client.send(GET)
        assert reason_of(client, 504) == "request_timeout"
        client.close()


def test_upload_that_takes_longer_than_the_request_timeout_is_not_cut() -> None:
    def script(client: Client, number: int) -> None:
        client.until(b"\r\n\r\n")
        client.exactly(10)
        client.send(reply(b"whole"))

    with proxied(script, service={"request_timeout_ms": 200}) as (engine, _):
        client = engine.connect()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n", *[b"x"] * 10, pause_s=0.04)
        assert client.response().body == b"whole"
        client.close()


def test_body_timeout() -> None:
    def script(client: Client, number: int) -> None:
        client.to_end()

    with proxied(script, service={"idle_timeout_ms": 100}) as (engine, _):
        client = engine.connect()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
        assert reason_of(client, 408) == "body_timeout"
        client.close()


def test_upstream_that_stalls_in_its_body() -> None:
    def script(client: Client, number: int) -> None:
        client.until(b"\r\n\r\n")
        client.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
        client.to_end()

    with proxied(script, service={"idle_timeout_ms": 100}) as (engine, _):
        client = engine.connect()
        client.send(GET)
        assert client.to_end().endswith(b"abc")


def test_client_that_does_not_read_is_cut_off_and_bounded() -> None:
    sent = [0]

    def script(client: Client, number: int) -> None:
        client.until(b"\r\n\r\n")
        client.sock.settimeout(1)
        client.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        while True:
            client.send(b"x" * 65536)
            sent[0] += 65536

    with proxied(script, service={"idle_timeout_ms": 500}) as (engine, _):
        client = engine.connect()
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.send(GET)
        wait_until(lambda: sent[0] > 0)
        last = -1
        while last != sent[0]:  # until it stands still
            last = sent[0]
            time.sleep(0.1)
        assert engine.shared.workers()[0].buffer_bytes < 2_000_000
        engine.settle()
        client.close()
    assert sent[0] < 50_000_000


def test_upload_to_a_slow_endpoint_is_bounded() -> None:
    release = threading.Event()
    size = 30_000_000

    def script(client: Client, number: int) -> None:
        client.until(b"\r\n\r\n")
        release.wait(10)
        client.exactly(size)
        client.send(reply(b"got it"))

    with proxied(script) as (engine, _):
        client = engine.connect(20)
        message = b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size + b"y" * size
        sender = threading.Thread(target=client.send, args=(message,))
        sender.start()
        time.sleep(0.5)
        assert sender.is_alive(), "the client was not held back"
        assert engine.shared.workers()[0].buffer_bytes < 2_000_000
        release.set()
        assert client.response().body == b"got it"
        sender.join()
        client.close()


@pytest.mark.parametrize("when", ["head", "waiting", "request body", "response body"])
def test_client_that_vanishes(when: str) -> None:
    ended = threading.Event()

    def script(client: Client, number: int) -> None:
        try:
            client.until(b"\r\n\r\n")
            if when == "response body":
                client.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
            client.to_end()
        except OSError:
            pass
        ended.set()

    with proxied(script) as (engine, _):
        client = engine.connect()
        if when == "head":
            client.send(GET[:10])
        elif when == "request body":
            client.send(POST[:-2])
        else:
            client.send(GET)
        if when != "head":
            wait_until(lambda: engine.live()["exchange"] == 1)
        if when == "response body":
            client.until(b"abc")
        client.reset()
        engine.settle()
        if when != "head":
            assert ended.wait(5), "the upstream connection was not ended"


def test_head_timeout_and_idle_timeout() -> None:
    with proxied(serve(reply()), listener={"head_timeout_ms": 100, "idle_timeout_ms": 300}) as (engine, _):
        slow = engine.connect()
        slow.send(GET[:10])
        assert reason_of(slow, 408) == "head_timeout"
        assert slow.to_end() == b""
        idle = engine.connect()
        idle.send(GET)
        assert idle.response().status == 200
        assert idle.to_end() == b""
        silent = engine.connect()
        assert silent.to_end() == b""


@pytest.mark.parametrize(
    ("request_bytes", "status", "reason"),
    [
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414, "uri_too_long"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 70_000 + b"\r\n\r\n", 431, "head_too_large"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"x: y\r\n" * 101 + b"\r\n", 431, "head_too_large"),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505, "version_not_supported"),
        (b"GET / HTTP/1.1\r\n\r\n", 400, "bad_request"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, "bad_request"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "bad_request"),
    ],
)
def test_requests_that_are_refused(request_bytes: bytes, status: int, reason: str) -> None:
    with proxied(serve(reply())) as (engine, upstream):
        client = engine.connect()
        client.send(request_bytes + GET)
        assert reason_of(client, status) == reason
        assert client.to_end() == b""
        assert upstream.connections == 0


def test_bad_chunk_after_a_good_one_does_not_look_whole_to_the_endpoint() -> None:
    got: list[bytes] = []

    def script(client: Client, number: int) -> None:
        client.until(b"\r\n\r\n")
        got.append(client.to_end())

    with proxied(script) as (engine, upstream):
        client = engine.connect()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        wait_until(lambda: upstream.connections == 1)
        client.send(b"-1\r\n")
        assert reason_of(client, 400) == "bad_request"
        client.close()
    assert not got[0].endswith(b"0\r\n\r\n")


def test_body_too_large_by_length_and_by_chunks() -> None:
    with proxied(lambda client, number: client.to_end(), listener={"body_max_bytes": 100}) as (engine, _):
        client = engine.connect()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 101\r\n\r\n" + b"x" * 101)
        assert reason_of(client, 413) == "body_too_large"
        client.send(
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + b"40\r\n" + b"x" * 64 + b"\r\n"
        )
        client.send(b"40\r\n" + b"x" * 64 + b"\r\n")
        assert reason_of(client, 413) == "body_too_large"
        client.close()


def test_connection_limit_of_a_listener() -> None:
    with proxied(serve(reply()), listener={"connections_max": 2}) as (engine, _):
        clients = [engine.connect() for _ in range(2)]
        for client in clients:
            client.send(GET)
            assert client.response().status == 200
        with pytest.raises((EOFError, OSError)):
            third = engine.connect()
            third.send(GET)
            third.response()
        clients[0].close()
        wait_until(lambda: engine.live()["downstream"] == 1)
        fourth = engine.connect()
        fourth.send(GET)
        assert fourth.response().status == 200
        for client in (clients[1], fourth):
            client.close()


def test_request_limit_of_a_connection() -> None:
    with proxied(serve(reply()), listener={"connection_requests_max": 3}) as (engine, _):
        client = engine.connect()
        for last in (False, False, True):
            client.send(GET)
            assert (client.response().headers.get("connection") == "close") is last
        assert client.to_end() == b""


def test_pool_limit() -> None:
    release = threading.Event()

    def script(client: Client, number: int) -> None:
        client.until(b"\r\n\r\n")
        release.wait(5)
        client.send(reply())

    with proxied(script, service={"pool_connections_max": 1}) as (engine, _):
        first, second = engine.connect(), engine.connect()
        first.send(GET)
        wait_until(lambda: engine.live()["upstream"] == 1)
        second.send(GET)
        assert reason_of(second, 503) == "pool_exhausted"
        release.set()
        assert first.response().status == 200
        first.close()
        second.close()


def test_rate_limit_says_when_to_come_back() -> None:
    limits = (s.Limit(1, "route/all", 1_000_000_000, 2, s.Key(s.KeySource.HEADER, "x-api-key")),)
    with proxied(serve(reply()), route={"limit_index": 0}, limits=limits) as (engine, _):
        client = engine.connect()
        for key in (b"one", b"two"):
            request = GET[:-2] + b"X-API-Key: " + key + b"\r\n\r\n"
            for _ in range(2):
                client.send(request)
                assert client.response().status == 200
            client.send(request)
            response = client.response()
            assert response.status == 429
            assert response.headers["x-fastmesh-reason"] == "rate_limited"
            assert int(response.headers["retry-after"]) == 1
            assert len(response.headers["x-request-id"]) == 36
        client.close()


def test_a_limit_of_the_listener_counts_also_what_no_route_takes() -> None:
    limits = (s.Limit(1, "listener/web", 3_600_000_000_000, 2),)
    with proxied(serve(reply()), listener={"limit_index": 0}, route={"path": "/known"}, limits=limits) as (engine, _):
        client = engine.connect()
        for status, reason in ((404, "no_route"), (404, "no_route"), (429, "rate_limited")):
            client.send(GET)
            assert reason_of(client, status) == reason
        client.close()


def test_pooled_connections_end_after_their_idle_time_and_age() -> None:
    with proxied(serve(reply()), service={"pool_idle_timeout_ms": 100}) as (engine, upstream):
        client = engine.connect()
        client.send(GET)
        assert client.response().status == 200
        wait_until(lambda: engine.live()["upstream"] == 0)
        client.close()
    with proxied(serve(reply()), service={"pool_age_max_ms": 50}) as (engine, upstream):
        client = engine.connect()
        for _ in range(3):
            client.send(GET)
            assert client.response().status == 200
            time.sleep(0.06)
        assert upstream.connections == 3
        client.close()


def test_drain_finishes_what_is_under_way() -> None:
    release = threading.Event()

    def script(client: Client, number: int) -> None:
        client.until(b"\r\n\r\n")
        release.wait(5)
        client.send(reply(b"finished"))

    with proxied(script) as (engine, _):
        idle, busy = engine.connect(), engine.connect()
        busy.send(GET)
        wait_until(lambda: engine.live()["exchange"] == 1)
        wait_until(lambda: engine.live()["downstream"] == 2)
        engine.call(lambda e: e.drain(5000))
        assert idle.to_end() == b""
        with pytest.raises(ConnectionRefusedError):
            engine.connect()
        release.set()
        response = busy.response()
        assert response.body == b"finished"
        assert response.headers["connection"] == "close"
        assert busy.to_end() == b""


def test_drain_deadline_closes_what_is_left() -> None:
    with proxied(lambda client, number: client.to_end()) as (engine, _):
        client = engine.connect()
        client.send(GET)
        wait_until(lambda: engine.live()["exchange"] == 1)
        engine.call(lambda e: e.drain(100))
        assert client.to_end() == b""


def test_snapshot_swap_under_requests_that_are_under_way() -> None:
    release = threading.Event()

    def script(client: Client, number: int) -> None:
        while True:
            head = client.until(b"\r\n\r\n")
            if b"/slow" in head:
                release.wait(5)
            client.send(reply(b"old"))

    old = ScriptedUpstream(script)
    new = ScriptedUpstream(serve(reply(b"new")))
    engine = EngineThread(make_snapshot([old.port]))
    slow, quick = engine.connect(), engine.connect()
    slow.send(GET.replace(b"/ ", b"/slow "))
    wait_until(lambda: engine.live()["exchange"] == 1)
    engine.install(make_snapshot([new.port], version="02"))
    quick.send(GET)
    assert quick.response().body == b"new"
    assert engine.live()["tables"] == 2
    release.set()
    assert slow.response().body == b"old"
    slow.send(GET)
    assert slow.response().body == b"new"
    wait_until(lambda: engine.live()["tables"] == 1)
    slow.close()
    quick.close()
    old.close()
    new.close()
    engine.close()


def test_discovery_replaces_endpoints_without_a_new_snapshot() -> None:
    first, second = ScriptedUpstream(serve(reply(b"1"))), ScriptedUpstream(serve(reply(b"2")))
    engine = EngineThread(make_snapshot([first.port]))
    client = engine.connect()
    client.send(GET)
    assert client.response().body == b"1"
    engine.call(lambda e: e.update_endpoints(1, (s.Endpoint(2, "127.0.0.1", second.port),)))
    for _ in range(3):
        client.send(GET)
        assert client.response().body == b"2"
    assert engine.live()["endpoint"] == 1
    client.close()
    first.close()
    second.close()
    engine.close()


def test_descriptors_run_out_and_come_back() -> None:
    import resource

    with proxied(serve(reply())) as (engine, _):
        client = engine.connect()
        client.send(GET)
        assert client.response().status == 200
        waiting = socket.socket()
        waiting.settimeout(5)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        used = len(__import__("os").listdir("/proc/self/fd"))
        resource.setrlimit(resource.RLIMIT_NOFILE, (used - 1, hard))
        try:
            waiting.connect(("127.0.0.1", engine.port))
            waiting.sendall(GET)
            time.sleep(0.3)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert Client(waiting).response().status == 200
        waiting.close()
        client.close()


def test_odd_ends_of_connections_leave_nothing_alive() -> None:
    with proxied(serve(reply(b"x" * 100_000))) as (engine, _):
        clients = 0
        for linger in (True, False):
            for length in range(0, len(POST), 7):
                client = engine.connect()
                clients += 1
                client.send(POST[:length])
                if linger:
                    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.close()
        wait_until(lambda: engine.shared.listener(1).accepted == clients)


def test_slow_head_on_a_listener_that_is_configured_no_more() -> None:
    with proxied(serve(reply()), listener={"head_timeout_ms": 200}) as (engine, _):
        client = engine.connect()
        client.send(GET[:8])
        wait_until(lambda: engine.live()["downstream"] == 1)
        time.sleep(0.05)
        without = make_snapshot([], version="02")
        engine.install(s.Snapshot("02", (), without.services, (), ()))
        engine.call(lambda e: e.remove_listener(1, 20_000))
        assert client.to_end() == b""


def test_a_client_that_pipelines_and_never_reads_is_held_back() -> None:
    engine = EngineThread(make_snapshot([], route={"path": "/only"}, listener={"idle_timeout_ms": 1000}))
    client = engine.connect(1)
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sent = 0
    with pytest.raises(OSError):
        while sent < 100_000_000:
            client.sock.sendall(GET * 100)
            sent += 100 * len(GET)
    assert engine.shared.workers()[0].buffer_bytes < 2_000_000
    assert sent < 50_000_000
    client.close()
    engine.close()


def test_many_pipelined_requests_without_a_route_are_all_answered() -> None:
    engine = EngineThread(make_snapshot([], route={"path": "/only"}))
    client = engine.connect()
    count = 20_000
    sender = threading.Thread(target=client.send, args=(GET * count,))
    sender.start()
    time.sleep(0.2)
    for _ in range(count):
        assert client.response().status == 404
    sender.join()
    client.close()
    engine.close()


def test_connect_is_refused_and_never_reaches_the_pool() -> None:
    with proxied(serve(b"HTTP/1.1 200 OK\r\n\r\n")) as (engine, upstream):
        client = engine.connect()
        client.send(b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n")
        assert reason_of(client, 501) == "connect_not_supported"
        client.close()
        assert upstream.connections == 0


def test_a_stale_connection_whose_endpoint_is_gone_is_retried_elsewhere() -> None:
    """One endpoint answers once on each connection, then resets it and stops listening; the other one lives."""

    def dying(client: Client, number: int) -> None:
        client.until(b"\r\n\r\n")
        client.send(reply(b"dying"))
        client.until(b"\r\n\r\n")
        first._listening.close()
        client.reset()

    first, second = ScriptedUpstream(dying), ScriptedUpstream(serve(reply(b"alive")))
    engine = EngineThread(make_snapshot([first.port, second.port]))
    client = engine.connect()
    for _ in range(12):
        client.send(GET)
        assert client.response().status == 200
    client.close()
    second.close()
    engine.close()


@pytest.mark.parametrize("closing", [True, False])
def test_a_slow_but_steady_reader_gets_all(closing: bool) -> None:
    size = 8_000_000
    with proxied(serve(reply(b"x" * size)), service={"idle_timeout_ms": 400}) as (engine, _):
        client = engine.connect(20)
        request = GET[:-2] + b"Connection: close\r\n\r\n" if closing else GET
        client.send(request)
        head = client.until(b"\r\n\r\n")
        assert b"200 OK" in head
        received = len(client._rest)
        while received < size:
            data = client.sock.recv(100_000)
            assert data, f"cut off after {received} of {size} bytes"
            received += len(data)
            time.sleep(0.025)
        client.close()


def test_a_dead_endpoint_does_not_cost_the_others_their_pools() -> None:
    """A second try that was never sent takes a pooled connection like any request."""
    upstream = ScriptedUpstream(serve(reply()))
    engine = EngineThread(make_snapshot([upstream.port, closed_port()]))
    client = engine.connect()
    for _ in range(60):
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.response().status == 200
    client.close()
    assert upstream.connections <= 2
    upstream.close()
    engine.close()
