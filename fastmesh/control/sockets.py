"""Listening sockets: bound once, here, and shared by all workers, so that a worker's death refuses nobody."""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from fastmesh.snapshot import Listener

Address = tuple[str, int]

_SOMAXCONN = Path("/proc/sys/net/core/somaxconn")
_REASONS = {
    errno.EADDRINUSE: "the address is in use; stop the program that listens there, or choose another port",
    errno.EACCES: "permission denied; ports below 1024 need root or the capability CAP_NET_BIND_SERVICE",
    errno.EADDRNOTAVAIL: "this machine has no such address",
}


class BindError(Exception):
    """Listeners that could not be bound; one line for each."""


def address_text(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def bind_failure(host: str, port: int, error: OSError) -> str:
    """What went wrong, and what to do."""
    reason = _REASONS.get(error.errno or 0, error.strerror or str(error))
    return f"cannot listen on {address_text(host, port)}: {reason}"


def bind(host: str, port: int) -> socket.socket:
    """A non-blocking listening socket. Raises OSError."""
    is_ipv6 = ipaddress.ip_address(host).version == 6
    sock = socket.socket(socket.AF_INET6 if is_ipv6 else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_ipv6:  # so that "[::]:80" and "0.0.0.0:80" can stand side by side
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((host, port))
        sock.listen(_backlog())
    except OSError:
        sock.close()
        raise
    return sock


def _backlog() -> int:
    try:
        return int(_SOMAXCONN.read_text())
    except (OSError, ValueError):
        return socket.SOMAXCONN


@dataclass(slots=True)
class Change:
    """What a new set of listeners asks for; nothing is different until it is committed."""

    addresses: dict[int, Address]  # listener id: where it shall listen
    bound: dict[Address, socket.socket]  # new sockets
    added_ids: tuple[int, ...]  # new, or on another address than before
    removed_ids: tuple[int, ...]

    def discard(self) -> None:
        for sock in self.bound.values():
            sock.close()


@dataclass(slots=True)
class ListeningSockets:
    """The sockets in use, by address; listeners that swap addresses swap sockets."""

    _addresses: dict[int, Address] = field(default_factory=dict)
    _sockets: dict[Address, socket.socket] = field(default_factory=dict)

    def prepare(self, listeners: Iterable[Listener]) -> Change:
        """Bind what is new: all of it or nothing. Raises BindError, which names every listener that failed."""
        wanted = {listener.id: (listener.host, listener.port) for listener in listeners}
        change = Change(
            addresses=wanted,
            bound={},
            added_ids=tuple(id for id, address in wanted.items() if self._addresses.get(id) != address),
            removed_ids=tuple(id for id in self._addresses if id not in wanted),
        )
        failures = []
        for listener in listeners:
            address = wanted[listener.id]
            if address in self._sockets or address in change.bound:
                continue
            try:
                change.bound[address] = bind(*address)
            except OSError as error:
                failures.append(f"listener {listener.name}: {bind_failure(*address, error)}")
        if failures:
            change.discard()
            raise BindError("\n".join(failures))
        return change

    def commit(self, change: Change) -> None:
        """The change is in force: sockets that no listener uses any more are closed here."""
        self._addresses = change.addresses
        self._sockets |= change.bound
        for address in self._sockets.keys() - set(change.addresses.values()):
            self._sockets.pop(address).close()

    def socket_of(self, listener_id: int) -> socket.socket:
        return self._sockets[self._addresses[listener_id]]

    @property
    def ids(self) -> tuple[int, ...]:
        return tuple(self._addresses)

    def close(self) -> None:
        for sock in self._sockets.values():
            sock.close()
        self._sockets.clear()
        self._addresses.clear()
