"""Run the mesh of this folder's parent with the example services behind it, until Ctrl-C."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType
from typing import NoReturn

import certificates
import yaml

HERE = Path(__file__).resolve().parent
CONFIG = HERE.parent
START_LIMIT_S = 20.0
STOP_LIMIT_S = 20.0

TOUR = """
fastmesh is running: the mesh of {config}/, with the services hello (v1, v2), assets and greeter behind it
{addresses}
Things to try in another terminal:
  curl http://{web}/
      nine in ten answers come from hello v1, one from v2
  curl -H 'X-User-Group: beta' http://{web}/
      always hello v2
  curl http://{web}/static/site.css
      the service assets
  curl http://{raw}/
      the same by TCP, untouched
  curl -v --cacert {certs}/ca.crt https://localhost:{secure_port}/
      TLS 1.3 and HTTP/2, as -v shows
  curl --cacert {certs}/ca.crt --cert {certs}/ada.crt --key {certs}/ada.key https://localhost:{secure_port}/
      the client has a certificate: hello v2, by the route people; the service is told who it is
  printf '\\0\\0\\0\\0\\7\\12\\5world' | curl -s --cacert {certs}/ca.crt -H 'content-type: application/grpc' \\
    -H 'te: trailers' --data-binary @- https://localhost:{secure_port}/greet.Greeter/Greet | tail -c +8
      gRPC: over TLS to the mesh, over mutual TLS to the service greeter

Then edit {config}/routes.yaml (say, the weights of the route hello) and ask again. Ctrl-C stops everything.
"""


class Stop(Exception):
    """Someone asked us to stop."""


def on_signal(number: int, frame: FrameType | None) -> NoReturn:
    raise Stop


def addresses() -> dict[str, str]:
    """The addresses of the listeners and of the admin API, as the files in config/ have them now, with their scheme."""
    found: dict[str, str] = {}
    for file in sorted(CONFIG.glob("*.yaml")):
        content = yaml.safe_load(file.read_text("utf-8")) or {}
        for name, listener in content.get("listeners", {}).items():
            scheme = "https" if "tls" in listener else "tcp" if "tcp" in listener else "http"
            found[f"listener {name}"] = f"{scheme}://{listener['address']}"
        if "admin" in content:
            found["admin"] = f"http://{content['admin']['address']}"
    return found


def accepts(address: str) -> bool:
    host, _, port = address.rpartition("/")[2].rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=1).close()
    except OSError:
        return False
    return True


def start(name: str, arguments: list[str]) -> subprocess.Popen[bytes]:
    """A child in a session of its own: Ctrl-C reaches only us, and we stop the children in order."""
    print(f"starting {name}", flush=True)
    return subprocess.Popen([sys.executable, *arguments], start_new_session=True)


def wait_ready(children: dict[str, subprocess.Popen[bytes]], waited_for: dict[str, str]) -> str | None:
    """Wait until every address accepts; what went wrong, or None."""
    deadline = time.monotonic() + START_LIMIT_S
    missing = dict(waited_for)
    while missing:
        for name, child in children.items():
            if child.poll() is not None:
                return f"{name} ended with status {child.returncode}; its words are above"
        if time.monotonic() > deadline:
            return f"nothing accepts connections on {', '.join(missing.values())} after {START_LIMIT_S:.0f} s"
        missing = {name: address for name, address in missing.items() if not accepts(address)}
        time.sleep(0.05)
    return None


def stop(children: dict[str, subprocess.Popen[bytes]]) -> bool:
    """Ask the mesh first, so that its last requests still find the services; True when all ended by themselves."""
    clean = True
    for name, child in reversed(children.items()):
        if child.poll() is None:
            child.terminate()
        try:
            child.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            print(f"{name} did not stop within {STOP_LIMIT_S:.0f} s: killed", file=sys.stderr)
            child.kill()
            child.wait()
            clean = False
    return clean


def tour() -> str:
    found = addresses()
    bare = {name: address.partition("://")[2] for name, address in found.items()}
    return TOUR.format(
        config=CONFIG.name,
        certs=os.path.relpath(certificates.FOLDER),
        addresses="".join(f"  {name:<16} {address}\n" for name, address in found.items()),
        web=bare.get("listener web", "127.0.0.1:8080"),
        raw=bare.get("listener raw", "127.0.0.1:8081"),
        secure_port=bare.get("listener secure", "127.0.0.1:8443").rpartition(":")[2],
    )


def run(children: dict[str, subprocess.Popen[bytes]]) -> str | None:
    """Start everything and wait until one ends, which is an error; `Stop` interrupts."""
    certificates.make()
    children["the example services"] = start("the example services", [str(HERE / "services.py")])
    children["the gRPC service"] = start("the gRPC service", [str(HERE / "greeter.py")])
    services = {str(port): f"127.0.0.1:{port}" for port in (9001, 9002, 9003, 9004)}
    if problem := wait_ready(children, services):
        return problem
    if subprocess.run([sys.executable, "-m", "fastmesh", "check", str(CONFIG)]).returncode:
        return f"{CONFIG.name}/ has errors; they are above"
    children["fastmesh"] = start("fastmesh", ["-m", "fastmesh", "run", str(CONFIG)])
    if problem := wait_ready(children, addresses()):
        return problem
    print(tour(), flush=True)
    while all(child.poll() is None for child in children.values()):
        time.sleep(0.2)
    ended = next(name for name, child in children.items() if child.returncode is not None)
    return f"{ended} ended with status {children[ended].returncode}"


def main() -> int:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, on_signal)
    children: dict[str, subprocess.Popen[bytes]] = {}
    problem = None
    try:
        problem = run(children)
    except Stop:
        print("\nstopping", flush=True)
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        clean = stop(children)
    if problem:
        print(f"make run: {problem}", file=sys.stderr)
    return 0 if clean and problem is None else 1


if __name__ == "__main__":
    sys.exit(main())
