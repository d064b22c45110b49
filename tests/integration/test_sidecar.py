"""`fastmesh sidecar`: real applications, registered for as long as they live, in a real mesh."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.mesh import ROOT, TIMEOUT_S, Load, Mesh, children, fetch, free_port, is_running, wait_until


class Sidecar:
    """One that runs: `fastmesh sidecar` with tests.instance as its application."""

    def __init__(self, directory: Path, name: str, *options: str, exit_code: str = "0") -> None:
        self.port = free_port()
        self.notes = directory / f"{name}.notes"
        self._log = directory / f"{name}.log"
        application = [sys.executable, "-m", "tests.instance", str(self.port), name, str(self.notes), exit_code]
        arguments = [sys.executable, "-m", "fastmesh", "sidecar", "--service", "hello", "--port", str(self.port)]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [*arguments, *options, "--", *application], stderr=log, cwd=ROOT, start_new_session=True
            )

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def file_name(self) -> str:
        return f"hello@127.0.0.1-{self.port}.json"

    @property
    def log(self) -> str:
        return self._log.read_text()

    def signals(self) -> list[str]:
        """What the application got."""
        return [line.split()[0] for line in self.notes.read_text().splitlines()] if self.notes.exists() else []

    def registered(self) -> Sidecar:
        """Wait until it is."""
        wait_until(lambda: "registered" in self.log or self.process.poll() is not None, "the registration")
        assert self.process.poll() is None, self.log
        return self

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(TIMEOUT_S)

    def close(self) -> None:
        family = [self.process.pid, *children(self.process.pid)]
        family += [grandchild for child in family[1:] for grandchild in children(child)]
        self.process.kill()
        self.process.wait(TIMEOUT_S)
        for pid in family:
            wait_until(lambda pid=pid: not is_running(pid), f"process {pid} to end with the sidecar")


Start = Callable[..., Sidecar]


@pytest.fixture
def registry(tmp_path: Path) -> Path:
    return tmp_path / "registry"


@pytest.fixture
def start(tmp_path: Path, registry: Path) -> Iterator[Start]:
    """Starts sidecars by name; they end with the test."""
    started: list[Sidecar] = []

    def start(name: str, *options: str, exit_code: str = "0") -> Sidecar:
        if "--registry" not in options and "--config" not in options:
            options = ("--registry", str(registry), *options)
        started.append(Sidecar(tmp_path, name, *options, exit_code=exit_code))
        return started[-1]

    yield start
    for sidecar in started:
        sidecar.close()


def serve(mesh: Mesh, discover: str, more: str = "") -> None:
    mesh.write(
        "admin: {address: 127.0.0.1:{admin_port}}\n"
        "listeners: {web: 127.0.0.1:{port}}\n"
        f"services: {{hello: {{discover: {discover}, {more} }}}}\n"
        "routes: {hello: {to: hello}}\n"
    )


def answers(mesh: Mesh, requests: int = 20) -> set[str]:
    replies = [mesh.get() for _ in range(requests)]
    return {reply.text if reply.status == 200 else str(reply.status) for reply in replies}


def test_instances_come_and_go(mesh: Mesh, start: Start, registry: Path) -> None:
    serve(mesh, f"{{registry: {registry}}}")
    mesh.start()
    assert mesh.get().status == 503
    first = start("first", "--drain", "0s").registered()
    wait_until(lambda: answers(mesh) == {"first"}, "the first instance")
    second = start("second", "--drain", "0s", "--label", "version=v2", "--weight", "3").registered()
    wait_until(lambda: answers(mesh) == {"first", "second"}, "the second instance")
    (labelled,) = [e for e in mesh.admin("/services/hello").json["endpoints"] if e["address"] == second.address]
    assert (labelled["labels"], labelled["weight"]) == ({"version": "v2"}, 3)
    assert first.end() == 0
    wait_until(lambda: answers(mesh) == {"second"}, "the first instance to be left alone")
    assert [path.name for path in registry.iterdir()] == [second.file_name]


def test_the_lease(start: Start, registry: Path) -> None:
    sidecar = start("only", "--ttl", "3s", "--drain", "0s").registered()
    path = registry / sidecar.file_name
    written = json.loads(path.read_text())
    assert (written["service"], written["address"], written["ttl_s"]) == ("hello", sidecar.address, 3.0)
    wait_until(lambda: json.loads(path.read_text())["expires_at"] > written["expires_at"], "the renewal")
    path.unlink()
    wait_until(path.exists, "the lease to be written again")
    sidecar.end()
    assert list(registry.iterdir()) == []


def test_the_lease_of_a_dead_node_runs_out(mesh: Mesh, start: Start, registry: Path) -> None:
    serve(mesh, f"{{registry: {registry}}}")
    mesh.start()
    start("alive", "--drain", "0s").registered()
    dead = start("dead", "--ttl", "2s", "--drain", "0s").registered()
    wait_until(lambda: answers(mesh) == {"alive", "dead"}, "both instances")
    dead.close()
    assert (registry / dead.file_name).exists()
    wait_until(lambda: answers(mesh) == {"alive"}, "the lease to run out")
    wait_until(lambda: mesh.admin("/services/hello").json["endpoints_total"] == 1, "the endpoint to go")


def test_the_last_instance_stays_known_unless_none_is_allowed(mesh: Mesh, start: Start, registry: Path) -> None:
    serve(mesh, f"{{registry: {registry}}}")
    mesh.start()
    only = start("only", "--drain", "0s").registered()
    wait_until(lambda: answers(mesh) == {"only"}, "the instance")
    only.end()
    wait_until(lambda: mesh.admin("/sources").json[0]["errors"], "the registry to be found empty")
    (source,) = mesh.admin("/sources").json
    assert (source["service"], source["kind"], source["endpoints"]) == ("hello", "registry", 1)
    assert mesh.get().headers["x-fastmesh-reason"] == "connect_failed"
    serve(mesh, f"{{registry: {registry}, allow_empty: true}}")
    wait_until(lambda: mesh.get().headers["x-fastmesh-reason"] == "no_endpoint", "the registry to be believed")
    assert mesh.admin("/sources").json[0]["errors"] == []


def test_no_request_is_lost_when_an_instance_ends(mesh: Mesh, start: Start, registry: Path) -> None:
    serve(mesh, f"{{registry: {registry}}}", "pool: {idle: 100ms}")
    mesh.start()
    start("stays", "--drain", "0s").registered()
    goes = start("goes", "--drain", "20s").registered()
    wait_until(lambda: answers(mesh) == {"stays", "goes"}, "both instances")
    with Load(mesh.address, path="/slow/20") as load:
        load.more(50)
        goes.process.send_signal(signal.SIGTERM)
        goes.process.wait(TIMEOUT_S)
        load.more(50)
    assert load.failures == []
    assert set(load.statuses) == {200}
    assert goes.signals() == ["SIGTERM"]
    assert goes.process.returncode == 0


def test_the_proxy_of_the_sidecar(mesh: Mesh, start: Start) -> None:
    serve(mesh, "registry")
    sidecar = start("only", "--config", str(mesh.directory), "--drain", "0s").registered()
    wait_until(lambda: answers(mesh, 1) == {"only"}, "the instance, by its own proxy")
    proxy = mesh.status()["pid"]
    assert sidecar.end() == 0
    wait_until(lambda: not is_running(proxy), "the proxy to end")
    with pytest.raises(OSError):
        mesh.get()


def test_a_proxy_that_cannot_start(mesh: Mesh, start: Start, tmp_path: Path) -> None:
    mesh.write("listeners: 7\n")
    sidecar = start("only", "--config", str(mesh.directory))
    assert sidecar.process.wait(TIMEOUT_S) == 1
    assert "the application was not started" in sidecar.log
    assert not sidecar.notes.exists()


def test_a_proxy_that_dies_is_started_again(mesh: Mesh, start: Start) -> None:
    serve(mesh, "registry")
    sidecar = start("only", "--config", str(mesh.directory), "--drain", "0s").registered()
    wait_until(lambda: answers(mesh, 1) == {"only"}, "the instance")
    before = mesh.status()["pid"]
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: mesh.is_ready() and mesh.status()["pid"] != before, "another proxy")
    assert fetch(sidecar.address).text == "only"
    wait_until(lambda: answers(mesh, 1) == {"only"}, "the instance")
    assert sidecar.end() == 0


@pytest.mark.parametrize(("path", "code"), [("/exit/0", 0), ("/exit/7", 7)])
def test_an_application_that_ends_ends_everything(mesh: Mesh, start: Start, path: str, code: int) -> None:
    serve(mesh, "registry")
    sidecar = start("only", "--config", str(mesh.directory)).registered()
    proxy = mesh.status()["pid"]
    with pytest.raises((OSError, Exception)):
        fetch(sidecar.address, path)
    assert sidecar.process.wait(TIMEOUT_S) == code
    assert list((mesh.directory / "registry").iterdir()) == []
    assert not is_running(proxy)


def test_a_killed_application_deregisters_at_once(start: Start, registry: Path) -> None:
    sidecar = start("only").registered()
    (application,) = children(sidecar.process.pid)
    os.kill(application, signal.SIGKILL)
    assert sidecar.process.wait(TIMEOUT_S) == 128 + signal.SIGKILL
    assert list(registry.iterdir()) == []


def test_signals_are_passed_on(start: Start) -> None:
    sidecar = start("only", "--drain", "0s", exit_code="3").registered()
    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        sidecar.process.send_signal(number)
        wait_until(lambda number=number: number.name in sidecar.signals(), f"{number.name} to arrive")
    assert sidecar.end(signal.SIGINT) == 3
    assert sidecar.signals() == ["SIGHUP", "SIGUSR1", "SIGUSR2", "SIGINT"]


def test_the_order_of_the_end(start: Start, registry: Path) -> None:
    """Deregistered, then drained, and only then told to end; a second signal cuts the drain short."""
    sidecar = start("only", "--drain", "60s", "--kill-after", "1s", exit_code="never").registered()
    sidecar.process.send_signal(signal.SIGTERM)
    wait_until(lambda: list(registry.iterdir()) == [], "the lease to go")
    assert sidecar.signals() == []
    assert fetch(sidecar.address).text == "only"
    sidecar.process.send_signal(signal.SIGTERM)
    wait_until(sidecar.signals, "the signal to be passed on")
    assert sidecar.process.wait(TIMEOUT_S) == 128 + signal.SIGKILL  # it never ends by itself
    assert sidecar.signals() == ["SIGTERM"]


def test_the_application_does_not_outlive_a_killed_sidecar(start: Start) -> None:
    sidecar = start("only").registered()
    (application,) = children(sidecar.process.pid)
    sidecar.process.kill()
    wait_until(lambda: not is_running(application), "the application to end")


def test_a_port_that_is_taken(start: Start, tmp_path: Path) -> None:
    first = start("first").registered()
    arguments = [sys.executable, "-m", "fastmesh", "sidecar", "--service", "hello", "--port", str(first.port)]
    second = subprocess.run(
        [*arguments, "--registry", str(tmp_path / "r"), "--", "true"], capture_output=True, text=True, cwd=ROOT
    )
    assert second.returncode == 1
    assert f"somebody answers at {first.address} already" in second.stderr


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fastmesh", "sidecar", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=TIMEOUT_S)


def test_a_command_that_does_not_accept(tmp_path: Path) -> None:
    started = time.monotonic()
    options = ["--service", "a", "--port", str(free_port()), "--registry", str(tmp_path), "--start-timeout", "500ms"]
    ended = run(*options, "--", "sleep", "60")
    assert ended.returncode == 1
    assert "did not accept at" in ended.stderr
    assert time.monotonic() - started < TIMEOUT_S / 2


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--", "no-such-program"], 127, "no-such-program: No such file"),
        (["--", "/etc"], 126, "/etc: "),
        (["--", "sh", "-c", "exit 9"], 9, ""),
        (["--ttl", "1", "--", "true"], 2, "--ttl: bad value '1'"),
        (["--ttl", "2h", "--", "true"], 2, "--ttl: from 1s to 1h"),
        (["--label", "x", "--", "true"], 2, "--label: bad value"),
        (["--address", "a b", "--", "true"], 2, "--address: bad value"),
        ([], 2, "COMMAND"),
    ],
)
def test_what_is_given(tmp_path: Path, arguments: list[str], code: int, words: str) -> None:
    ended = run("--service", "a", "--port", str(free_port()), "--registry", str(tmp_path), *arguments)
    assert (ended.returncode, words in ended.stderr) == (code, True), ended.stderr
    assert len(ended.stderr.splitlines()) <= 1


def test_a_registry_is_needed() -> None:
    ended = run("--service", "a", "--port", "1", "--", "true")
    assert ended.returncode == 2
    assert "give --registry, or --config" in ended.stderr


def test_what_an_application_leaves_behind_is_ended(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    options = ["--service", "a", "--port", str(free_port()), "--registry", str(tmp_path / "registry")]
    ended = run(*options, "--", "sh", "-c", f"sleep 1000 & echo $! > {note}; exit 4")
    assert ended.returncode == 4
    left = int(note.read_text())
    wait_until(lambda: not is_running(left), "what was left behind to end")
