"""Processes that the suite starts: pinned to a CPU, measured with all their children, ended by id."""

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Self

STOP_TIMEOUT_S = 8.0


class ProcessError(Exception):
    """A process did not start, ended early, or changed its children while it was measured."""


def _children(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [int(child) for child in task.read_text().split()]
        except OSError:
            continue
    return found


def _start_ticks(pid: int) -> int | None:
    """When a process began, to tell it from a later one with the same id; None when it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else int(fields[19])


def _end(pid: int, began: int | None) -> None:
    """End a process that is not our child, unless it has ended, and wait until it has."""
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while began is not None and _start_ticks(pid) == began and time.monotonic() < deadline:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.005)


class Process:
    """A command and everything that it starts. Use as a context: the end of the context ends them all."""

    def __init__(self, name: str, command: list[str], cpus: set[int], log: Path) -> None:
        self.name = name
        self.log = log
        self._output: IO[bytes] = log.open("wb")
        pinned = ["taskset", "-c", ",".join(map(str, sorted(cpus))), *command]
        self._popen = subprocess.Popen(
            pinned, stdin=subprocess.DEVNULL, stdout=self._output, stderr=self._output, start_new_session=True
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def pids(self) -> list[int]:
        """The process and its descendants."""
        if self._popen.poll() is not None:
            raise ProcessError(f"{self.name} ended with status {self._popen.returncode}: {self.last_line()}")
        found = [self._popen.pid]
        for pid in found:
            found += _children(pid)
        return found

    def cpu_ns(self) -> dict[int, int]:
        """User and system time of each process, summed over its threads."""
        return {pid: self._process_cpu_ns(pid) for pid in self.pids()}

    @staticmethod
    def _process_cpu_ns(pid: int) -> int:
        total = 0
        for path in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            try:
                total += int(path.read_text().split()[0])
            except (OSError, IndexError):
                continue
        return total

    def pss_bytes(self) -> int:
        """Proportional set size of all processes: shared pages count by share."""
        total = 0
        for pid in self.pids():
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
        return total

    def last_line(self) -> str:
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return lines[-1].strip() if lines else "it said nothing"

    def stop(self) -> None:
        """Ask, wait, then insist; descendants that outlive their parent are ended by id."""
        known = {}
        if self._popen.poll() is None:
            known = {pid: _start_ticks(pid) for pid in self.pids()}
            self._popen.terminate()
            try:
                self._popen.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._popen.kill()
                self._popen.wait()
        for pid, began in known.items():
            _end(pid, began)
        self._output.close()


def spent_ns(before: dict[int, int], after: dict[int, int], name: str) -> int:
    """CPU time between two readings; a process that came or went would make them incomparable."""
    if before.keys() != after.keys():
        raise ProcessError(f"the processes of {name} changed during the measurement")
    return sum(after.values()) - sum(before.values())


def settle(process: Process, seconds: float) -> None:
    """Wait, and notice an early end."""
    time.sleep(seconds)
    process.pids()
