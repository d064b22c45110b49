"""Tells whoever started us how far we are, as sd_notify(3) has it: systemd, and `fastmesh sidecar`."""

from __future__ import annotations

import contextlib
import os
import socket

VARIABLE = "NOTIFY_SOCKET"


def notify(state: str) -> None:
    """Send a state such as `READY=1`, where somebody has asked for it. Never raises: nobody need listen."""
    address = os.environ.get(VARIABLE, "")
    if not address.startswith(("/", "@")):
        return
    path = "\0" + address[1:] if address.startswith("@") else address
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
        sock.sendto(state.encode(), path)
