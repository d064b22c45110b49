"""gRPC through a whole mesh, with grpcio's clients and servers: what is told of calls, and changes while they run."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import grpc
import pytest

from tests.grpc_server import OPTIONS, EchoServer, Stub
from tests.mesh import Mesh, wait_until
from tests.secure import MODES, MUTUAL, NAME, PLAIN, Authority, Mode


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "certs")


@pytest.fixture
def start_server(authority: Authority) -> Iterator[Callable[..., EchoServer]]:
    """Starts servers for a mode, and at an address, if one is given."""
    servers: list[EchoServer] = []

    def start(mode: Mode = PLAIN, **options: Any) -> EchoServer:
        servers.append(EchoServer(credentials=authority.server_credentials(mode), threads=64, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.stop().wait()


def serve(mesh: Mesh, authority: Authority, mode: Mode, *servers: EchoServer, **sections: str) -> None:
    sections["web"] = sections.get("web", "") + authority.web_lines(mode)
    sections["hello"] = "protocol: grpc\n" + sections.get("hello", "") + authority.service_lines(mode)
    mesh.serve(*(server.address for server in servers), **sections)


@contextmanager
def stub_of(mesh: Mesh, authority: Authority, mode: Mode) -> Iterator[Stub]:
    if mode.client_side:
        options = [*OPTIONS, ("grpc.ssl_target_name_override", NAME)]
        channel = grpc.secure_channel(mesh.address, authority.channel_credentials(mode), options)
    else:
        channel = grpc.insecure_channel(mesh.address, OPTIONS)
    with channel:
        yield Stub(channel)


class Calls:
    """Callers that make one call after another until told to stop; none may fail."""

    def __init__(
        self, mesh: Mesh, authority: Authority, mode: Mode, callers: int = 8, forgives_cancelled: bool = False
    ) -> None:
        self._forgives_cancelled = forgives_cancelled
        self.answered = 0
        self.failures: list[str] = []
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._where = mesh, authority, mode
        self._threads = [threading.Thread(target=self._call, args=(number,), daemon=True) for number in range(callers)]

    def __enter__(self) -> Calls:
        for thread in self._threads:
            thread.start()
        self.more(20)
        return self

    def __exit__(self, *error: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join(20)
        assert not self.failures, f"{len(self.failures)} of {self.answered} calls: {self.failures[:5]}"

    def more(self, calls: int) -> None:
        """Wait until so many more calls were answered."""
        goal = self.answered + calls
        wait_until(lambda: self.answered >= goal or self.failures, f"{calls} more answers")

    def _call(self, number: int) -> None:
        with stub_of(*self._where) as stub:
            while not self._stopped.is_set():
                try:
                    assert stub.slow(b"%d" % (number % 3 * 10), timeout=20) == b"%d" % (number % 3 * 10)
                    with self._lock:
                        self.answered += 1
                except grpc.RpcError as error:
                    if not (self._forgives_cancelled and error.code() is grpc.StatusCode.CANCELLED):
                        self.failures.append(repr(error))
                        return
                except Exception as error:
                    self.failures.append(repr(error))
                    return


class Chat:
    """A stream in both directions."""

    def __init__(self, stub: Stub) -> None:
        self._lines: SimpleQueue[bytes | None] = SimpleQueue()
        self._call = stub.chat(iter(self._lines.get, None), timeout=60)
        self.say(b"hello")

    def say(self, line: bytes) -> None:
        self._lines.put(line)
        assert next(self._call) == line.upper()

    def end(self) -> None:
        self._lines.put(None)
        assert list(self._call) == []


def metric(mesh: Mesh, name: str, *labels: str) -> float:
    """The sum of the series that bear these labels."""
    lines = [line for line in mesh.admin("/metrics").text.splitlines() if line.startswith((name + "{", name + " "))]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if all(label in line for label in labels))


# ---- what is told


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)
def test_log_and_metrics_tell_of_calls(mesh, authority, start_server, tmp_path, mode: Mode) -> None:
    server = start_server(mode)
    log = tmp_path / "access.log"
    serve(mesh, authority, mode, server, more=f"access_log: {{path: {log}}}")
    mesh.start()
    with stub_of(mesh, authority, mode) as stub:
        assert stub.unary(b"x" * 1000, timeout=10) == b"x" * 1000
        with pytest.raises(grpc.RpcError):
            stub.fail(b"", timeout=10)
    wait_until(lambda: log.exists() and log.read_text().count("\n") == 2)
    unary, failed = (json.loads(line) for line in log.read_text().splitlines())
    expected = {
        "method": "POST",
        "path": "/test.Echo/Unary",
        "status": 200,
        "protocol": "HTTP/2",
        "upstream_protocol": "HTTP/2",
        "bytes_in": 1005,
        "bytes_out": 1005,
        "grpc_service": "test.Echo",
        "grpc_method": "Unary",
        "grpc_status": "OK",
        "tls": "TLSv1.3" if mode.client_side else None,
        "client_identity": "client.test" if mode.is_mutual else None,
        "endpoint": server.address,
    }
    assert {name: unary.get(name) for name in expected} == expected
    assert (failed["grpc_method"], failed["grpc_status"], failed["status"]) == ("Fail", "FAILED_PRECONDITION", 200)
    calls = "fastmesh_grpc_calls_total"
    wait_until(lambda: metric(mesh, calls, 'grpc_service="test.Echo"') == 2)
    assert metric(mesh, calls, 'service="hello"', 'grpc_method="Unary"', 'grpc_status="OK"') == 1
    assert metric(mesh, calls, 'grpc_method="Fail"', 'grpc_status="FAILED_PRECONDITION"') == 1
    assert metric(mesh, "fastmesh_tls_handshakes_total") == (1 if mode.client_side else 0)


def test_routes_go_by_service_and_method(mesh, authority, start_server) -> None:
    general, special = start_server(), start_server()
    serve(mesh, authority, PLAIN, general)
    mesh.write(
        f"services:\n  special: {{endpoints: [{special.address}], protocol: grpc}}\n"
        "routes:\n"
        "  chat: {match: {grpc: {service: test.Echo, method: Chat}}, to: special}\n",
        "special.yaml",
    )
    mesh.start()
    with stub_of(mesh, authority, PLAIN) as stub:
        assert stub.unary(b"a", timeout=10) == b"a"
        assert list(stub.chat(iter([b"b"]), timeout=10)) == [b"B"]
    assert (general.calls, special.calls) == (1, 1)


# ---- endpoints that leave


@pytest.mark.parametrize("mode", [PLAIN, MUTUAL], ids=lambda mode: mode.name)
def test_an_endpoint_that_says_it_does_not_serve_is_left_alone(mesh, authority, start_server, mode: Mode) -> None:
    servers = start_server(mode), start_server(mode)
    check = "health_check: {grpc: {service: test.Echo}, interval: 50ms, timeout: 5s, fall: 1, rise: 1}\n"
    serve(mesh, authority, mode, *servers, hello=check)
    mesh.start()
    with stub_of(mesh, authority, mode) as stub:
        servers[0].is_serving = False
        wait_until(lambda: unhealthy(mesh) == [servers[0].address], "the endpoint to be taken out")
        before = servers[0].calls
        for _ in range(20):
            stub.unary(b"", timeout=10)
        assert servers[0].calls == before
        servers[0].is_serving = True
        wait_until(lambda: unhealthy(mesh) == [], "the endpoint to be taken back")
        wait_until(lambda: stub.unary(b"", timeout=10) == b"" and servers[0].calls > before, "calls for it")


def unhealthy(mesh: Mesh) -> list[str]:
    """The addresses of endpoints that are known not to be well."""
    return [each["address"] for each in mesh.admin("/services/hello").json["endpoints"] if not each["healthy"]]


@pytest.mark.parametrize("mode", [PLAIN, MUTUAL], ids=lambda mode: mode.name)
def test_no_call_fails_while_servers_leave_and_come_back(mesh, authority, start_server, tmp_path, mode: Mode) -> None:
    """Each server says goodbye by GOAWAY, finishes what it has, and is started again at its address.

    grpcio's server itself answers some of the calls that arrive in that moment with CANCELLED, without a proxy too.
    Such an answer is passed on, and forgiven here.
    """
    log = tmp_path / "access.log"
    servers = [start_server(mode) for _ in range(3)]
    serve(mesh, authority, mode, *servers, more=f"access_log: {{path: {log}}}")
    mesh.start()
    callers = Calls(mesh, authority, mode, forgives_cancelled=True)
    with stub_of(mesh, authority, mode) as stub, callers as calls:
        chats = [Chat(stub) for _ in range(12)]
        for server in servers[:2]:
            ended = server.stop(grace_s=10)
            calls.more(50)
            for chat in chats:
                chat.say(b"still there?")
            for chat in chats:
                chat.end()
            assert ended.wait(5)
            calls.more(50)
            start_server(mode, address=server.address)
            calls.more(50)
            chats = [Chat(stub) for _ in range(12)]
        for chat in chats:
            chat.end()
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert {(line["reason"], line["status"]) for line in lines} == {("", 200)}


# ---- reload


@pytest.mark.parametrize("mode", [PLAIN, MUTUAL], ids=lambda mode: mode.name)
def test_no_call_fails_in_reloads(mesh, authority, start_server, mode: Mode) -> None:
    """Streams outlive the service that they went to, and calls go where the newest configuration sends them."""
    old, new = start_server(mode), start_server(mode)
    serve(mesh, authority, mode, old)
    mesh.start()
    with stub_of(mesh, authority, mode) as stub, Calls(mesh, authority, mode) as calls:
        chat = Chat(stub)
        for server in (new, old, new):
            before = server.calls
            serve(mesh, authority, mode, server)
            wait_until(lambda server=server, before=before: server.calls > before + 20, "calls where the route leads")
            chat.say(b"still there?")
        calls.more(50)
        chat.end()
    assert mesh.admin("/readyz").status == 200
