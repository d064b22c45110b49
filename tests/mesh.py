"""A real mesh for tests: `python -m fastmesh run` on a directory of its own and free ports, ended by id."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
TIMEOUT_S = 20.0

_PORT_FIRST, _PORTS_EACH, _WORKERS_MAX = 12_000, 1000, 20
_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _WORKERS_MAX
_ports = count(_PORT_FIRST + _worker * _PORTS_EACH + os.getpid() % 500)


def free_port() -> int:
    """A port that nobody listens on: below those of outgoing connections, and another one for each caller."""
    while True:
        port = next(_ports)
        with socket.socket() as sock:
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port


def wait_until(true: Callable[[], object], what: str = "", timeout_s: float = TIMEOUT_S) -> None:
    """Poll until it is true."""
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline, f"waited {timeout_s} s for {what or true}"
        time.sleep(0.01)


@dataclass
class Reply:
    status: int
    headers: dict[str, str]  # names in lower case
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def fetch(
    address: str,
    path: str = "/",
    method: str = "GET",
    headers: dict[str, str] | None = None,
    body: bytes | None = None,
    timeout_s: float = TIMEOUT_S,
) -> Reply:
    """One request on a connection of its own. Raises OSError, http.client.HTTPException."""
    host, _, port = address.rpartition(":")
    connection = http.client.HTTPConnection(host.strip("[]"), int(port), timeout=timeout_s)
    with contextlib.closing(connection):
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return Reply(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())


class Mesh:
    """A directory, and the mesh that runs it. `port` and `admin_port` are free; use them in the configuration."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.port = free_port()
        self.admin_port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self._log = directory.with_name(directory.name + ".log")
        self._output = directory.with_name(directory.name + ".out")

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def admin_address(self) -> str:
        return f"127.0.0.1:{self.admin_port}"

    def write(self, text: str, name: str = "mesh.yaml") -> None:
        """Replace a file as editors do: write beside it, rename over it. {port} and {admin_port} are filled in."""
        text = text.replace("{port}", str(self.port)).replace("{admin_port}", str(self.admin_port))
        beside = self.directory / f".{name}.new"
        beside.write_text(text)
        beside.rename(self.directory / name)

    def serve(self, *upstreams: str, **sections: str) -> None:
        """Write a configuration of one listener, `web`, and one route to one service, `hello`.

        `sections`: further lines of the sections admin, web, hello, route, and `more` at top level.
        """
        endpoints = ", ".join(upstreams)
        self.write(
            f"admin: {{address: 127.0.0.1:{self.admin_port}}}\n"
            f"listeners:\n  web:\n    address: 127.0.0.1:{self.port}\n{_indented(sections.get('web', ''))}"
            f"services:\n  hello:\n    endpoints: [{endpoints}]\n{_indented(sections.get('hello', ''))}"
            f"routes:\n  hello:\n    to: hello\n{_indented(sections.get('route', ''))}"
            f"{sections.get('more', '')}\n"
        )

    def start(self, workers: int = 2, wait: bool = True, env: dict[str, str] | None = None) -> Mesh:
        """Start `fastmesh run`, and wait until it is ready."""
        with self._log.open("wb") as log, self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "fastmesh", "run", str(self.directory), "--workers", str(workers)],
                stdout=output,
                stderr=log,
                cwd=ROOT,
                env={**os.environ, **(env or {})},
                start_new_session=True,
            )
        if wait:
            wait_until(self._is_up, "the mesh to be ready")
        return self

    def _is_up(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"fastmesh ended with {self.process.returncode}:\n{self.log}"
        return self.is_ready() and "serves" in self.log

    def is_ready(self) -> bool:
        try:
            return self.admin("/readyz").status == 200
        except (OSError, http.client.HTTPException):
            return False

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def log(self) -> str:
        """What it said on standard error."""
        return self._log.read_text() if self._log.exists() else ""

    @property
    def output(self) -> str:
        """What it said on standard output."""
        return self._output.read_text() if self._output.exists() else ""

    def get(self, path: str = "/", **options: Any) -> Reply:
        """A request to the listener `web`."""
        return fetch(self.address, path, **options)

    def admin(self, path: str, **options: Any) -> Reply:
        return fetch(self.admin_address, path, **options)

    def status(self) -> Any:
        return self.admin("/status").json

    def version(self) -> str:
        version: str = self.admin("/config").json["version"]
        return version

    def send_signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def family(self) -> list[int]:
        """The ids of all processes of this mesh that run."""
        return [self.pid, *children(self.pid)]

    def end(self, number: signal.Signals = signal.SIGTERM, timeout_s: float = TIMEOUT_S) -> int:
        """Send a signal and wait for the end; the exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(timeout_s)

    def close(self) -> None:
        """End it, whatever state it is in; nothing of it may be left."""
        if self.process is None:
            return
        family = self.family()
        self.process.kill()
        self.process.wait(TIMEOUT_S)
        for pid in family:
            wait_until(lambda pid=pid: not is_running(pid), f"process {pid} to end with the mesh")


def _indented(lines: str) -> str:
    return "".join(f"    {line}\n" for line in lines.splitlines())


def children(pid: int) -> list[int]:
    """The ids of the processes that this one forked and that run."""
    try:
        ids = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except FileNotFoundError:
        return []
    return [int(id) for id in ids if is_running(int(id))]


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


class Load:
    """Clients that send requests one after another, each on a connection that it keeps, until told to stop."""

    def __init__(self, address: str, clients: int = 4, path: str = "/", new_connections: bool = False) -> None:
        self.statuses: list[int] = []
        self.failures: list[str] = []
        self._address = address
        self._path = path
        self._new_connections = new_connections
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._send, daemon=True) for _ in range(clients)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        wait_until(lambda: len(self.statuses) + len(self.failures) >= len(self._threads), "the load to begin")
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join(TIMEOUT_S)

    def more(self, requests: int) -> None:
        """Wait until so many more requests were answered."""
        goal = len(self.statuses) + requests
        wait_until(lambda: len(self.statuses) >= goal or self.failures, f"{requests} more answers")

    def _send(self) -> None:
        for connection in self._connections():
            with contextlib.closing(connection):
                try:
                    while not self._stopped.is_set():
                        connection.request("GET", self._path)
                        response = connection.getresponse()
                        response.read()
                        self.statuses.append(response.status)
                        if self._new_connections or response.will_close:
                            break
                except (OSError, http.client.HTTPException) as error:
                    self.failures.append(repr(error))
                    time.sleep(0.01)

    def _connections(self) -> Iterator[http.client.HTTPConnection]:
        host, _, port = self._address.rpartition(":")
        while not self._stopped.is_set():
            yield http.client.HTTPConnection(host, int(port), timeout=TIMEOUT_S)
