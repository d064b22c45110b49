"""Asks the admin API of a running mesh."""

from __future__ import annotations

import http.client
import json
from typing import Any

import click

DEFAULT_ADDRESS = "127.0.0.1:9900"
TIMEOUT_S = 5.0


class NoAnswer(click.ClickException):
    """Nobody answers, or somebody else: one clear line."""


def reachable(address: str) -> tuple[str, int]:
    """Host and port to connect to: those that listen everywhere also listen on loopback. Raises UsageError."""
    host, colon, port = address.removeprefix("http://").rstrip("/").rpartition(":")
    if not colon or not host or not port.isdigit():
        raise click.UsageError(f"{address!r} is not an address; write it as {DEFAULT_ADDRESS}")
    host = host.removeprefix("[").removesuffix("]")
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), int(port)


def fetch(address: tuple[str, int], path: str, known_by: str, timeout_s: float = TIMEOUT_S) -> dict[str, Any]:
    """The JSON object at a path, which has the field `known_by`. Raises NoAnswer."""
    host, port = address
    shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    connection = http.client.HTTPConnection(host, port, timeout=timeout_s)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
        found = json.loads(body) if answer.status == 200 else None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise NoAnswer(f"no mesh answers at {shown} ({reason}); is it running? see --admin") from None
    except (http.client.HTTPException, ValueError):
        found = None
    finally:
        connection.close()
    if not isinstance(found, dict) or known_by not in found:
        raise NoAnswer(f"what answers at {shown} is not the admin API of fastmesh; see --admin")
    return found
