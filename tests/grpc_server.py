"""A gRPC server and stubs for tests: bytes in, bytes out, so that no generated code is needed."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc

SERVICE = "test.Echo"


class EchoServer:
    """test.Echo: one method of each kind, and some that misbehave. Notes what it saw."""

    def __init__(
        self, *, credentials: grpc.ServerCredentials | None = None, threads: int = 32, address: str = "127.0.0.1:0"
    ) -> None:
        self.is_serving = True  # what it answers to health checks
        self.checks = 0
        self.cancelled = 0
        self.calls = 0
        self.metadata: list[dict[str, str | bytes]] = []
        self.time_left: list[float | None] = []
        self._server = grpc.server(
            futures.ThreadPoolExecutor(threads),
            handlers=[_Handler(self)],
            options=[("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)],
        )
        if credentials is None:
            self.port = self._server.add_insecure_port(address)
        else:
            self.port = self._server.add_secure_port(address, credentials)
        self._server.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def stop(self, grace_s: float = 0) -> threading.Event:
        """Take no new calls, and give those that run so long; the event is set when it has ended."""
        return self._server.stop(grace_s)

    def note(self, call: grpc.ServicerContext) -> None:
        self.calls += 1
        self.metadata.append({key: value for key, value in call.invocation_metadata()})  # noqa: C416
        self.time_left.append(call.time_remaining())

        def ended() -> None:
            if not call.is_active() and call.code() is None:
                self.cancelled += 1

        call.add_callback(ended)

    # ---- the methods

    def unary(self, request: bytes, call: grpc.ServicerContext) -> bytes:
        self.note(call)
        call.send_initial_metadata([("initial", "yes"), ("raw-bin", b"\x00\xff\x01")])
        call.set_trailing_metadata([("trailing", "yes"), ("end-bin", b"\xfe\x00")])
        return request

    def fail(self, request: bytes, call: grpc.ServicerContext) -> bytes:
        self.note(call)
        call.abort(grpc.StatusCode.FAILED_PRECONDITION, "not now: ü")
        raise AssertionError

    def collect(self, requests: Iterator[bytes], call: grpc.ServicerContext) -> bytes:
        self.note(call)
        return b"".join(requests)

    def split(self, request: bytes, call: grpc.ServicerContext) -> Iterator[bytes]:
        self.note(call)
        for at in range(len(request)):
            yield request[at : at + 1]

    def chat(self, requests: Iterator[bytes], call: grpc.ServicerContext) -> Iterator[bytes]:
        self.note(call)
        for request in requests:
            yield request.upper()

    def wait(self, request: bytes, call: grpc.ServicerContext) -> bytes:
        self.note(call)
        deadline = time.monotonic() + 20
        while call.is_active() and time.monotonic() < deadline:
            time.sleep(0.01)
        self.cancelled += 1
        return b""

    def slow(self, request: bytes, call: grpc.ServicerContext) -> bytes:
        """Answers after so many milliseconds as the request says."""
        self.note(call)
        time.sleep(int(request) / 1000)
        return request

    def check(self, request: bytes, call: grpc.ServicerContext) -> bytes:
        """grpc.health.v1.HealthCheckResponse: SERVING, NOT_SERVING."""
        self.checks += 1
        return b"\x08\x01" if self.is_serving else b"\x08\x02"


class _Handler(grpc.GenericRpcHandler):
    def __init__(self, server: EchoServer) -> None:
        self._methods: dict[str, Any] = {
            f"/{SERVICE}/Unary": grpc.unary_unary_rpc_method_handler(server.unary),
            f"/{SERVICE}/Fail": grpc.unary_unary_rpc_method_handler(server.fail),
            f"/{SERVICE}/Collect": grpc.stream_unary_rpc_method_handler(server.collect),
            f"/{SERVICE}/Split": grpc.unary_stream_rpc_method_handler(server.split),
            f"/{SERVICE}/Chat": grpc.stream_stream_rpc_method_handler(server.chat),
            f"/{SERVICE}/Wait": grpc.unary_unary_rpc_method_handler(server.wait),
            f"/{SERVICE}/Slow": grpc.unary_unary_rpc_method_handler(server.slow),
            "/grpc.health.v1.Health/Check": grpc.unary_unary_rpc_method_handler(server.check),
        }

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        return self._methods.get(handler_call_details.method)


class Stub:
    """Calls of test.Echo over a channel."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.unary = channel.unary_unary(f"/{SERVICE}/Unary")
        self.fail = channel.unary_unary(f"/{SERVICE}/Fail")
        self.collect = channel.stream_unary(f"/{SERVICE}/Collect")
        self.split = channel.unary_stream(f"/{SERVICE}/Split")
        self.chat = channel.stream_stream(f"/{SERVICE}/Chat")
        self.wait = channel.unary_unary(f"/{SERVICE}/Wait")
        self.slow = channel.unary_unary(f"/{SERVICE}/Slow")
        self.missing = channel.unary_unary(f"/{SERVICE}/Missing")


OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_retries", 0),
]
"""Of channels: large messages, nothing shared between tests, and what fails is seen to fail."""
