"""How HTTP/2 connections end: drain, age, idleness, a limit of requests; and nothing that was begun is lost."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.engine import EngineThread, make_snapshot, proxied, reply, serve, wait_until
from tests.http2_peers import (
    ACK,
    DATA,
    END_HEADERS,
    END_STREAM,
    GET_BLOCK,
    GOAWAY,
    HEADERS,
    NO_ERROR,
    PING,
    REFUSED_STREAM,
    RST_STREAM,
    RawClient,
    connect,
    frame,
)

WHOLE = HEADERS, END_HEADERS | END_STREAM


def goaway_of(found: tuple[int, int, int, bytes] | None) -> tuple[int, int]:
    assert found is not None
    assert found[0] == GOAWAY
    return int.from_bytes(found[3][:4]), int.from_bytes(found[3][4:8])


@pytest.mark.parametrize("answers_ping", [True, False])
def test_drain_says_goodbye_twice_and_lets_streams_end(answers_ping):
    release = threading.Event()

    def script(client, number):
        while True:
            client.until(b"\r\n\r\n")
            release.wait(10)
            client.send(reply(b"ok"))

    with proxied(script) as (engine, _):
        client = RawClient(engine.port)
        client.send(frame(*WHOLE, 1, GET_BLOCK))
        wait_until(lambda: engine.live()["exchange"] == 1)
        engine.call(lambda one: one.remove_listener(1, 5000))
        assert goaway_of(client.until_kind(GOAWAY)) == (2**31 - 1, NO_ERROR)
        found = client.until_kind(PING)
        assert found is not None
        client.send(frame(*WHOLE, 3, GET_BLOCK))  # crossed the first GOAWAY: served
        wait_until(lambda: engine.live()["exchange"] == 2)
        began = time.monotonic()
        if answers_ping:
            client.send(frame(PING, ACK, 0, found[3]))
        assert goaway_of(client.until_kind(GOAWAY)) == (3, NO_ERROR)
        assert answers_ping == (time.monotonic() - began < 0.5)
        client.send(frame(*WHOLE, 5, GET_BLOCK))  # behind the second: not served
        found = client.until_kind(RST_STREAM)
        assert found is not None
        assert (found[2], int.from_bytes(found[3])) == (5, REFUSED_STREAM)
        release.set()
        ended = []
        while (found := client.take_frame()) is not None:
            if found[0] in (HEADERS, DATA) and found[1] & END_STREAM:
                ended.append(found[2])
        assert sorted(ended) == [1, 3]
        client.close()


def test_idle_clients_are_told_before_they_are_closed():
    with proxied(serve(reply(b"ok")), listener={"idle_timeout_ms": 200}) as (engine, _):
        client = connect(engine)
        assert client.fetch().status == 200
        assert client.to_goaway() == NO_ERROR
        client.close()


def test_a_connection_with_streams_is_not_idle():
    def script(client, number):
        client.until(b"\r\n\r\n")
        time.sleep(0.5)
        client.send(reply(b"late"))

    with proxied(script, listener={"idle_timeout_ms": 100}) as (engine, _):
        client = connect(engine)
        assert client.fetch().body == b"late"
        client.close()


def until_goodbye(client: RawClient, requests: int) -> tuple[list[int], int]:
    """Requests one after the other until the last GOAWAY: the streams that were served, and its last stream."""
    served: list[int] = []
    for i in range(requests):
        client.send(frame(*WHOLE, 2 * i + 1, GET_BLOCK))
        while not served or served[-1] != 2 * i + 1:
            found = client.take_frame()
            if found is None or found[0] == RST_STREAM:
                break
            if found[0] == PING:
                client.send(frame(PING, ACK, 0, found[3]))
            if found[0] in (HEADERS, DATA) and found[1] & END_STREAM:
                served.append(found[2])
        if served[-1:] != [2 * i + 1]:
            break
    while client.take_frame() is not None:
        pass
    goaways = [goaway_of(found) for found in client.frames if found[0] == GOAWAY]
    assert goaways[0] == (2**31 - 1, NO_ERROR)
    return served, goaways[-1][0]


def test_connections_have_an_age():
    with proxied(serve(reply(b"ok")), listener={"connection_age_max_ms": 300}) as (engine, _):
        client = RawClient(engine.port)
        began = time.monotonic()
        served, last = until_goodbye(client, 1_000_000)
        assert 0.2 < time.monotonic() - began < 1
        assert served[-1] == last
        client.close()


def test_connections_that_began_together_do_not_end_together():
    with proxied(serve(reply(b"ok")), listener={"connection_age_max_ms": 2000}) as (engine, _):
        clients = [RawClient(engine.port) for _ in range(24)]

        def end_of(client):
            while client.take_frame() is not None and client.frames[-1][0] != GOAWAY:
                pass
            return time.monotonic()

        with ThreadPoolExecutor(len(clients)) as pool:
            ends = list(pool.map(end_of, clients))
        assert max(ends) - min(ends) > 0.03  # they are spread over a tenth of the age
        for client in clients:
            client.close()


def test_connections_have_a_limit_of_requests():
    with proxied(serve(reply(b"ok")), listener={"connection_requests_max": 3}) as (engine, _):
        client = RawClient(engine.port)
        served, last = until_goodbye(client, 100)
        assert served[:3] == [1, 3, 5]
        assert served[-1] == last < 21
        client.close()


def test_closing_the_engine_ends_everything():
    with proxied(lambda client, number: client.to_end() and None) as (engine, upstream):
        second = EngineThread(make_snapshot([upstream.port]))
        client = connect(second)
        for _ in range(5):
            client.request()
        wait_until(lambda: second.live()["stream"] == 5)
        second._stopped.set()
        second._thread.join()
        second.engine.close()
        assert not any(second.engine.live().values())
        client.close()


def test_what_an_idle_connection_costs():
    """The live objects and buffers of connections that have made a request; bytes are measured by bench."""
    with proxied(serve(reply(b"ok"))) as (engine, _):
        clients = [connect(engine) for _ in range(50)]
        for client in clients:
            assert client.fetch().status == 200
        assert engine.live()["buffer"] == 1
        assert engine.live()["stream"] == 0
        for client in clients:
            client.close()
