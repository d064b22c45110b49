"""The supervisor's side of the access log."""


class LogSink:
    """One thread that copies whole lines from the workers' pipes to a file or to standard output."""

    def __init__(self, path: str | None) -> None:
        """`path`: a file to append to, made if need be; None: standard output. Raises OSError."""

    def start(self) -> None:
        """Start the thread (after the workers were forked, if they are forked)."""

    def open_pipe(self) -> int:
        """A new pipe: its write end, non-blocking, for a worker (the caller closes its copy); it ends when all copies are closed."""
        raise NotImplementedError

    def set_path(self, path: str | None) -> None:
        """Write to another file from the next line on. Raises OSError, and the old one stays."""

    def reopen(self) -> None:
        """Open the file anew (SIGUSR1, after it was renamed). Safe to call from a signal handler of the event loop."""

    def close(self, timeout_s: float = 2.0) -> None:
        """Write what is in the pipes, then end the thread."""

    @property
    def lines_written(self) -> int:
        raise NotImplementedError

    @property
    def lines_dropped(self) -> int:
        raise NotImplementedError
