"""An engine for tests: in this process, on a thread of its own, with real sockets on both sides and no supervisor."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from fastmesh import snapshot as s
from fastmesh._core.engine import Engine
from fastmesh._core.shared import SharedMemory
from fastmesh.identity.credentials import Credentials

TIMEOUT_S = 10.0
LISTENER = s.Listener(
    id=1,
    name="web",
    host="127.0.0.1",
    port=1,
    request_line_max_bytes=8192,
    head_max_bytes=61440,
    header_max_count=100,
    body_max_bytes=0,
    connections_max=10_000,
    connection_requests_max=0,
    head_timeout_ms=10_000,
    idle_timeout_ms=60_000,
    trusted_hops=0,
    via="",
    limit_index=-1,
    unrouted_series_id=1,
)
SERVICE = s.Service(
    id=1,
    name="hello",
    balance=s.Balance.ROUND_ROBIN,
    hash_key=s.Key(),
    connect_timeout_ms=1000,
    request_timeout_ms=15_000,
    idle_timeout_ms=30_000,
    pool_connections_max=1024,
    pool_idle_timeout_ms=30_000,
    pool_age_max_ms=0,
    panic_percent=50,
    limit_index=-1,
    endpoints=(),
    subsets=((),),
)
ROUTE = s.Route(
    id=1,
    name="all",
    listener_indexes=(0,),
    hosts=(),
    path_match=s.PathMatch.PREFIX,
    path="/",
    methods=(),
    headers=(),
    query=(),
    destinations=(s.Destination(0, 0, 1, (2,)),),
    limit_index=-1,
)


def make_snapshot(
    ports: list[int],
    listener: dict[str, Any] | None = None,
    service: dict[str, Any] | None = None,
    route: dict[str, Any] | None = None,
    limits: tuple[s.Limit, ...] = (),
    version: str = "01",
    certificates: tuple[s.Certificate, ...] = (),
) -> s.Snapshot:
    """One listener, one service with an endpoint for each port, one route; with fields replaced."""
    endpoints = tuple(s.Endpoint(id=i + 1, host="127.0.0.1", port=port) for i, port in enumerate(ports))
    return s.Snapshot(
        version=version,
        listeners=(msgspec.structs.replace(LISTENER, **(listener or {})),),
        services=(msgspec.structs.replace(SERVICE, **{"endpoints": endpoints, **(service or {})}),),
        routes=(msgspec.structs.replace(ROUTE, **(route or {})),),
        limits=limits,
        certificates=certificates,
    )


class EngineThread:
    """Runs an engine; `close` checks that nothing of what it did is left alive."""

    def __init__(self, snapshot: s.Snapshot) -> None:
        self.shared = SharedMemory.create(1)
        self.engine = Engine(self.shared, 0)
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._credentials: Credentials | None = None
        self.install(snapshot)
        self.port = self.listen()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def install(self, snapshot: s.Snapshot) -> None:
        credentials = None
        if any(one.tls is not None for one in (*snapshot.listeners, *snapshot.services)):
            self._credentials = self._credentials or Credentials()
            credentials = self._credentials.of(snapshot)
        with self._lock:
            tables = self.engine.begin(s.decode(s.encode(snapshot)), credentials)
            while not tables.step():
                pass
            self.engine.install(tables)

    def listen(self, listener_id: int = 1) -> int:
        """Bind a free port and accept there."""
        listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
        listening.setblocking(False)
        port: int = listening.getsockname()[1]
        with self._lock:
            self.engine.add_listener(listener_id, listening.detach())
        return port

    def call(self, function: Callable[[Engine], Any]) -> Any:
        """Call something of the engine between its rounds."""
        with self._lock:
            return function(self.engine)

    def live(self) -> dict[str, int]:
        return self.call(lambda engine: engine.live())

    def connect(self, timeout_s: float = TIMEOUT_S) -> Client:
        return Client(socket.create_connection(("127.0.0.1", self.port), timeout=timeout_s))

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self.engine.fileno(), select.POLLIN)
        while not self._stopped.is_set():
            if poll.poll(20):
                with self._lock:
                    self.engine.run()

    def settle(self) -> None:
        """Wait until no client connection and no exchange is alive."""
        wait_until(lambda: self.live()["downstream"] == 0 and self.live()["exchange"] == 0, lambda: str(self.live()))

    def close(self) -> None:
        self.settle()
        self._stopped.set()
        self._thread.join(TIMEOUT_S)
        live = self.engine.live()
        assert live["buffer"] == 1, f"buffers are left: {live}"  # the scratch buffer
        assert live["upstream"] >= 0
        self.engine.close()
        left = {kind: count for kind, count in self.engine.live().items() if count}
        assert not left, f"left alive: {left}"


class Client:
    """A raw client connection."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._rest = b""

    def send(self, *pieces: bytes, pause_s: float = 0.0) -> None:
        for piece in pieces:
            self.sock.sendall(piece)
            if pause_s:
                time.sleep(pause_s)

    def receive(self) -> bytes:
        return self.sock.recv(65536)

    def until(self, end: bytes) -> bytes:
        """All up to and with `end`; the rest is kept."""
        while end not in self._rest:
            data = self.receive()
            if not data:
                raise EOFError(f"the connection ended before {end!r}; got {self._rest!r}")
            self._rest += data
        at = self._rest.index(end) + len(end)
        found, self._rest = self._rest[:at], self._rest[at:]
        return found

    def exactly(self, length: int) -> bytes:
        while len(self._rest) < length:
            data = self.receive()
            if not data:
                raise EOFError(f"the connection ended after {len(self._rest)} of {length} bytes")
            self._rest += data
        found, self._rest = self._rest[:length], self._rest[length:]
        return found

    def to_end(self) -> bytes:
        """All that comes until the peer ends the connection."""
        found, self._rest = self._rest, b""
        while data := self.receive():
            found += data
        return found

    def response(self, method: str = "GET") -> Response:
        """The next response, with its body."""
        head = self.until(b"\r\n\r\n")
        status_line, *lines = head[:-4].split(b"\r\n")
        version, status, _ = status_line.split(b" ", 2)
        headers: dict[str, str] = {}
        for line in lines:
            name, value = line.split(b":", 1)
            key = name.decode().lower()
            headers[key] = headers[key] + ", " + value.strip().decode() if key in headers else value.strip().decode()
        code = int(status)
        body = b""
        if method == "HEAD" or code < 200 or code in (204, 304):
            pass
        elif headers.get("transfer-encoding") == "chunked":
            body = self._chunked()
        elif "content-length" in headers:
            body = self.exactly(int(headers["content-length"]))
        else:
            body = self.to_end()
        return Response(code, headers, body, head)

    def _chunked(self) -> bytes:
        body = b""
        while size := int(self.until(b"\r\n")[:-2].split(b";")[0], 16):
            body += self.exactly(size)
            assert self.exactly(2) == b"\r\n"
        self.trailers = self.until(b"\r\n")
        while not self.trailers.endswith(b"\r\n\r\n") and self.trailers != b"\r\n":
            self.trailers += self.until(b"\r\n")
        return body

    def close(self) -> None:
        self.sock.close()

    def reset(self) -> None:
        """Close with RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        self.sock.close()


class Response(msgspec.Struct):
    status: int
    headers: dict[str, str]  # names in lower case
    body: bytes
    head: bytes


class ScriptedUpstream:
    """A server whose every connection is handled by a function of the test's, on a thread of its own."""

    def __init__(self, script: Callable[[Client, int], None], tls: ssl.SSLContext | None = None) -> None:
        self._script = script
        self._tls = tls
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port: int = self._listening.getsockname()[1]
        self.connections = 0
        self.failures: list[BaseException] = []
        self._stopped = False
        self._open: list[Client] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listening.accept()
            except OSError:
                return
            sock.settimeout(TIMEOUT_S)
            client = Client(sock)
            self._open.append(client)
            number = self.connections
            self.connections += 1
            threading.Thread(target=self._handle, args=(client, number), daemon=True).start()

    def _handle(self, client: Client, number: int) -> None:
        try:
            if self._tls is not None:
                client.sock = self._tls.wrap_socket(client.sock, server_side=True)
            self._script(client, number)
        except (EOFError, OSError):
            pass  # the engine ended the connection, as it may
        except BaseException as error:
            self.failures.append(error)
        finally:
            with contextlib.suppress(OSError):
                client.close()

    def hang_up(self) -> None:
        """End every connection."""
        for client in self._open:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(client.sock, socket.SHUT_RDWR)  # below TLS, where there is TLS
        self._open.clear()

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self.hang_up()
        assert not self.failures, self.failures


def wait_until(true: Callable[[], object], what: Callable[[], str] = lambda: "", timeout_s: float = TIMEOUT_S) -> None:
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline, f"waited {timeout_s} s: {what()}"
        time.sleep(0.005)


@contextlib.contextmanager
def proxied(script: Callable[[Client, int], None], **snapshot: Any) -> Iterator[tuple[EngineThread, ScriptedUpstream]]:
    """An engine in front of a scripted upstream; at the end nothing may be left alive."""
    upstream = ScriptedUpstream(script)
    engine = EngineThread(make_snapshot([upstream.port], **snapshot))
    try:
        yield engine, upstream
    finally:
        upstream.close()
        engine.close()


def reply(body: bytes = b"ok", *headers: bytes, status: bytes = b"200 OK") -> bytes:
    """A whole response with Content-Length."""
    lines = [b"HTTP/1.1 " + status, b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def serve(answer: bytes) -> Callable[[Client, int], None]:
    """A script that answers every request without a body with the same bytes."""

    def script(client: Client, number: int) -> None:
        while True:
            client.until(b"\r\n\r\n")
            client.send(answer)

    return script
