"""Small services to put behind the mesh: each answers with its name, its version and the request that it saw.

python services.py                                  hello v1 on 9001, hello v2 on 9002, assets v1 on 9003
python services.py hello:v1@0.0.0.0:9001 ...        those that are named
"""

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple, NoReturn

BODY_LIMIT_BYTES = 1 << 20


class Service(NamedTuple):
    name: str
    version: str
    address: str
    port: int


EXAMPLES = (
    Service("hello", "v1", "127.0.0.1", 9001),
    Service("hello", "v2", "127.0.0.1", 9002),
    Service("assets", "v1", "127.0.0.1", 9003),
)


class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are two writes
    timeout = 60
    service: Service

    def answer(self) -> None:
        received = self.body_bytes()
        seen = {
            "method": self.command,
            "target": self.path,
            "headers": dict(self.headers.items()),
            "body_bytes": received,
        }
        text = json.dumps({"service": self.service.name, "version": self.service.version, "request": seen}, indent=2)
        body = f"{text}\n".encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = answer

    def body_bytes(self) -> int:
        """Read the request's body to its end, so that the connection can be used again; its length."""
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            return self.chunked_body_bytes()
        left = length = int(self.headers.get("Content-Length", "0"))
        while left and (piece := self.rfile.read(min(left, BODY_LIMIT_BYTES))):
            left -= len(piece)
        return length - left

    def chunked_body_bytes(self) -> int:
        total = 0
        while size := int(self.rfile.readline(1024).split(b";")[0], 16):
            total += size
            if total > BODY_LIMIT_BYTES:
                self.close_connection = True
                return total
            self.rfile.read(size + 2)
        while self.rfile.readline(BODY_LIMIT_BYTES).strip():
            pass
        return total

    def log_message(self, format: str, *args: object) -> None:
        pass


def parse(text: str) -> Service:
    """`name:version@address:port`; raises ValueError."""
    names, _, place = text.partition("@")
    name, _, version = names.partition(":")
    address, _, port = place.rpartition(":")
    return Service(name, version, address, int(port))


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away, or sends what no mesh lets through, loses its connection and nothing else."""


def start(service: Service) -> Server:
    """Serve in threads of their own. Raises OSError when the port is taken."""
    server = Server((service.address, service.port), type("Answer", (Answer,), {"service": service}))
    threading.Thread(target=server.serve_forever, name=f"{service.name} {service.version}", daemon=True).start()
    return server


def fail(text: str) -> NoReturn:
    print(f"services: {text}", file=sys.stderr)
    sys.exit(1)


def main() -> None:
    try:
        services = [parse(text) for text in sys.argv[1:]] or EXAMPLES
    except ValueError:
        fail("name each service as name:version@address:port")
    for service in services:
        try:
            start(service)
        except OSError as error:
            fail(
                f"{service.name} {service.version} cannot listen on {service.address}:{service.port}: {error.strerror}"
            )
    threading.Event().wait()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(0)
