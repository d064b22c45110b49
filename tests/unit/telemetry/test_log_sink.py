import multiprocessing
import os
import resource
import signal
import threading
import time

import pytest

from fastmesh.telemetry.log_sink import LINE_MAX_BYTES, LogSink


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "access.log")


@pytest.fixture
def sink(path):
    sink = LogSink(path)
    sink.start()
    yield sink
    sink.close()


def wait_for(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.002)


def read(path):
    with open(path, "rb") as file:
        return file.read()


def test_lines_of_several_pipes_arrive_whole(path):
    sink = LogSink(path)
    sink.start()
    pipes = [sink.open_pipe() for _ in range(4)]

    def feed(number, pipe):
        os.set_blocking(pipe, True)
        lines = b"".join(b"%d:%d:%s\n" % (number, n, b"x" * (n % 97)) for n in range(3000))
        for place in range(0, len(lines), 777):
            os.write(pipe, lines[place : place + 777])
        os.close(pipe)

    feeders = [threading.Thread(target=feed, args=pair) for pair in enumerate(pipes)]
    for feeder in feeders:
        feeder.start()
    for feeder in feeders:
        feeder.join()
    sink.close()
    lines = read(path).splitlines()
    for number in range(4):
        own = [line.split(b":") for line in lines if line.startswith(b"%d:" % number)]
        assert [(int(n), len(rest)) for _, n, rest in own] == [(n, n % 97) for n in range(3000)]
    assert (sink.lines_written, sink.lines_dropped) == (12_000, 0)


def test_appends_to_what_is_there(path):
    with open(path, "wb") as file:
        file.write(b"before\n")
    sink = LogSink(path)
    os.write(sink.open_pipe(), b"after\n")
    sink.close()
    assert read(path) == b"before\nafter\n"


def test_a_line_that_a_worker_did_not_finish_is_dropped(sink, path):
    pipe = sink.open_pipe()
    os.write(pipe, b"whole\nhalf")
    os.close(pipe)
    wait_for(lambda: sink.lines_dropped == 1)
    assert read(path) == b"whole\n"
    other = sink.open_pipe()
    os.write(other, b"next\n")
    wait_for(lambda: sink.lines_written == 2)
    assert read(path) == b"whole\nnext\n"
    os.close(other)


def test_what_is_no_line_does_not_grow(sink, path):
    pipe = sink.open_pipe()
    os.set_blocking(pipe, True)
    os.write(pipe, b"x" * (3 * LINE_MAX_BYTES))
    wait_for(lambda: sink.lines_dropped >= 1)
    os.write(pipe, b"tail\nnext\n")
    wait_for(lambda: sink.lines_written == 2)
    assert read(path).endswith(b"\nnext\n")
    assert len(read(path)) < LINE_MAX_BYTES + 100
    os.close(pipe)


def test_reopen_follows_a_rename(sink, path):
    pipe = sink.open_pipe()
    os.write(pipe, b"one\n")
    wait_for(lambda: sink.lines_written == 1)
    os.rename(path, path + ".1")
    os.write(pipe, b"two\n")
    wait_for(lambda: sink.lines_written == 2)
    sink.reopen()
    wait_for(lambda: os.path.exists(path))
    os.write(pipe, b"three\n")
    wait_for(lambda: sink.lines_written == 3)
    assert (read(path + ".1"), read(path)) == (b"one\ntwo\n", b"three\n")
    os.close(pipe)


def test_reopen_that_fails_keeps_the_old_file(tmp_path, caplog):
    folder = tmp_path / "folder"
    folder.mkdir()
    sink = LogSink(str(folder / "log"))
    sink.start()
    pipe = sink.open_pipe()
    folder.rename(tmp_path / "moved")
    sink.reopen()
    wait_for(lambda: "cannot be reopened" in caplog.text)
    os.write(pipe, b"line\n")
    sink.close()
    assert read(tmp_path / "moved" / "log") == b"line\n"
    os.close(pipe)


def test_set_path(sink, path):
    pipe = sink.open_pipe()
    os.write(pipe, b"one\n")
    wait_for(lambda: sink.lines_written == 1)
    with pytest.raises(OSError):
        sink.set_path(path + "/impossible")
    sink.set_path(path)
    sink.set_path(path + ".superseded")
    sink.set_path(path + ".new")
    wait_for(lambda: sink._file.path == path + ".new")
    os.write(pipe, b"two\n")
    wait_for(lambda: sink.lines_written == 2)
    assert (read(path), read(path + ".new")) == (b"one\n", b"two\n")
    os.close(pipe)


def test_a_full_disk_drops_counts_and_says_so_once(caplog):
    sink = LogSink("/dev/full")
    sink.start()
    pipe = sink.open_pipe()
    for number in range(3):
        os.write(pipe, b"a\nb\n")
        wait_for(lambda count=2 * number + 2: sink.lines_dropped == count)
    sink.close()
    os.close(pipe)
    assert sink.lines_written == 0
    assert [record.message for record in caplog.records] == [
        "access log: /dev/full takes no more lines: No space left on device; they are dropped and counted"
    ]


def _write_to_a_small_disk(path, results):
    """A limit on the size of files stands for a full disk: the last write that fits is cut short."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1005, resource.RLIM_INFINITY))
    sink = LogSink(path)
    sink.start()
    pipe = sink.open_pipe()
    os.write(pipe, b"123456789\n" * 150)
    wait_for(lambda: sink.lines_written + sink.lines_dropped == 150)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    os.write(pipe, b"again\n")
    sink.close()
    results.put((sink.lines_written, sink.lines_dropped))


def test_a_line_that_was_cut_short_is_taken_back(path):
    fork = multiprocessing.get_context("fork")
    results = fork.SimpleQueue()
    child = fork.Process(target=_write_to_a_small_disk, args=(path, results))
    child.start()
    assert results.get() == (101, 50)
    child.join()
    assert read(path) == b"123456789\n" * 100 + b"again\n"


def test_a_worker_never_waits(path):
    sink = LogSink(path)
    pipe = sink.open_pipe()
    written = 0
    with pytest.raises(BlockingIOError):
        while True:
            written += os.write(pipe, b"line\n" * 200)
    sink.close()
    assert sink.lines_written == written // 5
    assert len(read(path)) == written // 5 * 5
    os.close(pipe)


def test_close_gives_up_on_a_file_that_takes_nothing(tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with pytest.raises(OSError):
        LogSink(str(fifo))
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    sink = LogSink(str(fifo))
    sink.start()
    pipe = sink.open_pipe()
    os.set_blocking(pipe, True)
    os.write(pipe, b"line\n" * 40_000)
    sink.close(timeout_s=0.05)
    os.close(reader)
    os.close(pipe)
    wait_for(lambda: not sink._thread.is_alive())


def test_standard_output(capfd):
    sink = LogSink(None)
    os.write(sink.open_pipe(), b"hello\n")
    sink.close()
    assert capfd.readouterr().out == "hello\n"
    assert os.fstat(1)


def test_no_descriptor_is_left(path):
    before = set(os.listdir("/proc/self/fd"))
    sink = LogSink(path)
    sink.start()
    pipes = [sink.open_pipe() for _ in range(3)]
    sink.set_path(path + ".new")
    os.close(pipes[0])
    sink.close()
    for pipe in pipes[1:]:
        os.close(pipe)
    assert set(os.listdir("/proc/self/fd")) == before
