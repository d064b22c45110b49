"""gRPC through the engine, with grpcio's clients and servers: every kind of call, plain and with TLS on both sides."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import grpc
import pytest

from fastmesh import snapshot as s
from fastmesh._core.grpc_calls import grpc_calls
from tests.engine import EngineThread, make_snapshot, wait_until
from tests.grpc_server import OPTIONS, EchoServer, Stub
from tests.secure import MODES, NAME, PLAIN, Authority, Mode

STREAMS = {"streams_max": 256}


class Site:
    """An engine in front of a server, in one of the modes."""

    def __init__(self, mode: Mode, folder: Path) -> None:
        self.mode = mode
        self.authority = Authority(folder)
        self.server = EchoServer(credentials=self.authority.server_credentials(mode), threads=256)
        self.engine = EngineThread(self.snapshot())

    def snapshot(self, ports: list[int] | None = None, version: str = "01", **parts: Any) -> s.Snapshot:
        return make_snapshot(
            [self.server.port] if ports is None else ports,
            listener={"tls": self.authority.listener_tls(self.mode), **STREAMS},
            service={"tls": self.authority.service_tls(self.mode), "protocol": s.Protocol.HTTP2, **STREAMS},
            certificates=(self.authority.web,),
            version=version,
            **parts,
        )

    def channel(self) -> grpc.Channel:
        address = f"127.0.0.1:{self.engine.port}"
        if not self.mode.client_side:
            return grpc.insecure_channel(address, OPTIONS)
        options = [*OPTIONS, ("grpc.ssl_target_name_override", NAME)]
        return grpc.secure_channel(address, self.authority.channel_credentials(self.mode), options)

    def close(self) -> None:
        self.server.stop().wait()
        self.engine.close()


@pytest.fixture(params=MODES, ids=lambda mode: mode.name)
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    site = Site(request.param, tmp_path)
    yield site
    site.close()


@pytest.fixture
def plain_site(tmp_path: Path) -> Iterator[Site]:
    site = Site(PLAIN, tmp_path)
    yield site
    site.close()


@pytest.fixture
def server(site: Site) -> EchoServer:
    return site.server


@pytest.fixture
def engine(site: Site) -> EngineThread:
    return site.engine


@pytest.fixture
def stub(site: Site) -> Iterator[Stub]:
    with site.channel() as channel:
        yield Stub(channel)


def status_of(error: pytest.ExceptionInfo[grpc.RpcError]) -> tuple[grpc.StatusCode, str]:
    return error.value.code(), error.value.details()  # type: ignore[attr-defined]


# ---- every kind of call


def test_unary(stub: Stub, server: EchoServer) -> None:
    reply, call = stub.unary.with_call(b"hello", timeout=10, metadata=[("token", "abc"), ("blob-bin", b"\x00\x01\xff")])
    assert reply == b"hello"
    assert ("initial", "yes") in call.initial_metadata() and ("raw-bin", b"\x00\xff\x01") in call.initial_metadata()
    assert ("trailing", "yes") in call.trailing_metadata() and ("end-bin", b"\xfe\x00") in call.trailing_metadata()
    assert server.metadata[0]["token"] == "abc" and server.metadata[0]["blob-bin"] == b"\x00\x01\xff"


def test_client_stream(stub: Stub) -> None:
    assert stub.collect((b"%d," % number for number in range(500)), timeout=10) == b"".join(
        b"%d," % number for number in range(500)
    )


def test_server_stream(stub: Stub) -> None:
    assert list(stub.split(b"x" * 1000, timeout=10)) == [b"x"] * 1000


def test_chat_goes_back_and_forth(stub: Stub) -> None:
    turn = threading.Semaphore(1)

    def requests() -> Iterator[bytes]:
        for number in range(50):
            assert turn.acquire(timeout=10)
            yield b"line %d" % number

    replies = []
    for reply in stub.chat(requests(), timeout=30):
        replies.append(reply)
        turn.release()  # the next line is only said when the last was answered
    assert replies == [b"LINE %d" % number for number in range(50)]


def test_large_messages_both_ways(stub: Stub) -> None:
    message = bytes(range(256)) * (20 * 4096)
    assert stub.unary(message, timeout=30) == message


def test_many_calls_at_once(stub: Stub, engine: EngineThread, server: EchoServer) -> None:
    with ThreadPoolExecutor(64) as pool:
        replies = list(pool.map(lambda number: stub.unary(b"%d" % number, timeout=30), range(1000)))
    assert replies == [b"%d" % number for number in range(1000)]
    assert engine.live()["upstream"] <= 4  # many streams share few connections


def test_two_hundred_chats_at_once(stub: Stub, engine: EngineThread) -> None:
    lines: list[SimpleQueue[bytes | None]] = [SimpleQueue() for _ in range(200)]
    chats = [stub.chat(iter(line.get, None), timeout=30) for line in lines]
    for turn in range(3):
        for number, line in enumerate(lines):
            line.put(b"chat %d %d" % (number, turn))
        assert [next(chat) for chat in chats] == [b"CHAT %d %d" % (number, turn) for number in range(200)]
    assert engine.live()["exchange"] == 200
    assert engine.live()["upstream"] <= 4
    for line in lines:
        line.put(None)
    assert [list(chat) for chat in chats] == [[]] * 200


# ---- how calls end


def test_an_error_of_the_server_is_passed_on(stub: Stub) -> None:
    with pytest.raises(grpc.RpcError) as error:
        stub.fail(b"", timeout=10)
    assert status_of(error) == (grpc.StatusCode.FAILED_PRECONDITION, "not now: ü")


def test_trailers_only(stub: Stub) -> None:
    with pytest.raises(grpc.RpcError) as error:
        stub.missing(b"", timeout=10)
    assert error.value.code() is grpc.StatusCode.UNIMPLEMENTED  # type: ignore[attr-defined]


def test_no_endpoint_is_unavailable_and_says_why(site: Site, stub: Stub) -> None:
    site.engine.install(site.snapshot([], version="02"))
    with pytest.raises(grpc.RpcError) as error:
        stub.unary(b"", timeout=10)
    code, details = status_of(error)
    assert code is grpc.StatusCode.UNAVAILABLE and details.startswith("no_endpoint: ")


def test_no_route_is_unimplemented(site: Site, stub: Stub) -> None:
    site.engine.install(site.snapshot(version="02", route={"path": "/elsewhere"}))
    with pytest.raises(grpc.RpcError) as error:
        stub.unary(b"", timeout=10)
    assert error.value.code() is grpc.StatusCode.UNIMPLEMENTED  # type: ignore[attr-defined]


def test_a_limit_is_resource_exhausted(site: Site, stub: Stub) -> None:
    limit = s.Limit(1, "route/all", 10**12, 1)
    site.engine.install(site.snapshot(version="02", route={"limit_index": 0}, limits=(limit,)))
    assert stub.unary(b"a", timeout=10) == b"a"
    with pytest.raises(grpc.RpcError) as error:
        stub.unary(b"b", timeout=10)
    assert error.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED  # type: ignore[attr-defined]


def test_a_client_that_gives_up_ends_the_call_at_the_server(stub: Stub, server: EchoServer) -> None:
    call = stub.wait.future(b"", timeout=30)
    wait_until(lambda: server.calls == 1, lambda: "the call has not arrived")
    call.cancel()
    wait_until(lambda: server.cancelled > 0, lambda: "the server was not told")


def test_a_stream_that_is_given_up_ends_at_the_server(stub: Stub, server: EchoServer, engine: EngineThread) -> None:
    line: SimpleQueue[bytes | None] = SimpleQueue()
    chat = stub.chat(iter(line.get, None), timeout=30)
    line.put(b"hello")
    assert next(chat) == b"HELLO"
    chat.cancel()
    wait_until(lambda: server.cancelled > 0, lambda: "the server was not told")
    wait_until(lambda: engine.live()["exchange"] == 0)
    line.put(None)
    assert stub.unary(b"next", timeout=10) == b"next"


def test_a_deadline_that_passes(stub: Stub, server: EchoServer) -> None:
    with pytest.raises(grpc.RpcError) as error:
        stub.wait(b"", timeout=0.3)
    assert error.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED  # type: ignore[attr-defined]
    wait_until(lambda: server.cancelled > 0, lambda: "the server was not told")


def test_deadlines_are_passed_on_reduced(stub: Stub, server: EchoServer) -> None:
    stub.unary(b"", timeout=7)
    (left,) = server.time_left
    assert left is not None and 5 < left < 7.1  # grpcio rounds up what it sends


def test_a_call_without_a_deadline_has_none(stub: Stub, server: EchoServer) -> None:
    stub.unary(b"")
    assert server.time_left == [None] or server.time_left[0] > 10**6  # type: ignore[operator]


def test_the_deadline_ends_a_call_whose_client_does_not(plain_site: Site) -> None:
    """Spoken by hand: grpcio's own client would end the call itself."""
    h2_connection = pytest.importorskip("h2.connection")
    h2_events = pytest.importorskip("h2.events")
    connection = h2_connection.H2Connection()
    connection.initiate_connection()
    headers = [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "x"),
        (":path", "/test.Echo/Wait"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("grpc-timeout", "300m"),
    ]
    connection.send_headers(1, headers)
    connection.send_data(1, b"\0\0\0\0\0", end_stream=True)
    client = plain_site.engine.connect()
    client.send(connection.data_to_send())
    began = time.monotonic()
    status = None
    while status is None:
        for event in connection.receive_data(client.receive()):
            if isinstance(event, h2_events.ResponseReceived | h2_events.TrailersReceived):
                fields = dict(event.headers)
                status = fields.get(b"grpc-status", status)
    assert status == b"4"
    assert 0.25 < time.monotonic() - began < 5
    wait_until(lambda: plain_site.server.cancelled > 0, lambda: "the server was not told")
    client.close()


def test_calls_are_counted_by_method_and_status(stub: Stub, engine: EngineThread) -> None:
    stub.unary(b"a", timeout=10)
    stub.unary(b"b", timeout=10)
    for call in (stub.fail, stub.missing):
        with pytest.raises(grpc.RpcError):
            call(b"", timeout=10)
    counted = {name: calls for _, name, calls, _ in grpc_calls(engine.shared)}
    assert counted["/test.Echo/Unary"][0] == 2
    assert counted["/test.Echo/Fail"][9] == 1
    assert counted[""][12] == 1 and "/test.Echo/Missing" not in counted
