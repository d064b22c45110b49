"""`fastmesh bench` as a user runs it."""

import http.server
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

DEADLINE_S = 30


class Handler(http.server.BaseHTTPRequestHandler):
    """Echoes what it was asked for in the log of the server; /missing is not there, /silent never answers."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one segment, or Nagle and delayed acknowledgements cost 40 ms
    server: "Server"

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.server.seen.append((self.command, self.path, list(self.headers.items()), len(body)))
        self.server.asked.set()
        if self.path == "/silent":
            self.server.ended.wait(DEADLINE_S)
        self.send_response(404 if self.path == "/missing" else 200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    do_POST = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen: list[tuple[str, str, list[tuple[str, str]], int]] = []
        self.asked = threading.Event()
        self.ended = threading.Event()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that breaks is the business of the other side."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.ended.set()
    server.shutdown()
    server.server_close()


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fastmesh", "bench", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)


SHORT = ("--rate", "100", "--duration", "200ms", "--warmup", "0s", "--connections", "2")


def test_json(server: Server) -> None:
    done = bench(server.url + "/a?b=c", *SHORT, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert found["url"] == server.url + "/a?b=c"
    assert found["completed"] is True
    assert found["rate_intended"] == 100
    assert found["responses"] == found["statuses"]["2xx"] == len(server.seen) == 20
    assert found["errors"] == {"connect": 0, "reset": 0, "timeout": 0, "malformed": 0, "unsent": 0}
    latency = found["latency_ms"]
    assert 0 < latency["p50"] <= latency["p90"] <= latency["p99"] <= latency["p99.9"] <= latency["max"]
    method, path, headers, body_bytes = server.seen[0]
    assert (method, path, body_bytes) == ("GET", "/a?b=c", 0)
    assert headers == [("Host", f"127.0.0.1:{server.server_port}"), ("User-Agent", "fastmesh-bench")]


def test_table(server: Server) -> None:
    done = bench(server.url + "/missing", *SHORT)
    assert (done.returncode, done.stderr) == (0, "")
    for expected in ("of 100/s intended", "responses   20 (4xx 20)", "errors      none", "p99.9", " ms"):
        assert expected in done.stdout


def test_request_is_as_asked_for(server: Server) -> None:
    headers = ("--header", "host: example.com", "--header", "X-Key: a b", "--close")
    done = bench(server.url, *SHORT, "--method", "post", "--body-size", "64KiB", *headers)
    assert done.returncode == 0, done.stderr
    method, path, sent, body_bytes = server.seen[0]
    assert (method, path, body_bytes) == ("POST", "/", 65536)
    assert dict(sent) == {
        "User-Agent": "fastmesh-bench",
        "Content-Length": "65536",
        "Connection": "close",
        "host": "example.com",
        "X-Key": "a b",
    }


def test_closed_loop(server: Server) -> None:
    done = bench(server.url, "--rate", "max", "--duration", "200ms", "--warmup", "0s", "--connections", "2", "--json")
    found = json.loads(done.stdout)
    assert found["rate_intended"] is None
    assert found["responses"] == len(server.seen) > 2


def test_interrupt_prints_what_was_measured(server: Server) -> None:
    command = [sys.executable, "-m", "fastmesh", "bench", server.url, "--duration", "1h", "--warmup", "0s", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert server.asked.wait(DEADLINE_S)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, errors) == (130, "")
    assert json.loads(output)["completed"] is False


def test_progress_is_shown_on_a_terminal(server: Server) -> None:
    reading, writing = os.openpty()
    command = [sys.executable, "-m", "fastmesh", "bench", server.url, *SHORT, "--duration", "500ms", "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=writing, timeout=DEADLINE_S, check=True)
    os.close(writing)
    shown = os.read(reading, 65536).decode()
    os.close(reading)
    assert " / 0.5 s  " in shown and " responses  p99 " in shown
    assert json.loads(done.stdout)["responses"] == 50


def test_silence_ends_with_the_timeout(server: Server) -> None:
    done = bench(server.url + "/silent", *SHORT, "--timeout", "300ms", "--json")
    found = json.loads(done.stdout)
    assert done.returncode == 0
    assert (found["responses"], found["errors"]["timeout"] + found["errors"]["unsent"]) == (0, 20)
    assert found["latency_ms"]["max"] >= 300


def test_nobody_listens() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        done = bench(f"http://127.0.0.1:{unused.getsockname()[1]}", *SHORT)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"fastmesh: cannot connect: {os.strerror(111)}; is the service running?\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("https://127.0.0.1/",), "only http:// is spoken"),
        (("http://",), "should be http://HOST"),
        (("http://127.0.0.1:99999/",), "99999"),
        (("http://127.0.0.1/a b",), "%XX"),
        (("http://127.0.0.1/", "--rate", "fast"), "a number of requests a second"),
        (("http://127.0.0.1/", "--rate", "0"), "a number of requests a second"),
        (("http://127.0.0.1/", "--rate", "inf"), "a number of requests a second"),
        (("http://127.0.0.1/", "--duration", "10"), "duration"),
        (("http://127.0.0.1/", "--duration", "0s"), "more than 0"),
        (("http://127.0.0.1/", "--duration", "2h"), "the most is 1h"),
        (("http://127.0.0.1/", "--body-size", "1GiB"), "the most is 64MiB"),
        (("http://127.0.0.1/", "--connections", "0"), "connections"),
        (("http://127.0.0.1/", "--method", "GET /x"), "not a method"),
        (("http://127.0.0.1/", "--header", "no colon"), "Name: value"),
        (("http://127.0.0.1/", "--header", "A: b\r\nC: d"), "Name: value"),
        (("http://127.0.0.1/", "--header", ": b"), "Name: value"),
        (("http://127.0.0.1/", "--header", "Content-Length: 3"), "--body-size"),
    ],
)
def test_mistakes_are_one_clear_line(arguments: tuple[str, ...], message: str) -> None:
    done = bench(*arguments)
    assert done.returncode != 0
    assert done.stdout == ""
    assert message in done.stderr
    assert done.stderr.startswith("fastmesh: ") and done.stderr.count("\n") == 1
