"""Checks by grpc.health.v1 and over TLS, against grpcio's server and ssl's."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from concurrent import futures

import grpc
import pytest
import trustme

from fastmesh.health.failure import CheckFailed
from fastmesh.health.grpc_check import request_message, status_of
from fastmesh.health.model import Check, CheckKind
from fastmesh.health.probe import probe
from fastmesh.snapshot import Certificate, Endpoint, ServiceTls

SERVING, NOT_SERVING = b"\x08\x01", b"\x08\x02"


class Health(grpc.GenericRpcHandler):
    """Answers Check with what the test put there; by the name of the service asked for."""

    def __init__(self) -> None:
        self.answers: dict[bytes, bytes] = {b"": SERVING}

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        if handler_call_details.method != "/grpc.health.v1.Health/Check":
            return None
        return grpc.unary_unary_rpc_method_handler(self.check)

    def check(self, request: bytes, call: grpc.ServicerContext) -> bytes:
        if request not in self.answers:
            call.abort(grpc.StatusCode.NOT_FOUND, "no such service")
        return self.answers[request]


@pytest.fixture
def health() -> Health:
    return Health()


@pytest.fixture
def port(health: Health) -> Iterator[int]:
    server = grpc.server(futures.ThreadPoolExecutor(2), handlers=[health])
    number = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield number
    server.stop(0)


def check(port: int, **fields: object) -> None:
    asyncio.run(probe(Endpoint(1, "127.0.0.1", port), Check(**{"kind": CheckKind.GRPC, **fields})))  # type: ignore[arg-type]


def test_serving_is_healthy(port: int) -> None:
    check(port)


def test_a_service_is_asked_for_by_name(port: int, health: Health) -> None:
    name = "shop.Orders" + "x" * 200
    health.answers[b"\x0a" + bytes([211 & 0x7F | 0x80, 1]) + name.encode()] = SERVING
    check(port, grpc_service=name)


def test_not_serving_is_not(port: int, health: Health) -> None:
    health.answers[b""] = NOT_SERVING
    with pytest.raises(CheckFailed, match="^NOT_SERVING$"):
        check(port)


def test_an_unknown_service_is_not(port: int) -> None:
    with pytest.raises(CheckFailed, match="^gRPC status 5: no such service$"):
        check(port, grpc_service="nobody")


def test_a_server_that_does_not_know_the_call_is_not() -> None:
    server = grpc.server(futures.ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with pytest.raises(CheckFailed, match="^gRPC status 12"):
        check(port)
    server.stop(0)


@pytest.mark.parametrize("answer", [b"", b"\0\0\0\0\5\x08\1", b"\1\0\0\0\2\x08\1", b"\0\0\0\0\2\x10\1"])
def test_rubbish_is_not_a_status(answer: bytes) -> None:
    with pytest.raises(CheckFailed):
        status_of(answer)


def test_an_empty_answer_means_unknown() -> None:
    assert status_of(b"\0\0\0\0\0") == 0
    assert request_message("") == b"\0\0\0\0\0"


class Tls:
    """An authority, and what it has issued."""

    def __init__(self) -> None:
        self.authority = trustme.CA()
        self.ca_pem = self.authority.cert_pem.bytes()
        self.server = self.authority.issue_cert("orders.mesh")
        issued = self.authority.issue_cert("me.mesh")
        chain = b"".join(pem.bytes() for pem in issued.cert_chain_pems)
        self.certificate = Certificate("me", chain, issued.private_key_pem.bytes(), ("me.mesh",))

    async def serve(self, handler: object, *, asks: bool = False) -> asyncio.Server:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.server.configure_cert(context)
        if asks:
            self.authority.configure_trust(context)
            context.verify_mode = ssl.CERT_REQUIRED
        return await asyncio.start_server(handler, "127.0.0.1", 0, ssl=context)  # type: ignore[arg-type]


async def fine(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
    except (OSError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


def check_tls(tls: Tls, settings: ServiceTls, certificate: Certificate | None = None, *, asks: bool = False) -> None:
    async def main() -> None:
        server = await tls.serve(fine, asks=asks)
        port = server.sockets[0].getsockname()[1]
        try:
            await probe(Endpoint(1, "127.0.0.1", port), Check(tls=settings, certificate=certificate))
        finally:
            server.close()

    asyncio.run(main())


@pytest.fixture(scope="module")
def tls() -> Tls:
    return Tls()


def test_a_service_with_tls_is_asked_over_tls(tls: Tls) -> None:
    check_tls(tls, ServiceTls(tls.ca_pem, server_name="orders.mesh"))


def test_the_name_is_verified(tls: Tls) -> None:
    with pytest.raises(CheckFailed, match="certificate: Hostname mismatch"):
        check_tls(tls, ServiceTls(tls.ca_pem, server_name="other.mesh"))


def test_the_authority_is_verified(tls: Tls) -> None:
    with pytest.raises(CheckFailed, match="certificate: "):
        check_tls(tls, ServiceTls(trustme.CA().cert_pem.bytes(), server_name="orders.mesh"))


def test_a_spiffe_id_that_is_not_there_is_missed(tls: Tls) -> None:
    with pytest.raises(CheckFailed, match="SPIFFE id"):
        check_tls(tls, ServiceTls(tls.ca_pem, server_name="other.mesh", spiffe_ids=("spiffe://mesh/orders",)))


def test_nothing_is_verified_when_told_so(tls: Tls) -> None:
    check_tls(tls, ServiceTls(b"", verifies=False, server_name="other.mesh"))


def test_the_service_s_certificate_is_shown(tls: Tls) -> None:
    check_tls(tls, ServiceTls(tls.ca_pem, server_name="orders.mesh"), tls.certificate, asks=True)
    with pytest.raises(CheckFailed):
        check_tls(tls, ServiceTls(tls.ca_pem, server_name="orders.mesh"), asks=True)
