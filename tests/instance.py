"""An application for tests of the sidecar: answers with its name on a port, and notes the signals that it gets.

    python -m tests.instance PORT NAME NOTES [EXIT_CODE]

SIGTERM, SIGINT: it ends with the exit code, or goes on when that is "never". Other signals are noted. A GET of /exit/N
ends it at once, /slow/MS answers after so long.
"""

from __future__ import annotations

import http.server
import os
import signal
import sys
import threading
import time
from pathlib import Path


def main(port: int, name: str, notes: Path, exit_code: str = "0") -> None:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            _, word, *rest = self.path.split("/")
            if word == "exit":
                os._exit(int(rest[0]))
            if word == "slow":
                time.sleep(int(rest[0]) / 1000)
            self.send_response(200)
            self.send_header("content-length", str(len(name)))
            self.end_headers()
            self.wfile.write(name.encode())

        def log_message(self, *arguments: object) -> None:
            """Nothing: standard error is looked at."""

    def take(number: int, frame: object) -> None:
        with notes.open("a") as file:
            file.write(f"{signal.Signals(number).name} {time.time()}\n")
        if number in (signal.SIGTERM, signal.SIGINT) and exit_code != "never":
            os._exit(int(exit_code))

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, take)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    while True:
        signal.pause()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), *sys.argv[4:])
