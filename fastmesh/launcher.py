"""The first process: small, without threads or an event loop, so that it can fork the others at any time.

It forks the supervisor, then workers whenever the supervisor asks: a replacement shares the pages of everything that
was imported here and stands within milliseconds. It alone hears signals, for a Ctrl-C goes to every process of the
terminal and service managers signal whole groups. Whatever way it ends, the kernel ends its children with it.
"""

from __future__ import annotations

import gc
import os
import resource
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable

from fastmesh import wire
from fastmesh._core import process

ENDING = (signal.SIGTERM, signal.SIGINT)
FORWARDED = (*ENDING, signal.SIGHUP, signal.SIGUSR1)
_HANDLED = (*FORWARDED, signal.SIGCHLD)

Main = Callable[[socket.socket], int]
"""What a child runs: its end of a channel in, its exit code out."""


def launch(supervisor_main: Main, worker_main: Main) -> int:
    """Run the mesh until its supervisor ends; the exit code of this program. Call it before any thread was started."""
    _raise_descriptor_limit()
    _set_name("fastmesh")
    gc.collect()
    process.release_memory()
    gc.freeze()  # objects from before the forks stay out of collections, which would copy their pages
    return _Launcher(worker_main).run(supervisor_main)


def _raise_descriptor_limit() -> None:
    """The soft limit is for programs that use select(); a proxy needs all that it may have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _set_name(name: str) -> None:
    """What ps and top show; at most 15 bytes."""
    with open("/proc/self/comm", "w") as file:
        file.write(name)


class _Launcher:
    def __init__(self, worker_main: Main) -> None:
        self._worker_main = worker_main
        self._channel, self._supervisor_channel = wire.pair()
        self._wakeup, self._wakeup_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._supervisor_pid = 0
        self._supervisor_exit_code: int | None = None
        self._supervisor_reads = True
        self._workers: dict[int, int] = {}  # pid: slot
        self._unsent: list[wire.AnyMessage] = []
        self._ending = False

    def run(self, supervisor_main: Main) -> int:
        signal.set_wakeup_fd(self._wakeup_write, warn_on_full_buffer=False)
        for number in _HANDLED:
            signal.signal(number, _note)
        self._supervisor_pid = self._fork(supervisor_main, self._supervisor_channel, "fastmesh-super")
        self._supervisor_channel.close()
        poller = select.poll()
        poller.register(self._wakeup, select.POLLIN)
        poller.register(self._channel, select.POLLIN)
        while self._supervisor_exit_code is None:
            for fd, _ in poller.poll(100 if self._unsent else None):
                if fd == self._wakeup:
                    self._take_signals()
                elif not self._take_messages():
                    poller.unregister(self._channel)
            self._send_unsent()
        return self._finish(self._supervisor_exit_code)

    def _finish(self, supervisor_exit_code: int) -> int:
        """The supervisor has ended: so does everything else."""
        for pid in self._workers:
            os.kill(pid, signal.SIGKILL)
        for pid in self._workers:
            os.waitpid(pid, 0)
        if supervisor_exit_code >= 0:
            return supervisor_exit_code
        if self._ending:
            return 128 - supervisor_exit_code
        name = signal.Signals(-supervisor_exit_code).name
        print(f"fastmesh: the supervisor was killed by {name}; all workers were stopped", file=sys.stderr)
        return 1

    def _take_signals(self) -> None:
        try:
            numbers = os.read(self._wakeup, 4096)
        except BlockingIOError:
            return
        for number in numbers:
            if number in FORWARDED:
                self._forward(number)
        self._reap()

    def _forward(self, number: int) -> None:
        if number in ENDING:
            if self._ending:  # the second time: at once
                for pid in (*self._workers, self._supervisor_pid):
                    os.kill(pid, signal.SIGKILL)
                return
            self._ending = True
        self._tell(wire.Signalled(number))

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            exit_code = os.waitstatus_to_exitcode(status)
            if pid == self._supervisor_pid:
                self._supervisor_exit_code = exit_code
            elif pid in self._workers:  # as the first process of a container we inherit strangers too
                self._tell(wire.Exited(self._workers.pop(pid), pid, exit_code))

    def _take_messages(self) -> bool:
        """False when the supervisor's end was closed; its exit status follows."""
        try:
            while True:
                message, fds = wire.receive(self._channel)
                if isinstance(message, wire.Fork):
                    self._fork_worker(message.slot, fds[0])
                elif isinstance(message, wire.Kill) and message.pid in self._workers:
                    os.kill(message.pid, message.signal)
        except BlockingIOError:
            return True
        except EOFError:
            self._supervisor_reads = False
            return False

    def _fork_worker(self, slot: int, fd: int) -> None:
        with socket.socket(fileno=fd) as channel:
            try:
                pid = self._fork(self._worker_main, channel, f"fastmesh-{slot}")
            except OSError as error:
                self._tell(wire.Forked(slot, 0, str(error)))
                return
        self._workers[pid] = slot
        self._tell(wire.Forked(slot, pid))

    def _tell(self, message: wire.AnyMessage) -> None:
        self._unsent.append(message)
        self._send_unsent()

    def _send_unsent(self) -> None:
        while self._unsent and self._supervisor_reads:
            try:
                wire.send(self._channel, wire.pack(self._unsent[0]))
            except BlockingIOError:
                return
            except OSError:
                self._supervisor_reads = False
            self._unsent.pop(0)

    def _fork(self, main: Main, channel: socket.socket, name: str) -> int:
        launcher_pid = os.getpid()
        sys.stdout.flush()
        sys.stderr.flush()
        # A signal between the fork and `_leave_launcher` would be written to the launcher's own pipe.
        signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED)
        try:
            pid = os.fork()
            if pid == 0:
                self._child(main, channel, name, launcher_pid)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED)
        return pid

    def _child(self, main: Main, channel: socket.socket, name: str, launcher_pid: int) -> None:
        """Never returns: the stack above belongs to the launcher."""
        exit_code = 1
        try:
            process.die_with_parent(signal.SIGKILL)
            if os.getppid() == launcher_pid:
                self._leave_launcher(name)
                exit_code = main(channel)
        except SystemExit as end:
            exit_code = end.code if isinstance(end.code, int) else 1
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(exit_code)

    def _leave_launcher(self, name: str) -> None:
        signal.set_wakeup_fd(-1)
        for number in FORWARDED:
            signal.signal(number, signal.SIG_IGN)  # only the launcher hears these
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED)
        os.close(self._wakeup)
        os.close(self._wakeup_write)
        self._channel.close()
        _set_name(name)


def _note(number: int, frame: object) -> None:
    """The number is on the wakeup pipe already."""
