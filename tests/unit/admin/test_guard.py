"""Who may make requests: programs on purpose, and our own page; not the pages of others."""

from __future__ import annotations

import pytest

from fastmesh.admin.http import ApiError, Request, guard

OWN = "127.0.0.1:9900"


def allowed(method: str = "GET", host: str | None = OWN, bound: str = "127.0.0.1", **headers: str) -> bool:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if host is not None:
        named["host"] = host
    try:
        guard(Request(method, "/", named), bound)
    except ApiError as refusal:
        assert refusal.status == 403
        assert refusal.hint
        return False
    return True


@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
@pytest.mark.parametrize("host", [OWN, "localhost:9900", "LOCALHOST", "[::1]:9900", "10.1.2.3:9900", "127.0.0.1"])
def test_addresses_and_localhost(method: str, host: str) -> None:
    assert allowed(method, host)
    assert allowed(method, host, origin=f"http://{host}", sec_fetch_site="same-origin")


@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:9900",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "",
        "[::1",
        "a@localhost:x:y",
    ],
)
def test_names_that_may_resolve_to_us_for_a_stranger(method: str, host: str) -> None:
    assert not allowed(method, host)
    assert not allowed(method, host, origin=f"http://{host}")


@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "https://127.0.0.1:9900", "http://127.0.0.1:8080", "http://localhost:9900", "null", ""],
)
def test_other_origins(method: str, origin: str) -> None:
    assert not allowed(method, origin=origin)


def test_requests_that_a_browser_says_come_from_elsewhere() -> None:
    assert not allowed("POST", sec_fetch_site="cross-site")
    assert not allowed("POST", sec_fetch_site="same-site")
    assert allowed("POST", sec_fetch_site="same-origin")
    assert allowed("POST", sec_fetch_site="none")
    assert allowed("GET", sec_fetch_site="cross-site")  # a link to the page


@pytest.mark.parametrize("bound", ["0.0.0.0", "10.0.0.5", "::"])
def test_opened_to_the_network_names_may_read_and_not_write(bound: str) -> None:
    assert allowed("GET", "mesh.internal:9900", bound)
    assert allowed("HEAD", "mesh.internal:9900", bound)
    assert not allowed("POST", "mesh.internal:9900", bound)
    assert allowed("POST", "10.0.0.5:9900", bound)
    assert not allowed("GET", "mesh.internal:9900", bound, origin="http://evil.example")
