"""The supervisor's side of the access log: one thread copies whole lines from the workers' pipes to a file.

A pipe is where a worker's batches wait. When the file is slow the pipe fills, and then the worker drops lines and
counts them; nothing here ever makes a worker wait. When the file takes nothing more (a full disk), lines are dropped
here.
"""

import logging
import os
import select
import stat
import sys
import threading
from contextlib import suppress
from fcntl import F_SETPIPE_SZ, fcntl

log = logging.getLogger(__name__)

READ_BYTES = 256 * 1024
PIPE_BYTES = 1024 * 1024
LINE_MAX_BYTES = 64 * 1024  # without a line end: it cannot be a line


class LogSink:
    """One thread that copies whole lines from the workers' pipes to a file or to standard output."""

    def __init__(self, path: str | None) -> None:
        """`path`: a file to append to, made if need be; None: standard output. Raises OSError."""
        self._file = _File(path)
        self._tails: dict[int, bytes] = {}  # by a pipe's read end: a line that is not whole yet
        self._epoll = select.epoll()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self._wake, select.EPOLLIN)
        self._lock = threading.Lock()  # of `_next_file`; never held while anything is written
        self._next_file: _File | None = None
        self._reopening = False
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="access-log", daemon=True)
        self._lines_written = 0
        self._lines_dropped = 0

    def start(self) -> None:
        """Start the thread (after the workers were forked, if they are forked)."""
        self._thread.start()

    def open_pipe(self) -> int:
        """A new pipe: its write end, non-blocking, for a worker.

        The caller closes its own copy; the pipe goes when every copy is closed. Raises OSError.
        """
        reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        with suppress(OSError):  # beyond the user's share of pipe memory: a smaller pipe does
            fcntl(writing, F_SETPIPE_SZ, PIPE_BYTES)
        self._tails[reading] = b""
        self._epoll.register(reading, select.EPOLLIN)
        return writing

    def set_path(self, path: str | None) -> None:
        """Write to another file from the next batch on. Raises OSError, and the old one stays."""
        with self._lock:
            if path == (self._next_file or self._file).path:
                return
            superseded, self._next_file = self._next_file, _File(path)
        if superseded is not None:
            superseded.close()
        os.eventfd_write(self._wake, 1)

    def reopen(self) -> None:
        """Open the file anew (SIGUSR1, after it was renamed). Returns at once; an error is on the log."""
        self._reopening = True
        os.eventfd_write(self._wake, 1)

    def close(self, timeout_s: float = 2.0) -> None:
        """Write what is in the pipes, then end the thread. Lines that a blocked file does not take in time are lost."""
        self._closing = True
        if self._thread.ident is None:
            self._run()
        else:
            os.eventfd_write(self._wake, 1)
            self._thread.join(timeout_s)
        if not self._thread.is_alive():
            self._epoll.close()
            os.close(self._wake)

    @property
    def lines_written(self) -> int:
        """Lines that the file took."""
        return self._lines_written

    @property
    def lines_dropped(self) -> int:
        """Lines that it did not take, and lines that a worker never finished."""
        return self._lines_dropped

    def _run(self) -> None:
        while not self._closing:
            for fd, _ in self._epoll.poll():
                if fd == self._wake:
                    os.eventfd_read(fd)
                    self._change_file()
                else:
                    self._copy(fd)
        self._change_file()
        for fd in list(self._tails):
            # A worker that still writes does not hold this up: no more than a pipe can hold.
            for _ in range(PIPE_BYTES // READ_BYTES + 1):
                if not self._copy(fd):
                    break
            if fd in self._tails:
                self._forget(fd)
        self._file.close()

    def _change_file(self) -> None:
        with self._lock:
            changed, self._next_file = self._next_file, None
            if changed is not None:
                changed, self._file = self._file, changed
        if changed is not None:
            changed.close()
        if self._reopening:
            self._reopening = False
            try:
                self._file.reopen()
            except OSError as error:
                log.error(
                    "access log: %s cannot be reopened: %s; the old file is kept", self._file.path, error.strerror
                )

    def _copy(self, fd: int) -> bool:
        """Read a pipe once and write its whole lines; whether there may be more."""
        try:
            data = os.read(fd, READ_BYTES)
        except BlockingIOError:
            return False
        if not data:
            self._forget(fd)
            return False
        data = self._tails[fd] + data
        end = data.rfind(b"\n") + 1
        self._tails[fd] = data[end:]
        if len(self._tails[fd]) > LINE_MAX_BYTES:
            self._tails[fd] = b""
            self._lines_dropped += 1
        lines = memoryview(data)[:end]
        written = self._file.write(lines)
        self._lines_written += data.count(b"\n", 0, written)
        self._lines_dropped += data.count(b"\n", written, end)
        return True

    def _forget(self, fd: int) -> None:
        self._epoll.unregister(fd)
        os.close(fd)
        self._lines_dropped += bool(self._tails.pop(fd))


class _File:
    """Where the lines go."""

    def __init__(self, path: str | None) -> None:
        self.path = path
        self._fd = sys.__stdout__.fileno() if path is None and sys.__stdout__ else _open(path or os.devnull)
        self._torn = False  # the last line that went out is not whole
        self._failing = False

    def reopen(self) -> None:
        if self.path is not None:
            fresh = _open(self.path)
            self.close()
            self._fd = fresh
            self._torn = False

    def close(self) -> None:
        if self.path is not None:
            os.close(self._fd)

    def write(self, lines: memoryview) -> int:
        """How many bytes were taken: whole lines."""
        written = 0
        try:
            if self._torn and lines:
                self._write(memoryview(b"\n"))
                self._torn = False
            while written < len(lines):
                written += self._write(lines[written:])
        except OSError as error:
            if not self._failing:
                self._failing = True
                name = self.path or "standard output"
                log.error("access log: %s takes no more lines: %s; they are dropped and counted", name, error.strerror)
            whole = bytes(lines[:written]).rfind(b"\n") + 1
            self._take_back(written - whole)
            return whole
        if self._failing and lines:
            self._failing = False
            log.warning("access log: %s takes lines again", self.path or "standard output")
        return written

    def _write(self, data: memoryview) -> int:
        while True:
            try:
                return os.write(self._fd, data)
            except BlockingIOError:  # standard output may have been left non-blocking by whoever shares it
                select.select([], [self._fd], [])

    def _take_back(self, torn_bytes: int) -> None:
        """Remove the beginning of a line whose end was not taken, or remember to end it."""
        if torn_bytes == 0:
            return
        status = os.fstat(self._fd)
        if self.path is not None and stat.S_ISREG(status.st_mode):
            with suppress(OSError):
                os.ftruncate(self._fd, status.st_size - torn_bytes)
                return
        self._torn = True


def _open(path: str) -> int:
    # Non-blocking for the opening alone: a FIFO that nobody reads is an error, not a wait.
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o640)
    os.set_blocking(fd, True)
    return fd
