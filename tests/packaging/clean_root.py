"""Clean root folders of a plain Debian, and commands that run in them with namespaces of their own.

What the machine around us needs to reach its package sources (the settings of apt and pip, certificates, proxies) goes
into those folders, so that a Dockerfile need not know it.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
WORK = PROJECT / "build" / "docker-check"
PACKAGES = "ca-certificates,python3,python3-dev,python3-venv"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PASSED_ON = ("PIP_", "SSL_CERT_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


class Failed(Exception):
    """A step did not do what it should."""


def say(text: str) -> None:
    print(f"docker-check: {text}", flush=True)


def base_root(release: str) -> Path:
    WORK.mkdir(parents=True, exist_ok=True)
    root = WORK / f"base-{release}"
    if not (root / "made").exists():
        shutil.rmtree(root, ignore_errors=True)
        say(f"debootstrap {release}")
        arguments = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", release, str(root)]
        done = subprocess.run(
            [*arguments, debian_mirror()], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        if done.returncode:
            raise Failed(f"debootstrap ended with status {done.returncode}:\n{done.stdout[-2000:]}")
        (root / "made").touch()
    return root


def debian_mirror() -> str:
    """Where this machine's apt gets Debian from."""
    shown = subprocess.run(["apt-get", "indextargets", "--format", "$(SITE)"], capture_output=True, text=True).stdout
    return next((site for site in shown.splitlines() if site.endswith("/debian")), "http://deb.debian.org/debian")


def pass_machine_settings(root: Path) -> None:
    shutil.copy(CERTIFICATES, root / "etc/ssl/certs/ca-certificates.crt")
    shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
    (root / "etc/apt/sources.list").unlink(missing_ok=True)
    for name in ("sources.list", "sources.list.d", "auth.conf.d", "keyrings"):
        place = Path("/etc/apt", name)
        if place.is_dir():
            shutil.copytree(place, root / "etc/apt" / name, dirs_exist_ok=True)
        elif place.exists():
            shutil.copy(place, root / "etc/apt" / name)
    acquire = subprocess.run(["apt-config", "dump", "Acquire"], capture_output=True, text=True, check=True).stdout
    (root / "etc/apt/apt.conf.d/99machine").write_text(acquire)


def machine_environment() -> dict[str, str]:
    """Proxies, certificates and pip's settings, but for those that name folders of this machine."""
    shown = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True).stdout
    found = {}
    for line in shown.splitlines():
        name, _, value = line.partition("=")
        if name.startswith("global."):
            found[f"PIP_{name.removeprefix('global.').replace('-', '_').upper()}"] = value.strip("'\"")
    found |= {name: value for name, value in os.environ.items() if name.startswith(PASSED_ON)}
    return {name: value for name, value in found.items() if value == str(CERTIFICATES) or not local_path(value)}


def local_path(value: str) -> bool:
    return value.startswith(("/", "file:"))


def chroot(root: Path, arguments: list[str], env: dict[str, str], user: str = "root", folder: str = "/") -> list[str]:
    pairs = [f"{name}={value}" for name, value in env.items()]
    enter = ["sh", "-c", 'cd "$0" && exec "$@"', folder]
    return ["chroot", f"--userspec={user}", str(root), "/usr/bin/env", "-i", *pairs, *enter, *arguments]


def isolated(root: Path, *more: str) -> list[str]:
    return ["unshare", "--mount", "--pid", "--fork", "--kill-child", f"--mount-proc={root / 'proc'}", *more]
