"""HTTP/2 inside TLS: what ALPN chooses, on both sides."""

from __future__ import annotations

import os
import ssl

import pytest

from fastmesh import snapshot as s
from tests.engine import Client, reply, serve, wait_until
from tests.http2_peers import Http2Client, http2_endpoint
from tests.integration.test_tls import (
    MIB,
    client_settings,
    connect,
    get,
    issue,
    originated,
    refusal,
    server_settings,
    service_tls,
    terminated,
)

BOTH = ("h2", "http/1.1")


def speaking(*protocols: str) -> ssl.SSLContext:
    settings = server_settings()
    settings.set_alpn_protocols(list(protocols))
    return settings


@pytest.mark.parametrize("upstream_secured", [False, True])
def test_a_client_that_offers_h2_is_served_with_it(upstream_secured: bool) -> None:
    settings = client_settings()
    settings.set_alpn_protocols(list(BOTH))
    body = os.urandom(MIB)
    upstream = {}
    if upstream_secured:
        upstream = {
            "upstream_tls": speaking("h2"),
            "service": {"tls": service_tls(), "protocol": s.Protocol.HTTP2},
            "script": http2_endpoint(lambda peer, request: peer.reply(request.stream_id, request.body)),
        }
    with terminated(alpn=BOTH, **upstream) as (engine, _):
        raw = connect(engine, settings)
        assert raw.sock.selected_alpn_protocol() == "h2"  # type: ignore[attr-defined]
        client = Http2Client(raw.sock)
        if upstream_secured:
            headers = [(":method", "POST"), (":scheme", "https"), (":authority", "example.org"), (":path", "/")]
            assert client.fetch(headers, body).body == body
        else:
            assert [client.fetch().body for _ in range(3)] == [b"hello"] * 3
        client.close()


def test_auto_takes_what_the_endpoint_chooses_and_shares_it() -> None:
    auto = {"protocol": s.Protocol.AUTO}
    with originated(service_tls(), speaking(*BOTH), http2_endpoint(), **auto) as (engine, upstream):
        client = engine.connect()
        assert [get(client)[0] for _ in range(5)] == [200] * 5
        other = engine.connect()
        assert get(other)[0] == 200
        assert upstream.connections == 1
        client.close()
        other.close()


@pytest.mark.parametrize("protocols", [("http/1.1",), ()])
def test_auto_speaks_http1_where_nothing_else_is_chosen(protocols: tuple[str, ...]) -> None:
    auto = {"protocol": s.Protocol.AUTO}
    with originated(service_tls(), speaking(*protocols), serve(reply(b"old")), **auto) as (engine, upstream):
        client = engine.connect()
        assert [get(client) for _ in range(3)] == [(200, b"old")] * 3
        assert upstream.connections == 1
        client.close()


def test_auto_follows_an_endpoint_that_changes_its_mind() -> None:
    settings = speaking(*BOTH)
    new = http2_endpoint()

    def script(client: Client, number: int) -> None:
        if client.sock.selected_alpn_protocol() == "h2":  # type: ignore[attr-defined]
            new(client, number)
        else:
            serve(reply(b"old"))(client, number)

    with originated(service_tls(), settings, script, protocol=s.Protocol.AUTO) as (engine, upstream):
        client = engine.connect()
        for protocols, answer in [(BOTH, b"ok"), (("http/1.1",), b"old"), (BOTH, b"ok")]:
            settings.set_alpn_protocols(list(protocols))
            assert get(client) == (200, answer)
            upstream.hang_up()
            wait_until(lambda: engine.live()["upstream"] == 0)
        client.close()


def test_a_handshake_that_fails_tells_all_that_wait_for_it() -> None:
    settings = server_settings(issue("other.org"))
    with originated(service_tls(), settings, protocol=s.Protocol.HTTP2) as (engine, _):
        assert refusal(engine, "upstream_tls") == "certificate verify failed: hostname mismatch"


def test_an_endpoint_that_speaks_no_h2_is_refused() -> None:
    with originated(service_tls(), speaking("http/1.1"), protocol=s.Protocol.HTTP2) as (engine, _):
        client = engine.connect()
        assert get(client)[0] in (502, 503)
        client.close()
