"""Names that need no look-up: IP addresses, `localhost`, and what /etc/hosts holds."""

from __future__ import annotations

import ipaddress
from pathlib import Path

FILE_MAX_BYTES = 4 * 1024 * 1024


def is_address(name: str) -> bool:
    """Whether it is an IP address literal."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_loopback_name(name: str) -> bool:
    """Whether it is `localhost` or below it (RFC 6761, section 6.3): never asked of a DNS server."""
    return name == "localhost" or name.endswith(".localhost")


class HostsFile:
    """/etc/hosts, read again when it has changed."""

    def __init__(self, path: Path = Path("/etc/hosts")) -> None:
        self._path = path
        self._stamp: tuple[int, int, int] = (0, 0, 0)
        self._names: dict[str, tuple[str, ...]] = {}

    def addresses(self, name: str) -> tuple[str, ...]:
        """All addresses of a name in lower case, in the order of the file; empty: it does not stand there."""
        self._refresh()
        return self._names.get(name, ())

    def _refresh(self) -> None:
        try:
            status = self._path.stat()
            stamp = (status.st_mtime_ns, status.st_ino, status.st_size)
            if stamp == self._stamp:
                return
            with self._path.open("rb") as file:
                text = file.read(FILE_MAX_BYTES).decode("utf-8", "replace")
        except OSError:
            stamp, text = (0, 0, 0), ""
        self._stamp = stamp
        self._names = parse_hosts(text)


def parse_hosts(text: str) -> dict[str, tuple[str, ...]]:
    """The names of a hosts file and their addresses; lines that are not of its form are passed over."""
    found: dict[str, dict[str, None]] = {}
    for line in text.splitlines():
        address, *names = line.partition("#")[0].split() or [""]
        if is_address(address):
            for name in names:
                found.setdefault(name.lower().rstrip("."), {})[address] = None
    return {name: tuple(addresses) for name, addresses in found.items()}
