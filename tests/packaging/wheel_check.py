"""Install the wheel of a folder into an empty environment without a compiler, and run a mesh from another folder.

python -m tests.packaging.wheel_check dist
"""

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

READY_WITHIN_S = 20.0
STOPPED_WITHIN_S = 20.0
ANSWER = b"from behind the mesh\n"

MESH = """
admin: {{address: 127.0.0.1:{admin}}}
listeners:
  web: {{address: 127.0.0.1:{web}}}
services:
  hello: {{endpoints: [127.0.0.1:{upstream}]}}
routes:
  hello: {{match: {{path: {{prefix: /}}}}, to: hello}}
"""


class Failed(Exception):
    """The wheel is not what it should be."""


class Upstream(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(ANSWER)))
        self.end_headers()
        self.wfile.write(ANSWER)

    def log_message(self, format: str, *args: object) -> None:
        pass


def wheel_in(folder: Path) -> Path:
    wheels = list(folder.glob("fastmesh-*.whl"))
    if len(wheels) != 1:
        raise Failed(f"{folder} should hold one wheel, and holds {len(wheels)}")
    if "manylinux" not in wheels[0].name:
        raise Failed(f"{wheels[0].name} is not a manylinux wheel")
    return wheels[0]


def check_contents(wheel: Path, sources: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    compiled = {Path(name).name.split(".")[0] for name in names if name.endswith(".so")}
    if compiled != (wanted := {file.stem for file in sources.glob("*.pyx")}):
        raise Failed(f"compiled modules missing or unknown: {', '.join(sorted(compiled ^ wanted))}")
    faces = {Path(name).stem for name in names if name.endswith(".pyi")}
    if faces != (wanted := {file.stem for file in sources.glob("*.pyi")}):
        raise Failed(f".pyi files missing or unknown: {', '.join(sorted(faces ^ wanted))}")
    if extra := [name for name in names if re.search(r"\.(c|pyx|pxd)$|^(?!fastmesh[/-])", name)]:
        raise Failed(f"not for a wheel: {', '.join(extra)}")


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def fetch(url: str, process: subprocess.Popen[bytes]) -> bytes:
    deadline = time.monotonic() + READY_WITHIN_S
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5) as response:
                return bytes(response.read())
        except OSError as error:
            if process.poll() is not None:
                raise Failed(f"fastmesh ended with status {process.returncode}") from error
            if time.monotonic() > deadline:
                raise Failed(f"{url}: {error}") from error
            time.sleep(0.1)


def check_running(fastmesh: Path, folder: Path) -> None:
    upstream = ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    upstream.daemon_threads = True
    threading.Thread(target=upstream.serve_forever, daemon=True).start()
    admin, web = free_ports(2)
    config = folder / "mesh"
    config.mkdir()
    (config / "mesh.yaml").write_text(MESH.format(admin=admin, web=web, upstream=upstream.server_port))
    bare = {"PATH": str(fastmesh.parent), "HOME": str(folder)}
    subprocess.run([fastmesh, "check", config], cwd=folder, env=bare, check=True)
    process = subprocess.Popen([fastmesh, "run", config], cwd=folder, env=bare)
    try:
        if (body := fetch(f"http://127.0.0.1:{web}/", process)) != ANSWER:
            raise Failed(f"the mesh answered {body!r}")
        fetch(f"http://127.0.0.1:{admin}/readyz", process)
        process.send_signal(signal.SIGTERM)
        if status := process.wait(STOPPED_WITHIN_S):
            raise Failed(f"SIGTERM: fastmesh ended with status {status}, not 0")
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        upstream.shutdown()


def main() -> int:
    try:
        wheel = wheel_in(Path(sys.argv[1]).resolve())
        check_contents(wheel, Path("fastmesh/_core"))
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
            without_compiler = os.environ | {"CC": "false", "CXX": "false"}
            pip = [folder / "venv/bin/python", "-m", "pip", "install", "--quiet", "--only-binary=:all:", wheel]
            subprocess.run(pip, cwd=folder, env=without_compiler, check=True)
            check_running(folder / "venv/bin/fastmesh", folder)
    except (Failed, subprocess.SubprocessError) as error:
        print(f"wheel: {error}", file=sys.stderr)
        return 1
    print(f"wheel: {wheel.name} installs without a compiler and runs")
    return 0


if __name__ == "__main__":
    sys.exit(main())
