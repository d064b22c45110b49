"""Every pairing of HTTP/1.1 and HTTP/2, with all that a message can carry."""

import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.engine import Client, EngineThread, proxied, reply, serve
from tests.http2_peers import TO_HTTP2, Http2Endpoint, Request, connect, get, http2_endpoint

BIG = bytes(range(256)) * 4096  # 1 MiB


def echo(peer: Http2Endpoint, request: Request) -> None:
    """The body back, and what of the request the test wants to know."""
    told = {name: value for name, value in request.headers if not name.startswith(":")}
    peer.reply(
        request.stream_id,
        request.body or b"empty",
        ("x-method", request.header(":method") or ""),
        ("x-path", request.header(":path") or ""),
        ("x-authority", request.header(":authority") or ""),
        ("x-names", " ".join(sorted(told))),
        trailers=request.trailers,
    )


def echo1(client: Client, number: int) -> None:
    """The same over HTTP/1.1."""
    while True:
        head = client.until(b"\r\n\r\n").decode()
        line, *lines = head.strip().split("\r\n")
        fields = {name.lower(): value for name, value in (one.split(": ", 1) for one in lines)}
        body = b""
        trailers = b""
        if "content-length" in fields:
            body = client.exactly(int(fields["content-length"]))
        elif "transfer-encoding" in fields:
            body = client._chunked()
            trailers = client.trailers
        method, path, _ = line.split(" ")
        names = " ".join(sorted(fields))
        seen = f"x-method: {method}\r\nx-path: {path}\r\nx-authority: {fields['host']}\r\nx-names: {names}\r\n"
        answer = f"HTTP/1.1 200 OK\r\n{seen}"
        body = body or b"empty"
        if len(trailers) > 2:
            answer += "transfer-encoding: chunked\r\n\r\n"
            client.send(answer.encode() + b"%x\r\n%s\r\n0\r\n" % (len(body), body) + trailers)
        else:
            client.send(answer.encode() + b"content-length: %d\r\n\r\n" % len(body) + body)


@contextmanager
def pairing(upstream: str) -> Iterator[EngineThread]:
    if upstream == "http1":
        with proxied(echo1) as (engine, _):
            yield engine
    else:
        with proxied(http2_endpoint(echo), service=TO_HTTP2) as (engine, _):
            yield engine


@pytest.mark.parametrize("upstream", ["http1", "http2"])
class TestFromHttp2:
    def test_a_request_keeps_its_parts(self, upstream):
        with pairing(upstream) as engine:
            client = connect(engine)
            answer = client.fetch(get("/a/b?c=d", ("x-one", "1"), ("te", "trailers")))
            assert answer.status == 200
            assert answer.body == b"empty"
            assert answer.headers["x-method"] == "GET"
            assert answer.headers["x-path"] == "/a/b?c=d"
            assert answer.headers["x-authority"] == "mesh.test"
            assert "x-one" in answer.headers["x-names"]
            assert "transfer-encoding" not in answer.headers
            client.close()

    def test_bodies_of_either_kind_pass(self, upstream):
        with pairing(upstream) as engine:
            client = connect(engine)
            assert client.fetch(get(method="POST"), b"x" * 100).body == b"x" * 100
            assert client.fetch(get("/", ("content-length", "5"), method="POST"), b"hello").body == b"hello"
            client.close()

    def test_a_big_body_passes_both_ways(self, upstream):
        with pairing(upstream) as engine:
            client = connect(engine)
            assert client.fetch(get(method="POST"), BIG).body == BIG
            client.close()

    def test_trailers_pass_both_ways(self, upstream):
        with pairing(upstream) as engine:
            client = connect(engine)
            answer = client.fetch(get(method="POST"), b"body", [("x-checksum", "abc")])
            assert answer.body == b"body"
            assert answer.trailers == {"x-checksum": "abc"}
            client.close()

    def test_many_streams_at_once(self, upstream):
        with pairing(upstream) as engine:
            client = connect(engine)
            streams = [client.request(get(f"/{i}", method="POST"), b"%d" % i) for i in range(100)]
            for i, stream_id in enumerate(streams):
                answer = client.answer(stream_id)
                assert (answer.headers["x-path"], answer.body) == (f"/{i}", b"%d" % i)
            client.close()


class TestFromHttp1:
    def test_a_request_keeps_its_parts(self):
        with pairing("http2") as engine:
            client = engine.connect()
            client.send(b"GET /a?b HTTP/1.1\r\nHost: Mesh.test\r\nConnection: keep-alive\r\nX-One: 1\r\n\r\n")
            answer = client.response()
            assert answer.status == 200
            assert answer.headers["x-path"] == "/a?b"
            assert answer.headers["x-authority"] == "Mesh.test"
            assert "x-one" in answer.headers["x-names"]
            assert "connection" not in answer.headers["x-names"]
            assert answer.body == b"empty"
            client.close()

    def test_bodies_and_trailers_pass(self):
        with pairing("http2") as engine:
            client = engine.connect()
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(BIG))
            threading.Thread(target=client.send, args=(BIG,), daemon=True).start()
            assert client.response().body == BIG
            client.send(
                b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                b"5\r\nhello\r\n0\r\nx-checksum: abc\r\n\r\n"
            )
            assert client.response().body == b"hello"
            assert b"x-checksum: abc" in client.trailers.lower()
            client.close()


@pytest.mark.parametrize("upstream", ["http1", "http2"])
def test_informational_responses_pass(upstream):
    def early(peer: Http2Endpoint, request: Request) -> None:
        peer.h2.send_headers(request.stream_id, [(":status", "103"), ("link", "</a>")])
        peer.reply(request.stream_id)

    early1 = serve(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" + reply(b"ok"))
    script, service = (early1, {}) if upstream == "http1" else (http2_endpoint(early), TO_HTTP2)
    with proxied(script, service=service) as (engine, _):
        client = connect(engine)
        answer = client.fetch()
        assert (answer.informational, answer.status, answer.body) == ([103], 200, b"ok")
        client.close()
        plain = engine.connect()
        plain.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert plain.response().status == 103
        assert plain.response().body == b"ok"
        plain.close()


@pytest.mark.parametrize("upstream", ["http1", "http2"])
@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
def test_answers_without_a_body(upstream, method, status):
    def bare(peer: Http2Endpoint, request: Request) -> None:
        length = [] if status == 204 else [("content-length", "10")]
        peer.h2.send_headers(request.stream_id, [(":status", str(status)), *length], end_stream=method == "GET")
        if method == "HEAD":
            peer.h2.end_stream(request.stream_id)

    length = b"" if status == 204 else b"Content-Length: 10\r\n"
    bare1 = serve(b"HTTP/1.1 %d X\r\n%s\r\n" % (status, length))
    script, service = (bare1, {}) if upstream == "http1" else (http2_endpoint(bare), TO_HTTP2)
    with proxied(script, service=service) as (engine, _):
        client = connect(engine)
        for _ in range(2):
            answer = client.fetch(get(method=method))
            assert (answer.status, answer.body) == (status, b"")
        client.close()
        plain = engine.connect()
        for _ in range(2):
            plain.send(b"%s / HTTP/1.1\r\nHost: a\r\n\r\n" % method.encode())
            assert plain.response(method).status == status
        plain.close()


def test_the_preface_may_come_in_pieces():
    with proxied(serve(reply(b"ok"))) as (engine, _):
        client = connect(engine)
        probe = client.h2
        assert client.fetch().body == b"ok"
        client.close()
        for at in range(1, 24):
            raw = engine.connect()
            from tests.http2_peers import PREFACE, SETTINGS, settings

            raw.send(PREFACE[:at])
            raw.send(PREFACE[at:] + settings())
            assert raw.exactly(9)[3] == SETTINGS
            raw.close()
        assert probe is not None


def test_what_only_begins_like_the_preface_is_http1():
    with proxied(serve(reply(b"ok"))) as (engine, _):
        client = engine.connect()
        client.send(b"P", b"UT / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", pause_s=0.02)
        assert client.response().status == 200
        client.close()


def test_an_http1_listener_refuses_the_preface():
    from fastmesh import snapshot as s

    with proxied(serve(reply(b"ok")), listener={"protocol": s.Protocol.HTTP1}) as (engine, _):
        client = engine.connect()
        client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        assert client.response().status == 505
        client.close()


@pytest.mark.parametrize("upstream", ["http1", "http2"])
def test_curl_and_nghttp_are_content(upstream):
    with pairing(upstream) as engine:
        url = f"http://127.0.0.1:{engine.port}/x"
        # A sanitizer's runtime is preloaded for fastmesh, not for curl, which hangs under it.
        environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
        curl = ["curl", "-sS", "--http2-prior-knowledge", "--data-binary", "@-", url]
        done = subprocess.run(curl, input=BIG, capture_output=True, timeout=20, env=environment)
        assert (done.returncode, done.stdout) == (0, BIG), done.stderr
        done = subprocess.run(["nghttp", "-v", "--hexdump", url], capture_output=True, timeout=20, env=environment)
        assert done.returncode == 0
        assert b":status: 200" in done.stdout
