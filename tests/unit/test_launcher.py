"""The process that forks the others, with a supervisor and workers that do next to nothing."""

import os
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PROGRAM = """
import os, select, signal, sys, time
from fastmesh import launcher, wire

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

def next_message(channel):
    select.select([channel], [], [])
    return wire.receive(channel)[0]

def worker(channel):
    say("worker", os.getpid(), open("/proc/self/comm").read().strip())
    try:
        while True:
            message = next_message(channel)
            if isinstance(message, wire.Drain):
                return 7
    except EOFError:
        time.sleep(60)  # as a worker that hangs

def supervisor(channel):
    channels = {}
    def fork(slot):
        ours, theirs = wire.pair()
        wire.send(channel, wire.pack(wire.Fork(slot), [theirs.fileno()]))
        theirs.close()
        channels[slot] = ours
    say("supervisor", os.getpid(), open("/proc/self/comm").read().strip())
    fork(0)
    fork(1)
    while True:
        match next_message(channel):
            case wire.Forked(slot, pid):
                say("forked", slot, pid)
            case wire.Exited(slot, pid, exit_code):
                say("exited", slot, pid, exit_code)
                if exit_code == -9:
                    fork(slot)
            case wire.Signalled(number):
                say("signalled", number)
                if number == signal.SIGHUP:
                    wire.send(channels[0], wire.pack(wire.Drain(0)))
                elif number == signal.SIGUSR1:
                    raise RuntimeError("a bug")
                elif len(sys.argv) == 1:
                    return 3

sys.exit(launcher.launch(supervisor, worker))
"""


class Family:
    """A launcher and what it said."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            cwd=Path(__file__).parents[2],
        )
        self.said = ""
        self.supervisor = int(self.expect(r"supervisor (\d+) fastmesh-super").group(1))
        self.workers = [int(self.expect(rf"forked {slot} (\d+)").group(1)) for slot in (0, 1)]
        for slot, pid in enumerate(self.workers):
            self.expect(rf"worker {pid} fastmesh-{slot}")

    def expect(self, pattern: str) -> re.Match[str]:
        deadline = time.monotonic() + 10
        while (match := re.search(f"^{pattern}$", self.said, re.MULTILINE)) is None:
            assert self.process.stdout is not None
            ready, _, _ = select.select([self.process.stdout], [], [], deadline - time.monotonic())
            data = os.read(self.process.stdout.fileno(), 4096) if ready else b""
            assert data, f"waited for {pattern!r}, got {self.said!r} {self.errors() if not data and ready else ''}"
            self.said += data.decode()
        return match

    def end(self) -> int:
        exit_code = self.process.wait(10)
        for pid in (self.supervisor, *self.workers):
            deadline = time.monotonic() + 5
            while is_running(pid):
                assert time.monotonic() < deadline, f"process {pid} is left over"
                time.sleep(0.01)
        return exit_code

    def errors(self) -> str:
        assert self.process.stderr is not None
        return self.process.stderr.read().decode()


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.fixture
def start():
    families: list[Family] = []

    def start(*arguments: str) -> Family:
        families.append(Family(*arguments))
        return families[-1]

    yield start
    for family in families:
        family.process.kill()
        family.process.communicate()


def test_exit_code_of_the_supervisor_is_the_launchers(start):
    family = start()
    family.process.send_signal(signal.SIGTERM)
    family.expect(f"signalled {signal.SIGTERM.value}")
    assert family.end() == 3


def test_a_killed_worker_is_reported_and_can_be_replaced(start):
    family = start()
    os.kill(family.workers[1], signal.SIGKILL)
    family.expect(rf"exited 1 {family.workers[1]} -9")
    family.workers[1] = int(family.expect(rf"forked 1 (?!{family.workers[1]}$)(\d+)").group(1))
    assert is_running(family.workers[0])


def test_a_worker_that_ends_is_reported_with_its_exit_code(start):
    family = start()
    family.process.send_signal(signal.SIGHUP)
    family.expect(rf"exited 0 {family.workers[0]} 7")


def test_signals_to_the_whole_group_are_heard_once(start):
    """A Ctrl-C on the terminal: workers and supervisor go on until they are told."""
    family = start("stubborn")
    os.killpg(family.process.pid, signal.SIGINT)
    family.expect(f"signalled {signal.SIGINT.value}")
    assert family.process.poll() is None
    assert all(is_running(pid) for pid in (family.supervisor, *family.workers))


def test_the_second_request_to_end_ends_at_once(start):
    family = start("stubborn")
    family.process.send_signal(signal.SIGTERM)
    family.expect(f"signalled {signal.SIGTERM.value}")
    family.process.send_signal(signal.SIGINT)
    assert family.end() == 128 + signal.SIGKILL


def test_a_killed_launcher_leaves_nobody_behind(start):
    family = start("stubborn")
    family.process.kill()
    assert family.end() == -signal.SIGKILL


def test_a_killed_supervisor_ends_everything_with_one_clear_line(start):
    family = start()
    os.kill(family.supervisor, signal.SIGKILL)
    assert family.end() == 1
    assert family.errors() == "fastmesh: the supervisor was killed by SIGKILL; all workers were stopped\n"


def test_a_crash_of_the_supervisor_ends_everything(start):
    family = start()
    family.process.send_signal(signal.SIGUSR1)
    assert family.end() == 1
    assert "RuntimeError: a bug" in family.errors()
