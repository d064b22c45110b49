"""One check of one endpoint: connect, secure the connection, and ask by HTTP or gRPC."""

from __future__ import annotations

import asyncio
import os
import ssl
from typing import Any

import h11

from fastmesh import __version__
from fastmesh.health.failure import CheckFailed
from fastmesh.health.model import Check, CheckKind
from fastmesh.health.security import client_security, is_trusted
from fastmesh.snapshot import Endpoint

BODY_MAX_BYTES = 65536
HEAD_MAX_BYTES = 16384
READ_BYTES = 16384


async def probe(endpoint: Endpoint, check: Check) -> None:
    """Return if the endpoint is well, within the check's timeout; raise `CheckFailed` if it is not."""
    stage = ["connect"]
    try:
        async with asyncio.timeout(check.timeout_ms / 1000):
            await _probe(endpoint, check, stage)
    except TimeoutError:
        raise CheckFailed(f"{stage[0]}: no answer in {check.timeout_ms} ms") from None
    except h11.RemoteProtocolError as error:
        raise CheckFailed(f"{stage[0]}: not HTTP/1.1: {error}") from None
    except ssl.SSLCertVerificationError as error:
        raise CheckFailed(f"{stage[0]}: the endpoint's certificate: {error.verify_message}") from None
    except ssl.SSLError as error:
        raise CheckFailed(f"{stage[0]}: TLS: {error.reason or error}") from None
    except OSError as error:
        raise CheckFailed(f"{stage[0]}: {_reason(error)}") from None


def _reason(error: OSError) -> str:
    """The plain words of an error: asyncio wraps them in addresses that the caller knows already."""
    return os.strerror(error.errno) if error.errno else str(error) or type(error).__name__


async def _probe(endpoint: Endpoint, check: Check, stage: list[str]) -> None:
    tls = check.tls
    security: dict[str, Any] = {}
    if tls is not None:
        alpn = "h2" if check.kind is CheckKind.GRPC else "http/1.1"
        name = tls.server_name or endpoint.host
        security = {"ssl": client_security(tls, check.certificate, alpn), "server_hostname": name}
    reader, writer = await asyncio.open_connection(endpoint.host, endpoint.port, **security)
    try:
        if tls is not None and not is_trusted(tls, writer.get_extra_info("ssl_object")):
            raise CheckFailed("connect: the endpoint's SPIFFE id is not one of the service's")
        if check.kind is CheckKind.HTTP:
            stage[0] = "answer"
            await _ask(reader, writer, endpoint, check)
        elif check.kind is CheckKind.GRPC:
            stage[0] = "answer"
            from fastmesh.health import grpc_check  # loads h2, which few meshes need

            authority = check.host or _authority(endpoint)
            await grpc_check.ask(reader, writer, authority, "https" if tls else "http", check.grpc_service)
    finally:
        writer.close()


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, endpoint: Endpoint, check: Check) -> None:
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_MAX_BYTES)
    headers = [
        ("Host", check.host or _authority(endpoint)),
        ("User-Agent", f"fastmesh-health/{__version__}"),
        ("Accept", "*/*"),
        ("Connection", "close"),
    ]
    request = h11.Request(method="GET", target=check.path, headers=headers)
    writer.write((connection.send(request) or b"") + (connection.send(h11.EndOfMessage()) or b""))
    body_bytes = 0
    # The body is read, within limits, because closing on it would make the endpoint's own log report a broken client.
    while body_bytes <= BODY_MAX_BYTES:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(READ_BYTES))
        elif isinstance(event, h11.Response):
            if not check.status_first <= event.status_code <= check.status_last:
                raise CheckFailed(f"status {event.status_code}")
        elif isinstance(event, h11.Data):
            body_bytes += len(event.data)
        elif isinstance(event, h11.EndOfMessage | h11.ConnectionClosed):
            return


def _authority(endpoint: Endpoint) -> str:
    host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
    return f"{host}:{endpoint.port}"
