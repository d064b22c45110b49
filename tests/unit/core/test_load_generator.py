"""The load generator against servers that follow a script, one thread a connection."""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from fastmesh._core.load_generator import LoadGenerator

GET = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
Answer = Callable[[socket.socket, int], bool]
"""Answers a request, whose number on its connection is given; False closes the connection."""


class Server:
    """Reads requests, keeps them, and lets `answer` reply."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.requests: list[bytes] = []
        self.accepted: list[socket.socket] = []
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self.accepted.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        pending, number = b"", 0
        try:
            while True:
                while b"\r\n\r\n" not in pending:
                    data = connection.recv(65536)
                    if not data:
                        return
                    pending += data
                head, _, pending = pending.partition(b"\r\n\r\n")
                _, _, length = head.lower().partition(b"content-length: ")
                wanted = int(length.split(b"\r\n")[0]) if length else 0
                while len(pending) < wanted:
                    pending += connection.recv(65536)
                self.requests.append(head + b"\r\n\r\n" + pending[:wanted])
                pending = pending[wanted:]
                if not self.answer(connection, number):
                    return
                number += 1
        except OSError:
            return
        finally:
            connection.close()

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for connection in self.accepted:
            connection.close()


def always(response: bytes, keep: bool = True) -> Answer:
    def answer(connection: socket.socket, number: int) -> bool:
        connection.sendall(response)
        return keep

    return answer


@contextmanager
def serving(answer: Answer) -> Iterator[Server]:
    server = Server(answer)
    try:
        yield server
    finally:
        server.close()


def finish(generator: LoadGenerator, limit_s: float = 20.0) -> None:
    deadline = time.monotonic() + limit_s
    while not generator.run(0.05):
        assert time.monotonic() < deadline, "the run does not end"


def generate(
    port: int,
    request: bytes = GET,
    *,
    method: str = "GET",
    connections: int = 4,
    rate: float = 100.0,
    duration_s: float = 0.2,
    warmup_s: float = 0.0,
    timeout_s: float = 5.0,
    close: bool = False,
) -> LoadGenerator:
    generator = LoadGenerator(
        "127.0.0.1",
        port,
        request,
        method=method,
        connections=connections,
        rate=rate,
        duration_s=duration_s,
        warmup_s=warmup_s,
        timeout_s=timeout_s,
        close=close,
    )
    finish(generator)
    return generator


def failures(generator: LoadGenerator) -> dict[str, int]:
    return {kind: count for kind, count in generator.errors.items() if count}


def test_sends_the_request_at_the_rate_over_kept_connections() -> None:
    with serving(always(OK)) as server:
        generator = generate(server.port, connections=4, rate=200, duration_s=0.25)
        assert generator.statuses == {"1xx": 0, "2xx": 50, "3xx": 0, "4xx": 0, "5xx": 0}
        assert (generator.responses, generator.unsent, failures(generator)) == (50, 0, {})
        assert server.requests == [GET] * 50
        assert len(server.accepted) == generator.connected == 4
        assert generator.latency.total == generator.delay.total == 50
        assert generator.received_bytes == 50 * len(OK)


def test_every_connection_takes_its_turn() -> None:
    with serving(always(OK)) as server:
        generator = generate(server.port, connections=20, rate=100, duration_s=0.2)
        assert generator.connected == len(server.accepted) == 20


def test_closed_loop_runs_until_the_end() -> None:
    with serving(always(OK)) as server:
        generator = generate(server.port, connections=2, rate=0, duration_s=0.2)
        assert generator.responses == len(server.requests) > 2
        assert generator.unsent == 0
        assert generator.measured_s >= 0.2


def test_warmup_is_not_counted() -> None:
    with serving(always(OK)) as server:
        generator = generate(server.port, rate=100, warmup_s=0.2, duration_s=0.1)
        assert generator.responses == generator.latency.total == 10
        assert len(server.requests) > 10


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nTrailer: t\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100_000,
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK,
    ],
    ids=["no-content", "not-modified", "chunked", "large", "interim"],
)
def test_reads_all_kinds_of_responses_on_one_connection(response: bytes) -> None:
    with serving(always(response)) as server:
        generator = generate(server.port, connections=1)
        assert (generator.responses, failures(generator)) == (20, {})
        assert len(server.accepted) == 1


def test_response_until_the_connection_ends() -> None:
    with serving(always(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 5000, keep=False)) as server:
        generator = generate(server.port, connections=2)
        assert (generator.responses, failures(generator), len(server.accepted)) == (20, {}, 20)


def test_response_byte_by_byte() -> None:
    response = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"

    def answer(connection: socket.socket, number: int) -> bool:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in response:
            connection.sendall(bytes([byte]))
        return True

    with serving(answer) as server:
        generator = generate(server.port, connections=1, rate=20)
        assert (generator.responses, failures(generator), len(server.accepted)) == (4, {}, 1)


def test_head_responses_have_no_body() -> None:
    with serving(always(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n")) as server:
        generator = generate(server.port, GET.replace(b"GET", b"HEAD"), method="HEAD", connections=1)
        assert (generator.responses, failures(generator), len(server.accepted)) == (20, {}, 1)


def test_close_makes_a_connection_for_each_request() -> None:
    with serving(always(OK)) as server:
        generator = generate(server.port, close=True)
        assert (generator.responses, len(server.accepted), generator.connected) == (20, 20, 0)


def test_connection_close_is_heeded() -> None:
    with serving(always(OK.replace(b"OK\r\n", b"OK\r\nConnection: close\r\n", 1), keep=False)) as server:
        generator = generate(server.port, connections=1)
        assert (generator.responses, failures(generator), len(server.accepted)) == (20, {}, 20)


def test_a_connection_closed_while_idle_is_replaced() -> None:
    # The server says nothing of closing, but does so after two requests; there is time to see it.
    def answer(connection: socket.socket, number: int) -> bool:
        connection.sendall(OK)
        return number < 1

    with serving(answer) as server:
        generator = generate(server.port, connections=1, rate=10, duration_s=0.4)
        assert (generator.responses, failures(generator), len(server.accepted)) == (4, {}, 2)


def test_uploads_arrive_whole() -> None:
    body = bytes(range(256)) * 8192
    request = b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    with serving(always(OK)) as server:
        generator = generate(server.port, request, method="POST", rate=20)
        assert (generator.responses, failures(generator)) == (4, {})
        assert server.requests == [request] * 4


def test_an_early_answer_to_an_upload_counts() -> None:
    request = b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 50000000\r\n\r\n" + b"x" * 50_000_000
    listening = socket.create_server(("127.0.0.1", 0))

    def refuse() -> None:
        connection, _ = listening.accept()
        connection.recv(1000)
        connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        connection.recv(1)

    threading.Thread(target=refuse, daemon=True).start()
    with listening:
        generator = generate(listening.getsockname()[1], request, method="POST", connections=1, rate=1)
        assert (generator.statuses["4xx"], failures(generator)) == (1, {})
        assert generator.connected == 0


@pytest.mark.parametrize("status", [200, 301, 404, 503])
def test_statuses_are_counted_by_class(status: int) -> None:
    with serving(always(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status)) as server:
        statuses = generate(server.port).statuses
        assert statuses == {f"{kind}xx": 20 if kind == status // 100 else 0 for kind in range(1, 6)}


def test_upgrade_ends_the_exchange() -> None:
    with serving(
        always(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nhello")
    ) as server:
        generator = generate(server.port)
        assert (generator.statuses["1xx"], failures(generator), generator.connected) == (20, {}, 0)


@pytest.mark.parametrize(
    "response",
    [
        b"rubbish\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        OK + b"and more",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nmore",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 20_000,
    ],
    ids=["no-status", "bare-lf", "bad-chunk", "surplus", "surplus-chunked", "endless-head"],
)
def test_malformed_responses(response: bytes) -> None:
    with serving(always(response)) as server:
        generator = generate(server.port)
        assert (failures(generator), generator.responses, generator.latency.total) == ({"malformed": 20}, 0, 0)


@pytest.mark.parametrize("response", [b"", b"HTTP/1.1 200", OK[:-1]], ids=["nothing", "half-head", "half-body"])
def test_responses_that_are_cut_off(response: bytes) -> None:
    with serving(always(response, keep=False)) as server:
        generator = generate(server.port)
        assert (failures(generator), generator.responses) == ({"reset": 20}, 0)


def test_refused_connections() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        generator = generate(unused.getsockname()[1])
    assert failures(generator) == {"connect": 20}
    assert generator.connect_error == os.strerror(111)


def test_silence_times_out_and_counts_with_the_time_waited() -> None:
    with serving(always(b"")) as server:
        generator = generate(server.port, connections=20, timeout_s=0.3)
        assert failures(generator) == {"timeout": 20}
        assert generator.latency.total == 20
        assert generator.latency.min_ns >= 300_000_000


def test_requests_that_find_no_connection_are_unsent() -> None:
    with serving(always(b"")) as server:
        generator = generate(server.port, connections=1, rate=100, duration_s=0.5, timeout_s=0.5)
        assert failures(generator) == {"timeout": 1}
        assert generator.unsent == 49
        assert generator.latency.total == 50


def test_a_stall_is_charged_for_all_that_it_held_up() -> None:
    # The first answer takes 300 ms. Of the 50 requests, 30 are meant for that time, and wait until it is over.
    def answer(connection: socket.socket, number: int) -> bool:
        if number == 0:
            time.sleep(0.3)
        connection.sendall(OK)
        return True

    with serving(answer) as server:
        generator = generate(server.port, connections=1, rate=100, duration_s=0.5)
        assert generator.responses == 50
        assert generator.latency.max_ns >= 300_000_000
        # Request k waits at least 300 - 10 k ms: 100 ms or more for 21 of them.
        assert generator.latency.quantile_ns(31 / 50) >= 100_000_000
        assert generator.delay.quantile_ns(31 / 50) >= 100_000_000


def test_stop_ends_the_run_and_keeps_the_figures() -> None:
    with serving(always(OK)) as server:
        generator = LoadGenerator("127.0.0.1", server.port, GET, rate=100, duration_s=3600)
        while generator.responses < 5:
            assert not generator.run(0.05)
        responses = generator.responses
        generator.stop()
        assert generator.run(0.05)
        assert generator.responses == responses


def test_close_gives_everything_back() -> None:
    def sockets() -> int:
        found = 0
        for name in os.listdir("/proc/self/fd"):
            try:
                found += os.readlink(f"/proc/self/fd/{name}").startswith(
                    ("anon_inode:[eventpoll]", "anon_inode:[timer")
                )
            except OSError:
                continue
        return found

    with serving(always(OK)) as server:
        before = sockets()
        generator = generate(server.port, connections=4)
        assert (generator.connected, sockets()) == (4, before + 2)
        generator.close()
        assert (generator.connected, generator.responses) == (0, 20)
        del generator
        assert sockets() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"host": "localhost"}, "IP address"),
        ({"port": 0}, "port"),
        ({"connections": 0}, "connections"),
        ({"connections": 1_000_000}, "connections"),
        ({"connections": -1}, "connections"),
        ({"rate": -1.0}, "rate"),
        ({"rate": float("nan")}, "rate"),
        ({"duration_s": 0.0}, "durations"),
        ({"warmup_s": -1.0}, "durations"),
        ({"timeout_s": 1e9}, "timeout"),
    ],
)
def test_refuses_what_makes_no_sense(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LoadGenerator(**{"host": "127.0.0.1", "port": 80, "request": GET, **arguments})  # type: ignore[arg-type]


def test_ipv6() -> None:
    """Where the loopback has no IPv6 address, the connection fails as such."""
    with socket.socket(socket.AF_INET6) as listening:
        try:
            listening.bind(("::1", 0))
        except OSError:
            expected, port = (0, {"connect": 1}), 9
        else:
            expected, port = (1, {}), listening.getsockname()[1]
            listening.listen()
            threading.Thread(target=lambda: listening.accept()[0].sendall(OK), daemon=True).start()
        generator = LoadGenerator("::1", port, GET, connections=1, rate=10, duration_s=0.1)
        finish(generator)
        assert (generator.responses, failures(generator)) == expected
