import multiprocessing
import os
import struct

import pytest

from fastmesh._core import shared
from fastmesh._core.histogram import BUCKETS
from fastmesh._core.shared import SharedMemory

PAGE = 4096
NAMES = {
    "SeriesStats": ("requests", "reasons", "bytes_in", "bytes_out"),
    "ServiceStats": (
        *("duration_us", "duration_sum_us", "upstream_us", "upstream_sum_us", "connects", "connect_failures"),
        *("reuses", "retries", "panics", "active"),
    ),
    "EndpointStats": ("requests", "failures", "connect_failures", "active", "connections", "idle", "ewma_us"),
    "ListenerStats": (
        "accepted",
        "refused",
        "connections",
        "bytes_in",
        "bytes_out",
        "handshakes",
        "handshakes_resumed",
        "tls_failures",
    ),
    "WorkerStats": (
        *("worker", "pid", "started_ns", "heartbeat_ns", "snapshot", "wakes", "events", "log_lines", "log_dropped"),
        *("limiter_evictions", "http2_attacks", "buffer_bytes", "live"),
    ),
}
COUNTED = ("series", "service", "endpoint", "listener")


@pytest.fixture
def memory():
    return SharedMemory.create(3)


def read(memory, kind, id):
    return getattr(memory, kind)(id)


def flat(stats):
    """Every word of a slot, in the order of the layout."""
    parts = [getattr(stats, name) for name in NAMES[type(stats).__name__]]
    return [word for part in parts for word in (part if isinstance(part, tuple) else (part,))]


@pytest.mark.parametrize(("kind", "words"), [("series", 40), ("service", 200), ("listener", 14)])
def test_every_word_is_read_from_its_place_and_summed(memory, kind, words):
    for word in range(words):
        memory.add(kind, 0, 5, word, 1000 + word)
        memory.add(kind, 2, 5, word, 1)
    assert flat(read(memory, kind, 5)) == [1001 + word for word in range(words)]
    assert not any(flat(read(memory, kind, 4)))
    assert not any(flat(read(memory, kind, 6)))


def test_endpoint_sums_but_for_the_mean_of_the_estimates(memory):
    for worker in (0, 1):
        for word in range(6):
            memory.add("endpoint", worker, 9, word, 10 + word)
        memory.add("endpoint", worker, 9, 6, 100 + 100 * worker)
    assert flat(memory.endpoint(9)) == [20, 22, 24, 26, 28, 30, 150]


def test_gauges_may_be_negative_in_one_worker(memory):
    memory.add("endpoint", 0, 1, 3, 5)
    memory.add("endpoint", 1, 1, 3, -2)
    assert memory.endpoint(1).active == 3
    memory.add("endpoint", 1, 1, 3, -4)
    assert memory.endpoint(1).active == -1


def test_worker_words(memory):
    for word in range(38):
        memory.add("worker", 1, 0, word, 1 + word)
    stats = memory.workers()
    assert flat(stats[1]) == [1, *range(1, 39)]
    assert (stats[1].pid, stats[1].limiter_evictions, stats[1].live[0]) == (1, 9, 23)
    assert flat(stats[0]) == [0] * 39
    assert flat(stats[2]) == [2, *[0] * 38]
    assert memory.limiter_evictions() == 9


def test_names_of_words_match_the_layout(memory):
    memory.add("series", 0, 1, 5, 1)
    memory.add("series", 0, 1, 6 + 12, 2)
    memory.add("series", 0, 1, 39, 3)
    stats = memory.series(1)
    assert (stats.requests[5], stats.reasons[12], stats.bytes_out) == (1, 2, 3)
    memory.add("service", 0, 1, BUCKETS, 4)
    memory.add("service", 0, 1, 2 * BUCKETS + 1, 5)
    memory.add("service", 0, 1, 199, 6)
    service = memory.service(1)
    assert (service.duration_sum_us, service.upstream_sum_us, service.active) == (4, 5, 6)


@pytest.mark.parametrize(
    ("kind", "capacity"),
    [
        ("series", shared.SERIES_MAX),
        ("service", shared.SERVICES_MAX),
        ("endpoint", shared.ENDPOINTS_MAX),
        ("listener", shared.LISTENERS_MAX),
    ],
)
def test_slots_of_the_last_id_and_their_neighbours_do_not_overlap(memory, kind, capacity):
    for worker in range(3):
        memory.add(kind, worker, capacity - 1, 0, 7)
    for other in COUNTED:
        assert sum(flat(read(memory, other, 0))) == 0
    assert flat(read(memory, kind, capacity - 1))[0] == 21
    assert all(not any(flat(stats)[1:]) for stats in memory.workers())
    with pytest.raises(IndexError, match=f"not below {capacity}"):
        read(memory, kind, capacity)
    with pytest.raises(IndexError):
        memory.add(kind, 0, capacity, 0, 1)


def test_making_and_reading_touch_no_memory():
    memory = SharedMemory.create(shared.WORKERS_MAX)
    assert memory.resident_bytes == PAGE
    for kind in COUNTED:
        for id in range(1, 250):
            assert not any(flat(read(memory, kind, id)))
            memory.reset_id(kind, id)
    memory.clear_gauges(0)
    assert memory.resident_bytes <= 3 * PAGE


def test_writing_touches_one_page(memory):
    before = memory.resident_bytes
    memory.add("series", 1, 5000, 0, 1)
    memory.series(5000)
    assert memory.resident_bytes == before + PAGE


def test_another_process_sees_the_same(memory):
    memory.add("series", 1, 3, 2, 40)
    child = multiprocessing.get_context("fork").Process(target=_count_in_child, args=(os.dup(memory.fd),))
    child.start()
    child.join()
    assert child.exitcode == 0
    assert memory.series(3).requests[2] == 42
    assert not memory.is_healthy(8)


def _count_in_child(fd):
    attached = SharedMemory.attach(fd)
    assert attached.worker_count == 3
    assert attached.series(3).requests[2] == 40
    attached.add("series", 2, 3, 2, 2)
    attached.set_health(8, False)


def test_health_flags(memory):
    assert memory.is_healthy(4)
    memory.set_health(4, False)
    memory.set_health(5, False)
    memory.bump_health()
    assert [memory.is_healthy(n) for n in (3, 4, 5, 6)] == [True, False, False, True]
    memory.set_health(4, True)
    assert memory.is_healthy(4)
    with pytest.raises(IndexError):
        memory.set_health(shared.ENDPOINTS_MAX, True)


def test_clearing_a_dead_worker_keeps_its_counters(memory):
    for worker in (0, 1):
        for word in range(200):
            memory.add("service", worker, 70, word, 1)
        for id in (1, 900, shared.ENDPOINTS_MAX - 1):
            for word in range(7):
                memory.add("endpoint", worker, id, word, 1)
        for word in range(14):
            memory.add("listener", worker, 2, word, 1)
        for word in range(40):
            memory.add("series", worker, 6000, word, 1)
        for word in range(38):
            memory.add("worker", worker, 0, word, 1)
    memory.clear_gauges(1)
    assert flat(memory.service(70)) == [2] * 199 + [1]
    for id in (1, 900, shared.ENDPOINTS_MAX - 1):
        assert flat(memory.endpoint(id)) == [2, 2, 2, 1, 1, 1, 1]
    assert flat(memory.listener(2)) == [2, 2, 1] + [2] * 11
    assert flat(memory.series(6000)) == [2] * 40
    assert flat(memory.workers()[1]) == [1] + [0] * 4 + [1] * 17 + [0] * 17
    assert flat(memory.workers()[0]) == [0] + [1] * 38
    with pytest.raises(IndexError, match="worker 3 of 3"):
        memory.clear_gauges(3)


@pytest.mark.parametrize("kind", COUNTED)
def test_resetting_an_id_leaves_its_neighbours(memory, kind):
    for worker in range(3):
        for id in (11, 12, 13):
            memory.add(kind, worker, id, 0, 1)
    memory.reset_id(kind, 12)
    assert [flat(read(memory, kind, id))[0] for id in (11, 12, 13)] == [3, 0, 3]


def test_resetting_an_endpoint_makes_it_healthy(memory):
    memory.set_health(3, False)
    memory.reset_id("endpoint", 3)
    assert memory.is_healthy(3)


def test_refuses_what_is_not_there(memory):
    with pytest.raises(ValueError, match="'sevice'"):
        memory.reset_id("sevice", 1)
    with pytest.raises(ValueError, match="no id"):
        memory.reset_id("worker", 1)
    with pytest.raises(IndexError):
        memory.reset_id("listener", shared.LISTENERS_MAX)
    with pytest.raises(IndexError, match="14 words"):
        memory.add("listener", 0, 1, 14, 1)
    with pytest.raises(IndexError, match="worker 3 of 3"):
        memory.add("listener", 3, 1, 0, 1)
    with pytest.raises(OSError):
        SharedMemory.attach(-1)


@pytest.mark.parametrize("workers", [0, shared.WORKERS_MAX + 1])
def test_refuses_an_odd_number_of_workers(workers):
    with pytest.raises(ValueError, match="1 to 64"):
        SharedMemory.create(workers)


@pytest.mark.parametrize("word", [0, 1, 3])
def test_attach_refuses_another_layout(memory, word):
    """Magic, layout hash, size: each is checked."""
    fd = os.dup(memory.fd)
    found = struct.unpack_from("=Q", os.pread(fd, 8, 8 * word))[0]
    os.pwrite(fd, struct.pack("=Q", found ^ 1), 8 * word)
    with pytest.raises(ValueError, match="another build"):
        SharedMemory.attach(fd)
    os.pwrite(fd, struct.pack("=Q", found), 8 * word)
    assert SharedMemory.attach(fd).worker_count == 3


def test_attach_refuses_any_other_file(tmp_path):
    path = tmp_path / "short"
    path.write_bytes(b"no")
    fd = os.open(path, os.O_RDWR)
    with pytest.raises(ValueError, match="another build"):
        SharedMemory.attach(fd)
    os.close(fd)


def test_size_is_sealed(memory):
    for size in (0, 1 << 40):
        with pytest.raises(OSError):
            os.ftruncate(memory.fd, size)


def test_descriptor_is_closed_with_the_object():
    memory = SharedMemory.create(1)
    fd = memory.fd
    assert not os.get_inheritable(fd)
    del memory
    with pytest.raises(OSError):
        os.fstat(fd)


def test_used_finds_what_was_counted_anywhere(memory):
    memory.add("series", 0, 3, 2, 1)
    memory.add("series", 2, 4000, 39, 1)
    assert memory.used("series", range(0, 5000)) == [3, 4000]
    assert memory.used("series", []) == []
    memory.reset_id("series", 3)
    assert memory.used("series", (4000, 3)) == [4000]
    with pytest.raises(IndexError):
        memory.used("series", [shared.SERIES_MAX])


def test_endpoints_sums_over_ids(memory):
    for id in (5, 6, 7):
        for word in range(7):
            memory.add("endpoint", id % 3, id, word, 10**word)
    assert flat(memory.endpoints([5, 7, 9])) == [2 * 10**word for word in range(6)] + [0]
    assert flat(memory.endpoints([])) == [0] * 7
