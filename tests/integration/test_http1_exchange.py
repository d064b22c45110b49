"""One exchange after another through the engine: persistence, pipelining, framing, 1xx, HTTP/1.0, early answers."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from tests.engine import Client, proxied, reply, serve

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def test_keep_alive_on_both_sides() -> None:
    with proxied(serve(reply(b"hello"))) as (engine, upstream):
        client = engine.connect()
        for _ in range(20):
            client.send(GET)
            assert client.response().body == b"hello"
        client.close()
        assert upstream.connections == 1


def test_pipelined_requests_are_answered_in_order() -> None:
    def script(client: Client, number: int) -> None:
        while True:
            head = client.until(b"\r\n\r\n")
            client.send(reply(head.split()[1]))

    with proxied(script) as (engine, _):
        client = engine.connect()
        client.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % i for i in range(200)))
        for i in range(200):
            assert client.response().body == b"/%d" % i
        client.close()


@pytest.mark.parametrize("step", [1, 3, 7, 40])
def test_head_and_body_in_pieces(step: int) -> None:
    def script(client: Client, number: int) -> None:
        head = client.until(b"\r\n\r\n").lower()
        assert b"content-length: 11" in head
        assert client.exactly(11) == b"hello world"
        client.send(reply(b"done"))

    message = b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\nhello world"
    with proxied(script) as (engine, _):
        client = engine.connect()
        client.send(*(message[i : i + step] for i in range(0, len(message), step)), pause_s=0.001)
        assert client.response().body == b"done"
        client.close()


def test_chunked_request_with_trailers() -> None:
    got: list[bytes] = []

    def script(client: Client, number: int) -> None:
        got.append(client.until(b"\r\n\r\n"))
        got.append(client._chunked())
        got.append(client.trailers)
        client.send(reply())

    with proxied(script) as (engine, _):
        client = engine.connect()
        client.send(
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n"
            b"5;ext=1\r\nhello\r\n6\r\n world\r\n0\r\nX-Sum: 7\r\nContent-Length: 5\r\n\r\n"
        )
        assert client.response().body == b"ok"
        client.close()
    assert got[1] == b"hello world"
    assert got[2].lower() == b"x-sum: 7\r\n\r\n"


def test_chunked_response_with_trailers() -> None:
    answer = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\nX-Checksum: 9\r\n\r\n"
    )
    with proxied(serve(answer)) as (engine, upstream):
        client = engine.connect()
        for _ in range(3):
            client.send(GET)
            assert client.response().body == b"abcdefg"
            assert client.trailers.lower() == b"x-checksum: 9\r\n\r\n"
        client.close()
        assert upstream.connections == 1


def test_chunked_response_byte_by_byte() -> None:
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"

    def script(client: Client, number: int) -> None:
        client.until(b"\r\n\r\n")
        client.send(*(answer[i : i + 1] for i in range(len(answer))), pause_s=0.0005)

    with proxied(script) as (engine, _):
        client = engine.connect()
        client.send(GET)
        assert client.response().body == b"abc"
        client.close()


def test_response_that_ends_with_the_connection() -> None:
    def script(client: Client, number: int) -> None:
        client.until(b"\r\n\r\n")
        client.send(b"HTTP/1.1 200 OK\r\n\r\n", b"to the end", pause_s=0.01)

    with proxied(script) as (engine, _):
        client = engine.connect()
        client.send(GET)
        response = client.response()
        assert response.headers["transfer-encoding"] == "chunked"
        assert response.body == b"to the end"
        client.send(GET)  # the client's connection lives on
        assert client.response().body == b"to the end"
        client.close()


def test_http_1_0_client() -> None:
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    with proxied(serve(answer)) as (engine, _):
        client = engine.connect()
        client.send(b"GET / HTTP/1.0\r\n\r\n")
        data = client.to_end()
        assert b"transfer-encoding" not in data.lower()
        assert data.endswith(b"\r\n\r\nabc")


def test_http_1_0_client_keeps_its_connection_if_it_asks() -> None:
    with proxied(serve(reply(b"x"))) as (engine, _):
        client = engine.connect()
        for _ in range(3):
            client.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            response = client.response()
            assert response.headers["connection"] == "keep-alive"
        client.close()


def test_http_1_0_upstream() -> None:
    def script(client: Client, number: int) -> None:
        client.until(b"\r\n\r\n")
        client.send(b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc")

    with proxied(script) as (engine, upstream):
        client = engine.connect()
        for _ in range(2):
            client.send(GET)
            assert client.response().body == b"abc"
        client.close()
        assert upstream.connections == 2


def test_head_has_no_body_and_keeps_the_length() -> None:
    with proxied(serve(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")) as (engine, upstream):
        client = engine.connect()
        for _ in range(2):
            client.send(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert client.response("HEAD").headers["content-length"] == "1000"
        client.close()
        assert upstream.connections == 1


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
def test_statuses_without_body(status: bytes) -> None:
    with proxied(serve(b"HTTP/1.1 " + status + b"\r\nETag: x\r\n\r\n")) as (engine, upstream):
        client = engine.connect()
        for _ in range(2):
            client.send(GET)
            assert client.response().status == int(status[:3])
        client.close()
        assert upstream.connections == 1


def test_expect_continue_goes_end_to_end() -> None:
    def script(client: Client, number: int) -> None:
        assert b"expect: 100-continue" in client.until(b"\r\n\r\n").lower()
        client.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert client.exactly(4) == b"body"
        client.send(reply(b"done"))

    with proxied(script) as (engine, _):
        client = engine.connect()
        client.send(b"PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
        assert client.response().status == 100
        client.send(b"body")
        assert client.response().body == b"done"
        client.close()


def test_early_hints_pass_and_1_0_clients_do_not_see_them() -> None:
    answer = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n" + reply(b"final")
    with proxied(serve(answer)) as (engine, _):
        client = engine.connect()
        client.send(GET)
        assert client.response().status == 103
        assert client.response().body == b"final"
        client.send(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n")
        assert client.to_end().startswith(b"HTTP/1.1 200")


def test_early_answer_to_an_upload_keeps_the_connection_if_little_is_left() -> None:
    def script(client: Client, number: int) -> None:
        client.until(b"\r\n\r\n")
        client.send(reply(b"no", status=b"403 Forbidden"))
        client.sock.settimeout(5)
        while client.receive():
            pass

    with proxied(script) as (engine, upstream):
        client = engine.connect()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n" + b"x" * 10)
        assert client.response().status == 403
        client.send(b"x" * 990 + GET)
        assert client.response().status == 403
        client.close()
        assert upstream.connections == 2


def test_early_answer_to_an_endless_upload_ends_the_connection() -> None:
    def script(client: Client, number: int) -> None:
        client.until(b"\r\n\r\n")
        client.send(reply(b"no", status=b"413 Payload Too Large"))

    with proxied(script) as (engine, _):
        client = engine.connect()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert client.response().status == 413
        with pytest.raises(OSError):
            for _ in range(10_000):
                client.send(b"4000\r\n" + b"x" * 0x4000 + b"\r\n")
        client.close()


def test_client_that_half_closes_is_answered() -> None:
    def script(client: Client, number: int) -> None:
        client.until(b"\r\n\r\n")
        threading.Event().wait(0.1)
        client.send(reply(b"late"))

    with proxied(script) as (engine, _):
        client = engine.connect()
        client.send(GET)
        client.sock.shutdown(socket.SHUT_WR)
        assert client.to_end().endswith(b"late")


def test_absolute_form_and_asterisk_form() -> None:
    heads: list[bytes] = []

    def script(client: Client, number: int) -> None:
        while True:
            heads.append(client.until(b"\r\n\r\n"))
            client.send(reply())

    with proxied(script) as (engine, _):
        client = engine.connect()
        client.send(b"GET http://example.org/a?b=1 HTTP/1.1\r\nHost: ignored\r\n\r\n")
        assert client.response().status == 200
        client.send(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.response().status == 200
        client.close()
    assert heads[0].startswith(b"GET /a?b=1 HTTP/1.1\r\n")
    assert b"host: example.org\r\n" in heads[0].lower()
    assert heads[1].startswith(b"OPTIONS * HTTP/1.1\r\n")


def test_post_with_empty_body_keeps_content_length() -> None:
    heads: list[bytes] = []

    def script(client: Client, number: int) -> None:
        heads.append(client.until(b"\r\n\r\n"))
        client.send(reply())

    with proxied(script) as (engine, _):
        client = engine.connect()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
        assert client.response().status == 200
        client.close()
    assert b"content-length: 0\r\n" in heads[0].lower()


def test_upgrade_is_a_tunnel_with_half_close() -> None:
    def script(client: Client, number: int) -> None:
        head = client.until(b"\r\n\r\n").lower()
        assert b"upgrade: echo" in head
        assert b"connection: upgrade" in head
        client.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nwelcome")
        data = client.to_end()
        client.send(data[::-1])

    with proxied(script) as (engine, _):
        client = engine.connect()
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
        assert client.response().status == 101
        assert client.exactly(7) == b"welcome"
        client.send(b"abc", b"def", pause_s=0.01)
        client.sock.shutdown(socket.SHUT_WR)
        assert client.to_end() == b"fedcba"


def test_large_bodies_both_ways() -> None:
    size = 20_000_000

    def script(client: Client, number: int) -> None:
        client.until(b"\r\n\r\n")
        body = client.exactly(size)
        client.send(reply(body))

    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    with proxied(script) as (engine, _):
        client = engine.connect(30)
        sender = threading.Thread(
            target=client.send, args=(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size + body,)
        )
        sender.start()
        response = client.response()
        sender.join()
        assert response.body == body
        client.close()


def test_the_largest_head_that_can_be_configured() -> None:
    line = b"X-Forwarded-For: " + b", ".join([b"10.0.0.1"] * 8) + b"\r\n"
    head = b"GET / HTTP/1.1\r\nHost: a\r\n" + line * 990
    head += b"X-Rest: " + b"r" * (96 * 1024 - len(head) - 12) + b"\r\n\r\n"
    assert len(head) == 96 * 1024
    limits = {"head_max_bytes": len(head) + 1, "header_max_count": 1000, "trusted_hops": 255}
    with proxied(serve(reply(b"whole")), listener=limits) as (engine, _):
        client = engine.connect()
        client.send(head)
        assert client.response().body == b"whole"
        client.send(*(head[i : i + 20_000] for i in range(0, len(head), 20_000)), pause_s=0.01)
        assert client.response().body == b"whole"
        client.close()


def test_a_connection_that_is_old_is_asked_to_end() -> None:
    with proxied(serve(reply()), listener={"connection_age_max_ms": 200}) as (engine, _):
        client = engine.connect()
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert "connection" not in client.response().headers
        time.sleep(0.25)
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.response().headers["connection"] == "close"
        assert client.to_end() == b""
        client.close()
