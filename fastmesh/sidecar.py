"""`fastmesh sidecar`: an application with its proxy and its lease, from their start to their end.

One process without threads or an event loop. All signals are blocked and taken one by one between two steps, so that
none can come in the midst of one: what is below reads from top to bottom, as things happen.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fastmesh._core.process import die_with_parent
from fastmesh.lease import HeldLease, Lease

ENDING = (signal.SIGTERM, signal.SIGINT)
PASSED_ON = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
OF_PROXY = (signal.SIGHUP, signal.SIGUSR1)  # read the configuration, open the log file again
_TAKEN = (*ENDING, *PASSED_ON, signal.SIGCHLD)

STEP_S = 0.02
DRAIN_STEP_S = 0.25
DRAIN_MIN_S = 5.0
"""A mesh that hears of no events looks at its registry every 3 s: until then it may still send requests."""

RESTART_MIN_S, RESTART_MAX_S = 1.0, 30.0
PROBE_TIMEOUT_S = 0.5


@dataclass(frozen=True)
class Plan:
    """What is to be run, and how."""

    lease: Lease
    registry: Path
    command: Sequence[str]
    config: Path | None = None  # of the proxy; None: there is none
    workers: int = 1
    drain_s: float = 30.0
    start_timeout_s: float = 60.0
    kill_after_s: float = 10.0


class Ended(Exception):
    """It is over before the application was registered; the exit code."""

    def __init__(self, exit_code: int, why: str = "") -> None:
        super().__init__(why)
        self.exit_code = exit_code


class Sidecar:
    """Runs a plan once."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._lease = HeldLease(plan.registry, plan.lease)
        self._stops: list[signal.Signals] = []  # ending signals that came, in order
        self._application: subprocess.Popen[bytes] | None = None
        self._proxy: subprocess.Popen[bytes] | None = None
        self._proxy_restart_s = 0.0  # on the monotonic clock; 0: it runs, or is not wanted
        self._proxy_backoff_s = RESTART_MIN_S
        self._readiness = _readiness_socket()
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, _TAKEN)

    def run(self) -> int:
        """From the start to the end; the exit code of the application, 128+n when a signal ended it."""
        try:
            self._start_proxy()
            self._start_application()
            self._serve_until_end()
            self._drain()
            return self._end_application()
        except Ended as end:
            if str(end):
                say(str(end))
            exit_code = self._end_application()
            return exit_code if self._stops and self._application is not None else end.exit_code
        finally:
            self._deregister()
            self._end_proxy()
            self._readiness.close()
            signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)

    # The beginning.

    def _start_proxy(self) -> None:
        if self._plan.config is None:
            return
        self._spawn_proxy()
        if not self._wait_for(self._proxy_is_ready):
            raise Ended(1, f"the proxy was not ready after {self._plan.start_timeout_s:g} s")

    def _proxy_is_ready(self) -> bool:
        if self._proxy is None:
            raise Ended(1, "the proxy ended before it was ready; the application was not started")
        with contextlib.suppress(BlockingIOError):
            return b"READY=1" in self._readiness.recv(4096)
        return False

    def _spawn_proxy(self) -> None:
        arguments = [sys.executable, "-m", "fastmesh", "run", str(self._plan.config)]
        env = {**os.environ, "NOTIFY_SOCKET": "@" + self._readiness.getsockname()[1:].decode()}
        self._proxy = self._spawn([*arguments, "--workers", str(self._plan.workers)], env)

    def _start_application(self) -> None:
        address = self._plan.lease.address
        if _accepts(address):
            raise Ended(1, f"somebody answers at {address} already; the application was not started")
        command = self._plan.command
        try:
            self._application = self._spawn(command)
        except OSError as error:
            raise Ended(
                127 if isinstance(error, FileNotFoundError) else 126, f"{command[0]}: {error.strerror}"
            ) from None
        if not self._wait_for(lambda: self._application_ended() or _accepts(address)):
            raise Ended(1, f"the application did not accept at {address} within {self._plan.start_timeout_s:g} s")

    def _wait_for(self, is_so: Callable[[], bool]) -> bool:
        """Whether it came to be so in time."""
        deadline_s = time.monotonic() + self._plan.start_timeout_s
        while not is_so():
            if self._stops:
                raise Ended(128 + self._stops[0])
            if time.monotonic() > deadline_s:
                return False
            self._wait(STEP_S)
        return True

    def _spawn(self, arguments: Sequence[str], env: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
        """In a group of its own: a Ctrl-C is ours to pass on, and what it leaves behind can be ended."""
        parent_pid = os.getpid()

        def prepare() -> None:
            signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
            die_with_parent(signal.SIGTERM)
            if os.getppid() != parent_pid:
                os._exit(1)

        return subprocess.Popen(arguments, env=env, process_group=0, preexec_fn=prepare)

    # While it runs.

    def _serve_until_end(self) -> None:
        """Keep the lease until the application ends or a signal says so."""
        is_registered, said = False, ""
        while not self._stops and not self._application_ended():
            try:
                self._lease.renew()
                if not is_registered:
                    self._lease.sweep()
                    say(f"registered {self._plan.lease.file_name} in {self._plan.registry}")
                is_registered, said = True, ""
            except OSError as error:
                if said != str(error):
                    said = str(error)
                    say(f"cannot write the lease, trying again: {said}")
            renewal_s = time.monotonic() + self._lease.renewal_interval_s
            while not self._stops and not self._application_ended() and time.monotonic() < renewal_s:
                self._wait(renewal_s - time.monotonic())

    def _application_ended(self) -> bool:
        return self._application is None or self._application.returncode is not None

    def _wait(self, timeout_s: float) -> None:
        """Until a signal comes or the time is up; what a signal demands at once is done."""
        if self._proxy_restart_s:
            timeout_s = min(timeout_s, self._proxy_restart_s - time.monotonic())
        taken = signal.sigtimedwait(_TAKEN, max(timeout_s, 0.0))
        if taken is not None and taken.si_signo in ENDING:
            self._stops.append(signal.Signals(taken.si_signo))
        elif taken is not None and taken.si_signo in PASSED_ON:
            _send(self._application, taken.si_signo)
            if taken.si_signo in OF_PROXY:
                _send(self._proxy, taken.si_signo)
        self._reap()
        if self._proxy_restart_s and time.monotonic() >= self._proxy_restart_s:
            self._proxy_restart_s = 0.0
            self._spawn_proxy()

    def _reap(self) -> None:
        """Of all children: as the first process of a container we inherit strangers, too."""
        with contextlib.suppress(ChildProcessError):
            # Looked at before it is taken: until then its id, and that of its group, belong to nobody else.
            while ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                if self._application is not None and ended.si_pid == self._application.pid:
                    _kill_group(self._application)
                    self._application.poll()
                elif self._proxy is not None and ended.si_pid == self._proxy.pid:
                    self._proxy.poll()
                    self._on_proxy_end(self._proxy.returncode)
                else:
                    os.waitpid(ended.si_pid, 0)

    def _on_proxy_end(self, exit_code: int) -> None:
        """The application serves on; what it asks of others waits for a new proxy."""
        self._proxy = None
        if self._application is None or self._application_ended() or self._stops:
            return
        say(f"the proxy ended with {_exit_code(exit_code)}; it is started again in {self._proxy_backoff_s:g} s")
        self._proxy_restart_s = time.monotonic() + self._proxy_backoff_s
        self._proxy_backoff_s = min(2 * self._proxy_backoff_s, RESTART_MAX_S)

    # The end.

    def _deregister(self) -> None:
        try:
            self._lease.give_up()
        except OSError as error:
            say(f"the lease could not be removed, it will run out: {error}")

    def _drain(self) -> None:
        """Out of the registry first; then what is under way may finish. A second signal cuts it short."""
        self._deregister()
        started_s = time.monotonic()
        deadline_s, earliest_s = started_s + self._plan.drain_s, started_s + min(self._plan.drain_s, DRAIN_MIN_S)
        port = int(self._plan.lease.address.rpartition(":")[2])
        while not self._application_ended() and len(self._stops) < 2 and time.monotonic() < deadline_s:
            if time.monotonic() >= earliest_s and not has_connections(port):
                break
            self._wait(min(DRAIN_STEP_S, deadline_s - time.monotonic()))

    def _end_application(self) -> int:
        """Its exit code; 0 if it never ran."""
        if self._application is None:
            return 0
        if not self._application_ended():
            _send(self._application, self._stops[0] if self._stops else signal.SIGTERM)
            self._wait_for_end(self._application)
        return _exit_code(self._application.returncode)

    def _end_proxy(self) -> None:
        """Last: the application may ask others for something until its end."""
        self._proxy_restart_s = 0.0
        if (proxy := self._proxy) is not None:
            _send(proxy, signal.SIGTERM)
            self._wait_for_end(proxy)

    def _wait_for_end(self, process: subprocess.Popen[bytes]) -> None:
        deadline_s = time.monotonic() + self._plan.kill_after_s
        while process.returncode is None and time.monotonic() < deadline_s:
            self._wait(deadline_s - time.monotonic())
        if process.returncode is None:
            say(f"{process.args[0]!r} did not end within {self._plan.kill_after_s:g} s: killed")  # type: ignore[index]
            _kill_group(process)
            process.wait()


def say(message: str) -> None:
    """To people, on standard error: standard output is the application's."""
    print(f"fastmesh sidecar: {message}", file=sys.stderr, flush=True)


def has_connections(port: int) -> bool:
    """Whether somebody is connected to a port of this machine."""
    wanted = f":{port:04X}"
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError), open(table) as lines:
            for line in lines:
                _, local, _, state = line.split(None, 4)[:4]
                if state == "01" and local.endswith(wanted):
                    return True
    return False


def _readiness_socket() -> socket.socket:
    """Where the proxy says that it is ready; the kernel gives it a name that nobody else has."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    sock.bind("")
    return sock


def _accepts(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), PROBE_TIMEOUT_S).close()
    except OSError:
        return False
    return True


def _send(process: subprocess.Popen[bytes] | None, number: int) -> None:
    if process is not None and process.returncode is None:
        os.kill(process.pid, number)


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _exit_code(returncode: int) -> int:
    return 128 - returncode if returncode < 0 else returncode
