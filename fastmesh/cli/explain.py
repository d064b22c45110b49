"""`fastmesh explain`: what becomes of one request, and why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import SplitResult, urlsplit

import click

from fastmesh.cli import admin_client

if TYPE_CHECKING:
    from fastmesh.config import Config, LoadResult
    from fastmesh.config.explanation import Explainer
    from fastmesh.config.explanation_endpoints import Live

UNASKED_TIMEOUT_S = 1.0
PORTS = {"http": 80, "https": 443}


class Trouble(click.ClickException):
    """What is asked for cannot be told."""

    exit_code = 2


class Asked(NamedTuple):
    """The request of the command line."""

    head: bytes
    port: int | None  # None: of any listener


@click.command(
    short_help="Tell what becomes of one request, and why.",
    epilog="""\b
Examples:
  fastmesh explain config/ GET http://127.0.0.1:8080/static/site.css
  fastmesh explain config/ GET http://shop.example/ -H 'x-user-group: beta'
  fastmesh explain config/ POST /orders -H 'host: shop.example' --listener web
  fastmesh explain config/ GET / --json | jq '.listeners[0].route'
""",
)
@click.argument("directory", type=click.Path(path_type=Path))
@click.argument("method")
@click.argument("url")
@click.option("-H", "--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="A header of the request.")
@click.option("--listener", metavar="NAME", help="Where it arrives.  [default: where the URL's port leads, else any]")
@click.option("--client", metavar="URI", help="The verified identity of the client, such as spiffe://mesh/web.")
@click.option("--admin", metavar="ADDRESS", help="Whom to ask for health.  [default: the admin API of DIRECTORY]")
@click.option("--all", "show_all", is_flag=True, help="Show every rule, however many there are.")
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON object on standard output.")
def command(
    directory: Path, method: str, url: str, headers: tuple[str, ...], listener: str | None, client: str | None,
    admin: str | None, show_all: bool, as_json: bool,
) -> int:  # fmt: skip
    """Tell what becomes of a request: every rule in order and why it misses, filters, destinations, endpoints.

    Nothing is sent. The verdict is that of the router that `fastmesh run DIRECTORY` would use. The exit code is 0 when
    a route takes the request (at one listener at least), 1 when none does, 2 when it cannot be told.
    """
    asked = read_request(method, url, headers)
    result = load_good(directory)
    from fastmesh.config.explanation import Explainer, listeners_of

    live, told_by = _ask(result, admin)
    explainer = Explainer(result, live)
    indexes = [_listener(explainer, listener)] if listener else listeners_of(explainer.snapshot, asked.port)
    identity = (client, None, None) if client else None
    found = [explainer.explain(index, asked.head, identity) for index in indexes]
    if as_json:
        from msgspec import to_builtins

        request = {"method": method, "url": url, "headers": list(headers), "client": client}
        data = {"request": request, "version": result.digest, "health": told_by, "listeners": to_builtins(found)}
        click.echo(json.dumps(data, indent=2))
    else:
        from fastmesh.cli.explain_text import show

        show(f"{method} {url}", found, told_by, show_all)
    return 0 if any(each.route for each in found) else 1


def load_good(directory: Path) -> LoadResult:
    """The directory, or Trouble with its first error."""
    from fastmesh.config import LoadCache, load

    result = load(directory, LoadCache())
    if result.config is None:
        more = f"; {len(result.errors) - 1} more: fastmesh check {directory}" if len(result.errors) > 1 else ""
        raise Trouble(f"{result.errors[0]}{more}")
    return result


def read_request(method: str, url: str, headers: tuple[str, ...]) -> Asked:
    """The head that a client would send by HTTP/1.1. Raises UsageError."""
    parts = _split(url)
    lines = []
    for header in headers:
        name, colon, value = header.partition(":")
        if not colon or not name:
            raise click.UsageError(f"{header!r} is not a header; write it as 'name: value'")
        if any(char in "\r\n\0" for char in header) or not _fits(header, "latin-1"):
            raise click.UsageError(f"the header {name!r} holds characters that no header has")
        lines.append(f"{name}: {value.strip()}")
    if not any(line.lower().startswith("host:") for line in lines):
        lines.insert(0, f"Host: {parts.netloc}")
    target = parts.netloc if method == "CONNECT" else (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    head = "\r\n".join([f"{method} {target} HTTP/1.1", *lines, "", ""])
    return Asked(head.encode("latin-1"), parts.port or PORTS.get(parts.scheme))


def _split(url: str) -> SplitResult:
    if not _fits(url, "ascii") or not url.isprintable() or " " in url:
        raise click.UsageError(f"{url!r} is not a URL; other characters are percent-encoded, as on the wire: %20")
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise click.UsageError(f"{url!r} is not a URL: {error}") from None
    if url.startswith("/") or url == "*":
        return SplitResult("", "", *urlsplit("http://host" + url)[2:]) if url != "*" else parts
    if parts.scheme not in PORTS or not parts.netloc:
        raise click.UsageError(f"{url!r} is not a URL; write http://HOST/PATH, or /PATH with -H 'host: HOST'")
    return parts


def _fits(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def _listener(explainer: Explainer, name: str) -> int:
    from fastmesh.snapshot import Protocol

    known = [each.name for each in explainer.snapshot.listeners]
    if name not in known:
        raise click.UsageError(f"there is no listener {name!r}; there are {', '.join(known) or 'none'}")
    index = known.index(name)
    if explainer.snapshot.listeners[index].protocol is Protocol.TCP:
        raise click.UsageError(f"the listener {name} carries TCP connections, not requests")
    return index


def _ask(result: LoadResult, admin: str | None) -> tuple[Live, str]:
    """What a running mesh knows, and who told it. Raises UsageError, NoAnswer."""
    from fastmesh.config.explanation_endpoints import Live

    assert result.config is not None
    address = admin or result.config.admin.address
    try:
        where = admin_client.reachable(address)
        timeout_s = admin_client.TIMEOUT_S if admin else UNASKED_TIMEOUT_S
        status = admin_client.fetch(where, "/status", "fastmesh", timeout_s)
        known = {each["name"] for each in status["services"]} & set(result.config.services)
        services = [admin_client.fetch(where, f"/services/{name}", "endpoints", timeout_s) for name in sorted(known)]
    except admin_client.NoAnswer as error:
        if admin:
            raise Trouble(error.message) from None
        return Live(), f"unknown: no mesh answers at {address}"
    version = status["version"]
    other = (
        "" if version == result.digest else f", which serves another version ({version[:12]} of {status['directory']})"
    )
    return _live(result.config, status, services), f"as told by {address}{other}"


def _live(config: Config, status: dict[str, Any], services: list[dict[str, Any]]) -> Live:
    from fastmesh.config import Endpoint
    from fastmesh.config.explanation_endpoints import Health, Live

    health = {
        (service["name"], each["address"]): Health(each["healthy"], each["checked"], each["last_check_error"])
        for service in services
        for each in service["endpoints"]
    }
    # Written endpoints are among these, and stand first in the configuration, so that they count once.
    found = {
        service["name"]: tuple(
            Endpoint(each["address"], each["labels"], each["weight"]) for each in service["endpoints"]
        )
        for service in services
        if config.services[service["name"]].discover
    }
    return Live(health, {each["name"]: tuple(each["addresses"]) for each in status["names"]}, found)
