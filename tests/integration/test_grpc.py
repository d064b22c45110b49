"""gRPC through the engine, with grpcio's clients and servers: every kind of call, plain and with TLS on both sides."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from fastmesh import snapshot as s
from fastmesh._core.grpc_calls import grpc_calls
from tests.engine import EngineThread, make_snapshot, wait_until
from tests.grpc_server import OPTIONS, EchoServer, Stub


@pytest.fixture
def server() -> Iterator[EchoServer]:
    server = EchoServer()
    yield server
    server.stop()


@pytest.fixture
def engine(server: EchoServer) -> Iterator[EngineThread]:
    engine = EngineThread(make_snapshot([server.port], service={"protocol": s.Protocol.HTTP2}))
    yield engine
    engine.close()


@pytest.fixture
def stub(engine: EngineThread) -> Iterator[Stub]:
    with grpc.insecure_channel(f"127.0.0.1:{engine.port}", OPTIONS) as channel:
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


# ---- how calls end


def test_an_error_of_the_server_is_passed_on(stub: Stub) -> None:
    with pytest.raises(grpc.RpcError) as error:
        stub.fail(b"", timeout=10)
    assert status_of(error) == (grpc.StatusCode.FAILED_PRECONDITION, "not now: ü")


def test_trailers_only(stub: Stub) -> None:
    with pytest.raises(grpc.RpcError) as error:
        stub.missing(b"", timeout=10)
    assert error.value.code() is grpc.StatusCode.UNIMPLEMENTED  # type: ignore[attr-defined]


def test_no_endpoint_is_unavailable_and_says_why(engine: EngineThread, stub: Stub) -> None:
    engine.install(make_snapshot([], service={"protocol": s.Protocol.HTTP2}, version="02"))
    with pytest.raises(grpc.RpcError) as error:
        stub.unary(b"", timeout=10)
    code, details = status_of(error)
    assert code is grpc.StatusCode.UNAVAILABLE and details.startswith("no_endpoint: ")


def test_no_route_is_unimplemented(engine: EngineThread, stub: Stub, server: EchoServer) -> None:
    engine.install(
        make_snapshot([server.port], service={"protocol": s.Protocol.HTTP2}, route={"path": "/elsewhere"}, version="02")
    )
    with pytest.raises(grpc.RpcError) as error:
        stub.unary(b"", timeout=10)
    assert error.value.code() is grpc.StatusCode.UNIMPLEMENTED  # type: ignore[attr-defined]


def test_a_limit_is_resource_exhausted(engine: EngineThread, stub: Stub, server: EchoServer) -> None:
    engine.install(
        make_snapshot(
            [server.port],
            service={"protocol": s.Protocol.HTTP2},
            route={"limit_index": 0},
            limits=(s.Limit(1, "route/all", 10**12, 1),),
            version="02",
        )
    )
    assert stub.unary(b"a", timeout=10) == b"a"
    with pytest.raises(grpc.RpcError) as error:
        stub.unary(b"b", timeout=10)
    assert error.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED  # type: ignore[attr-defined]


def test_a_client_that_gives_up_ends_the_call_at_the_server(stub: Stub, server: EchoServer) -> None:
    call = stub.wait.future(b"", timeout=30)
    wait_until(lambda: server.calls == 1, lambda: "the call has not arrived")
    call.cancel()
    wait_until(lambda: server.cancelled > 0, lambda: "the server was not told")


def test_deadlines_are_passed_on_reduced(stub: Stub, server: EchoServer) -> None:
    stub.unary(b"", timeout=7)
    (left,) = server.time_left
    assert left is not None and 5 < left < 7.1  # grpcio rounds up what it sends


def test_a_call_without_a_deadline_has_none(stub: Stub, server: EchoServer) -> None:
    stub.unary(b"")
    assert server.time_left == [None] or server.time_left[0] > 10**6  # type: ignore[operator]


def test_the_deadline_ends_a_call_whose_client_does_not(engine: EngineThread, server: EchoServer) -> None:
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
    client = engine.connect()
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
    wait_until(lambda: server.cancelled > 0, lambda: "the server was not told")
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
