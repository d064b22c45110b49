"""Run the steps of a Dockerfile, then its image beside the services of compose.yaml, without a container engine.

python -m tests.packaging.docker_check docker/Dockerfile       (root, debootstrap, util-linux)

Each stage is a root folder: a Debian 12 with Python, made by debootstrap once, stands in for python:3.11-slim-bookworm.
The image runs as process 1 of its own process and network namespaces, as it would in a container.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from tests.packaging.clean_root import PATH, Failed, base_root, chroot, isolated, say
from tests.packaging.dockerfile import DockerfileError, command
from tests.packaging.dockerfile_steps import Build

LOOPBACK_UP = (
    "import fcntl,os,socket,struct,sys;"
    "fcntl.ioctl(socket.socket(), 0x8914, struct.pack('16sH14x', b'lo', 1));"
    "os.execvp(sys.argv[1], sys.argv[1:])"
)
HEALTHY_WITHIN_S = 30.0
STOPPED_WITHIN_S = 20.0


class Container:
    """The built image as process 1 of namespaces of its own."""

    def __init__(self, build: Build) -> None:
        self.build = build
        self.stage = build.stages[-1]
        self.root = build.root
        arguments = self.words("ENTRYPOINT") + self.words("CMD")
        loopback = [sys.executable, "-c", LOOPBACK_UP]
        self.outer = subprocess.Popen([*isolated(self.root, "--net"), *loopback, *self.as_user(arguments)])
        self.pid = self.first_child()

    def words(self, word: str) -> list[str]:
        step = self.stage.last(word)
        return command(step) if step else []

    def as_user(self, arguments: list[str]) -> list[str]:
        return chroot(self.root, arguments, self.build.env, self.build.user, self.build.folder)

    def first_child(self) -> int:
        children = Path(f"/proc/{self.outer.pid}/task/{self.outer.pid}/children")
        deadline = time.monotonic() + 5
        while not (found := children.read_text().split()):
            if time.monotonic() > deadline:
                raise Failed("the image's process did not start")
            time.sleep(0.01)
        return int(found[0])

    def beside(self, arguments: list[str]) -> list[str]:
        return ["nsenter", f"--target={self.pid}", "--net", "--pid", "--mount", "--", *arguments]

    def healthy(self) -> bool:
        check = self.beside(self.as_user(self.words("HEALTHCHECK")))
        return subprocess.run(check, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0

    def fetch(self, url: str) -> str:
        code = f"import urllib.request as u; print(u.urlopen({url!r}, timeout=5).read().decode())"
        return subprocess.run(
            self.beside(self.as_user(["python3", "-c", code])), capture_output=True, text=True, check=True
        ).stdout

    def stop(self) -> int:
        os.kill(self.pid, signal.SIGTERM)
        return self.outer.wait(STOPPED_WITHIN_S)


@contextmanager
def running(build: Build) -> Iterator[Container]:
    container = Container(build)
    try:
        yield container
    finally:
        if container.outer.poll() is None:
            container.outer.kill()
            container.outer.wait()


def mount(volumes: list[str], folder: Path, root: Path) -> None:
    """The volumes of compose.yaml, as copies."""
    for volume in volumes:
        source, place = volume.split(":")[:2]
        origin, target = folder / source, root / place.lstrip("/")
        if origin.is_dir():
            shutil.copytree(origin, target, dirs_exist_ok=True)
        else:
            shutil.copy(origin, target)


def wait_healthy(container: Container) -> None:
    deadline = time.monotonic() + HEALTHY_WITHIN_S
    while not container.healthy():
        if container.outer.poll() is not None:
            raise Failed(f"the image ended with status {container.outer.returncode}")
        if time.monotonic() > deadline:
            raise Failed(f"the health check does not pass within {HEALTHY_WITHIN_S:.0f} s")
        time.sleep(0.2)
    say("the health check passes")


def check_image(build: Build) -> None:
    if build.user in ("root", "0"):
        raise Failed("the image runs as root")
    if shutil.which("gcc", path=str(build.root / "usr/bin")):
        raise Failed("the image has a compiler")
    inside = sum(file.lstat().st_size for file in (build.root / "opt").rglob("*"))
    say(f"the image runs as {build.user}, without a compiler; fastmesh and what it needs take {inside >> 20} MiB")


def check_running(build: Build, compose: Path) -> None:
    services = yaml.safe_load(compose.read_text("utf-8"))["services"]
    mesh = services.pop("mesh")
    mount(mesh["volumes"], compose.parent, build.root)
    names = " ".join(services)
    (build.root / "etc/hosts").write_text(f"127.0.0.1 localhost {names}\n")
    beside = base_root("bookworm")
    with running(build) as container:
        for service in services.values():
            mount(service["volumes"], compose.parent, beside)
            # They end with the namespace's process 1.
            subprocess.Popen(container.beside(chroot(beside, service["command"], {"PATH": PATH}, "nobody")))
        wait_healthy(container)
        for path, name in (("/", "hello"), ("/static/a.css", "assets")):
            if f'"service": "{name}"' not in (answer := container.fetch(f"http://127.0.0.1:8080{path}")):
                raise Failed(f"{path} is not answered by {name}: {answer}")
            say(f"{path} is answered by {name}")
        if status := container.stop():
            raise Failed(f"SIGTERM: the image ended with status {status}, not 0")
        say("SIGTERM: the image ended with status 0")


def main() -> int:
    missing = [name for name in ("debootstrap", "unshare", "nsenter", "chroot") if not shutil.which(name)]
    if os.geteuid() != 0 or missing:
        print(f"docker-check: needs root{''.join(f', {name}' for name in missing)}", file=sys.stderr)
        return 1
    dockerfile = Path(sys.argv[1])
    try:
        build = Build(dockerfile)
        build.run()
        check_image(build)
        check_running(build, dockerfile.with_name("compose.yaml"))
    except (DockerfileError, Failed) as error:
        print(f"docker-check: {error}", file=sys.stderr)
        return 1
    say("done")
    return 0


if __name__ == "__main__":
    sys.exit(main())
