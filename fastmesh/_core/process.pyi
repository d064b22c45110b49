"""What a process asks of the kernel and the standard library does not offer."""

def die_with_parent(signal: int) -> None:
    """Have the kernel send `signal` to this process when its parent ends, even by SIGKILL (prctl(2)). Raises OSError.

    A parent that ended before the call sends nothing: compare `os.getppid()` afterwards.
    """

def release_memory() -> None:
    """Give free heap pages back to the kernel; see malloc_trim(3)."""

def watch_directory(path: bytes) -> int:
    """A non-blocking descriptor that is readable after anything in this directory changed; see inotify(7).

    The caller reads what is there, closes the descriptor, and looks at the directory itself: events may be lost.
    Raises OSError.
    """
