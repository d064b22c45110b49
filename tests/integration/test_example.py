"""`make run`: the mesh of config/ starts, and what it says to try works word for word."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mesh import ROOT, TIMEOUT_S, free_port

PORT = re.compile(r"\b(?:8080|8081|8443|9900|900[1-4])\b")
STARTED = "Ctrl-C stops everything."


class Example:
    """A copy of config/ whose ports are free ones, run as `make run` does."""

    def __init__(self, folder: Path) -> None:
        self.ports: dict[str, str] = {}
        self.config = folder / "config"
        shutil.copytree(ROOT / "config", self.config, ignore=shutil.ignore_patterns("certs", "__pycache__"))
        for file in (*self.config.glob("*.yaml"), *self.config.glob("example/*.py")):
            file.write_text(PORT.sub(self.port, file.read_text()))
        self.output = folder / "output"
        with open(self.output, "wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "config/example/run.py"],
                cwd=folder,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def port(self, written: re.Match[str]) -> str:
        return self.ports.setdefault(written[0], str(free_port()))

    def wait(self) -> None:
        deadline = time.monotonic() + 2 * TIMEOUT_S
        while STARTED not in self.output.read_text():
            assert self.process.poll() is None, self.output.read_text()
            assert time.monotonic() < deadline, self.output.read_text()
            time.sleep(0.05)

    def commands(self) -> list[str]:
        """What is to be tried: the lines between its heading and the end, indented by two."""
        text = self.output.read_text().split("Things to try", 1)[1].split(STARTED)[0]
        return re.findall(r"^  (\S(?:.*\\\n)?.*)$", text, re.MULTILINE)

    def sh(self, command: str) -> str:
        done = subprocess.run(
            ["bash", "-c", f"set -o pipefail; {command}"],
            cwd=self.config.parent,
            capture_output=True,
            timeout=TIMEOUT_S,
        )
        assert done.returncode == 0, (command, done.stderr.decode())
        return done.stdout.decode() + done.stderr.decode()

    def stop(self) -> int:
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(2 * TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Example]:
    if shutil.which("curl") is None:
        pytest.skip("the commands use curl")
    running = Example(tmp_path_factory.mktemp("example"))
    try:
        running.wait()
        yield running
    finally:
        status = running.stop()
    assert status == 0


def tried(example: Example, word: str) -> str:
    """The output of the one command that has this word in it."""
    (command,) = [command for command in example.commands() if word in command]
    return example.sh(command)


def test_every_command_is_a_command(example: Example) -> None:
    assert len(example.commands()) == 7
    for command in example.commands():
        assert example.sh(command)


def test_routes_by_header_and_by_path(example: Example) -> None:
    assert '"version": "v2"' in tried(example, "X-User-Group")
    assert '"service": "assets"' in tried(example, "/static/")


def test_tcp(example: Example) -> None:
    assert '"service": "assets"' in tried(example, example.ports["8081"])


def test_tls_and_http2(example: Example) -> None:
    said = tried(example, "curl -v")
    assert "SSL connection using TLSv1.3" in said
    assert "< HTTP/2 200" in said


def test_the_identity_of_the_client_routes_and_is_told(example: Example) -> None:
    said = tried(example, "ada.crt")
    assert '"version": "v2"' in said
    assert "URI=spiffe://example.org/people/ada" in said


def test_grpc_over_mutual_tls(example: Example) -> None:
    assert tried(example, "greet.Greeter") == "Hello, world! spiffe://example.org/mesh called me.\n"


def test_the_grpc_service_takes_nobody_without_a_certificate(example: Example) -> None:
    curl = f"curl -sS --cacert config/certs/ca.crt https://127.0.0.1:{example.ports['9004']}/"
    assert example.sh(f"{curl} --cert config/certs/ada.crt --key config/certs/ada.key -o /dev/null -w '%{{http_code}}'")
    with pytest.raises(AssertionError, match="curl: "):  # an alert, or a reset that overtakes it
        example.sh(curl)


def test_only_the_owner_reads_the_keys_and_the_authority_has_none(example: Example) -> None:
    keys = {file.name: file.stat().st_mode & 0o777 for file in (example.config / "certs").glob("*.key")}
    assert keys == {"ada.key": 0o600, "greeter.key": 0o600, "mesh.key": 0o600}


def test_git_never_sees_the_keys() -> None:
    asked = subprocess.run(["git", "check-ignore", "config/certs/mesh.key"], cwd=ROOT, capture_output=True)
    if asked.returncode == 128:
        pytest.skip("not a git repository")
    assert asked.returncode == 0
