"""Free ports, and waiting until somebody answers there."""

import http.client
import socket
import time

from bench.macro.processes import Process, ProcessError

READY_TIMEOUT_S = 20.0


def free_ports(count: int) -> list[int]:
    """Distinct ports on loopback that nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def fetch(port: int, path: str, host: str) -> tuple[int, bytes, str]:
    """One request: status, body, and the mark that the suite's upstream puts on its responses."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path, headers={"Host": host})
        response = connection.getresponse()
        return response.status, response.read(), response.getheader("x-bench-upstream", "")
    finally:
        connection.close()


def wait_ready(process: Process, port: int, path: str, host: str, size: int) -> None:
    """Wait for a whole, right answer from the suite's own upstream. Raises ProcessError."""
    deadline = time.monotonic() + READY_TIMEOUT_S
    last = "no answer"
    while time.monotonic() < deadline:
        process.pids()
        try:
            status, body, mark = fetch(port, path, host)
        except (OSError, http.client.HTTPException) as error:
            last = str(error)
        else:
            if (status, len(body), mark) == (200, size, "1"):
                return
            last = f"status {status}, {len(body)} bytes, upstream mark {mark!r}"
        time.sleep(0.05)
    raise ProcessError(f"{process.name} is not ready after {READY_TIMEOUT_S:.0f} s: {last}; {process.last_line()}")
