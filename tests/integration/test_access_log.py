"""The access log of a whole mesh: one line for each exchange, whatever strangers send and whatever reads it."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from fastmesh._core.access_log import FIELDS, LINE_MAX_BYTES
from fastmesh._core.access_template import OPTIONAL
from tests.engine import Client, ScriptedUpstream
from tests.mesh import Mesh, wait_until
from tests.upstream import Upstream

PLAIN = tuple(name for name in FIELDS if name not in OPTIONAL)
"""The fields of a plain HTTP/1.1 exchange."""


def metric(mesh: Mesh, name: str) -> int:
    """The sum over its labels."""
    lines = [line for line in mesh.admin("/metrics").text.splitlines() if line.startswith((name + "{", name + " "))]
    return sum(int(float(line.rsplit(" ", 1)[1])) for line in lines)


class Log:
    """A file to which a mesh writes its access log."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __str__(self) -> str:
        return str(self.path)

    @property
    def lines(self) -> list[str]:
        return self.path.read_text().split("\n")[:-1] if self.path.exists() else []

    def wait(self, count: int) -> list[str]:
        wait_until(lambda: len(self.lines) >= count, f"{count} lines in {self.path}")
        assert len(self.lines) == count
        return self.lines

    def json(self, count: int) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.wait(count)]


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path / "access.log")


def serve(mesh: Mesh, address: str, log: Log | str, more: str = "", **sections: str) -> Mesh:
    mesh.serve(address, more=f"access_log: {{path: {log}{more}}}", **sections)
    return mesh


@pytest.fixture
def logged(mesh: Mesh, upstream: Upstream, log: Log) -> Mesh:
    """A mesh that runs and writes JSON lines to `log`."""
    return serve(mesh, upstream.address, log).start()


def test_a_json_line_tells_all_of_an_exchange(logged: Mesh, upstream: Upstream, log: Log) -> None:
    headers = {"X-Request-Id": "order-1", "User-Agent": "tests/1", "Host": "shop.example:81"}
    logged.get("/echo?a=b&c", method="POST", body=b"x" * 1000, headers=headers)
    (line,) = log.json(1)
    assert tuple(line) == PLAIN
    assert line["client"].startswith("127.0.0.1:")
    assert line["time"].startswith("20") and line["time"].endswith("Z")
    assert line["endpoint"] == upstream.address
    assert 0 < line["upstream_us"] <= line["duration_us"]
    expected = {
        "listener": "web",
        "method": "POST",
        "path": "/echo",
        "query": "a=b&c",
        "protocol": "HTTP/1.1",
        "status": 200,
        "reason": "",
        "detail": "",
        "route": "hello",
        "service": "hello",
        "bytes_in": 1000,
        "bytes_out": 1000,
        "request_id": "order-1",
        "user_agent": "tests/1",
        "retries": 0,
    }
    assert {name: line[name] for name in expected} == expected
    assert line["host"].startswith("shop.example")


def test_every_request_has_its_line_and_the_request_id_that_the_endpoint_saw(
    logged: Mesh, upstream: Upstream, log: Log
) -> None:
    for i in range(40):
        assert logged.get(f"/status/{200 + i % 3}").status == 200 + i % 3
    lines = log.json(40)
    assert sorted(line["status"] for line in lines) == sorted(200 + i % 3 for i in range(40))
    assert {line["request_id"] for line in lines} == {seen.header("x-request-id") for seen in upstream.seen}
    assert metric(logged, "fastmesh_access_log_lines_total") == 40
    assert metric(logged, "fastmesh_access_log_dropped_total") == 0


def test_failures_carry_reason_and_detail(mesh: Mesh, log: Log) -> None:
    def script(client: Client, number: int) -> None:
        head = client.until(b"\r\n\r\n")
        if b"/rubbish" in head:
            client.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n")
        elif b"/cut" in head:
            client.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")

    upstream = ScriptedUpstream(script)
    address = f"127.0.0.1:{upstream.port}"
    serve(mesh, address, log, route="match: {hosts: [a]}", hello="timeouts: {request: 15s}").start()
    host = {"Host": "a"}
    assert mesh.get("/", headers={"Host": "b"}).status == 404
    assert mesh.get("/rubbish", headers=host).status == 502
    assert mesh.get("/ends", headers=host).status == 502
    with closing(Client(socket.create_connection(("127.0.0.1", mesh.port), timeout=10))) as client:
        client.send(b"GET /cut HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.to_end().endswith(b"abc")
    with closing(Client(socket.create_connection(("127.0.0.1", mesh.port), timeout=10))) as client:
        client.send(b"GET / HTTP/1.1\r\nHost : a\r\n\r\n")
        assert client.response().status == 400
    lines = {line["reason"]: line for line in log.json(5)}
    assert {reason: line["status"] for reason, line in lines.items()} == {
        "no_route": 404,
        "upstream_malformed": 502,
        "upstream_reset": 502,
        "upstream_truncated": 200,
        "bad_request": 400,
    }
    assert lines["no_route"]["route"] == ""
    assert lines["upstream_truncated"]["bytes_out"] == 3
    assert lines["upstream_truncated"]["endpoint"] == address
    for reason in ("upstream_malformed", "bad_request"):
        assert lines[reason]["detail"], f"what was wrong: {lines[reason]}"
    upstream.close()


def test_a_template(mesh: Mesh, upstream: Upstream, log: Log) -> None:
    serve(
        mesh,
        upstream.address,
        log,
        ", format: '{{{method}}} {path}?{query} -> {status} by {endpoint} \"{user_agent}\"'",
    )
    mesh.start(workers=1)  # so that lines stand in the order of the requests
    mesh.get("/a?b", headers={"User-Agent": 'quo"te'})
    mesh.get("/status/404")
    first, second = log.wait(2)
    assert first.startswith(f"{{GET}} /a?b -> 200 by {upstream.address} ") and "quo" in first
    assert second.startswith("{GET} /status/404? -> 404")


def test_what_a_stranger_sends_stays_on_its_line(logged: Mesh, upstream: Upstream, log: Log) -> None:
    forged = b'x","status":999}\xe2\x80\xa8\x85\xff\t\x1b[31m {"method":"FORGED"'
    requests = [
        b"GET /%0a%0d" + b'"\\' + b" HTTP/1.1\r\nHost: a\r\nUser-Agent: " + forged.replace(b"\x1b", b"") + b"\r\n\r\n",
        b'GET /?q="}{\' HTTP/1.1\r\nHost: a\r\nX-Request-Id: "}\r\n\r\n',
        b"GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: " + b"long " * 5000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n",
        b"\x00\x0a\x0d\x0a{}\r\n\r\n",
    ]
    for request in requests:
        with closing(Client(socket.create_connection(("127.0.0.1", logged.port), timeout=10))) as client:
            client.send(request)
            client.response()
    lines = log.json(len(requests))
    assert all(tuple(line) == PLAIN for line in lines)
    assert not any(line["status"] == 999 or line["method"] == "FORGED" for line in lines)
    data = log.path.read_bytes()
    assert all(len(line) < LINE_MAX_BYTES for line in data.split(b"\n"))
    assert not any(byte < 32 for line in data.split(b"\n") for byte in line)


def test_a_sample_of_what_went_well_and_all_of_what_did_not(mesh: Mesh, upstream: Upstream, log: Log) -> None:
    serve(mesh, upstream.address, log, ", sample: 10%").start()
    for _ in range(400):
        assert mesh.get().status == 200
    upstream.stop()
    for _ in range(30):
        assert mesh.get().status == 503
    wait_until(lambda: sum('"status":503' in line for line in log.lines) == 30, "the lines of all failures")
    logged = metric(mesh, "fastmesh_access_log_lines_total") - 30
    assert 10 <= logged <= 80  # five standard deviations around 40
    log.wait(30 + logged)


def test_standard_output(mesh: Mesh, upstream: Upstream) -> None:
    serve(mesh, upstream.address, "stdout").start()
    for i in range(5):
        mesh.get(f"/{i}")
    wait_until(lambda: len(mesh.output.splitlines()) == 5, "the lines")
    assert sorted(json.loads(line)["path"] for line in mesh.output.splitlines()) == [f"/{i}" for i in range(5)]


def test_without_the_kind_there_is_no_line(hello: Mesh) -> None:
    hello.get()
    assert hello.end() == 0
    assert hello.output == ""


def test_sigusr1_opens_a_renamed_file_anew(logged: Mesh, log: Log, tmp_path: Path) -> None:
    old = Log(tmp_path / "access.log.1")
    logged.get("/before")
    log.wait(1)
    log.path.rename(old.path)
    logged.get("/renamed")
    old.wait(2)  # the descriptor follows the file
    logged.send_signal(signal.SIGUSR1)
    wait_until(log.path.exists, "the new file")
    logged.get("/after")
    (line,) = log.json(1)
    assert line["path"] == "/after"
    assert [json.loads(line)["path"] for line in old.wait(2)] == ["/before", "/renamed"]


def test_a_reload_moves_the_log(logged: Mesh, upstream: Upstream, log: Log, tmp_path: Path) -> None:
    logged.get("/one")
    log.wait(1)
    other = Log(tmp_path / "other.log")
    version = logged.version()
    serve(logged, upstream.address, other)
    wait_until(lambda: logged.version() != version, "the reload")
    logged.get("/two")
    assert other.json(1)[0]["path"] == "/two"
    log.wait(1)


def test_nothing_is_lost_when_the_mesh_ends(logged: Mesh, log: Log) -> None:
    for _ in range(200):
        logged.get()
    assert logged.end() == 0
    assert len(log.lines) == 200


@pytest.fixture
def stalled(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    """The path and the descriptor of a FIFO that has a reader which does not read."""
    path = tmp_path / "stalled"
    os.mkfifo(path)
    reading = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    yield path, reading
    os.close(reading)


def test_a_reader_that_stalls_costs_lines_and_never_requests(
    mesh: Mesh, upstream: Upstream, stalled: tuple[Path, int]
) -> None:
    path, reading = stalled
    serve(mesh, upstream.address, str(path), route="match: {hosts: [nowhere]}").start(workers=1)
    # 4 KiB a line: what waits in the FIFO, the pipe and the worker is full after some 400 of them.
    request = (
        b"GET /x HTTP/1.1\r\nHost: a\r\nUser-Agent: " + b"u" * 3000 + b"\r\nX-Request-Id: " + b"i" * 100 + b"\r\n\r\n"
    )
    with closing(Client(socket.create_connection(("127.0.0.1", mesh.port), timeout=20))) as client:
        for _ in range(1000):
            client.send(request)
            assert client.response().status == 404
        wait_until(lambda: metric(mesh, "fastmesh_access_log_dropped_total") > 0, "lines to be dropped")
        dropped = metric(mesh, "fastmesh_access_log_dropped_total")
        assert dropped + metric(mesh, "fastmesh_access_log_lines_total") == 1000
        # The reader wakes up: what was kept comes out, whole lines, and new ones too.
        os.set_blocking(reading, False)
        data = bytearray()

        def drain() -> int:
            try:
                while piece := os.read(reading, 1 << 20):
                    data.extend(piece)
            except BlockingIOError:
                pass
            return data.count(b"\n")

        wait_until(lambda: drain() == 1000 - dropped, "the lines that were kept")
        client.send(request)
        assert client.response().status == 404
        wait_until(lambda: drain() == 1001 - dropped, "the next line")
    assert all(json.loads(line)["reason"] == "no_route" for line in data.splitlines())
