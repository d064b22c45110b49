"""Workers that die are replaced; nobody but their own clients notices."""

import os
import signal
import socket
import time

from tests.mesh import Load, Mesh, fetch, is_running, wait_until


def pids(mesh: Mesh) -> list[int]:
    return [worker["pid"] for worker in mesh.status()["workers"]]


def kill(mesh: Mesh, slot: int) -> None:
    """Kill the worker in a slot, and wait until another serves there."""
    victim = pids(mesh)[slot]
    os.kill(victim, signal.SIGKILL)

    def is_replaced() -> bool:
        worker = mesh.status()["workers"][slot]
        return worker["pid"] not in (0, victim) and worker["phase"] == "serving"

    wait_until(is_replaced, "the successor to serve")
    assert not is_running(victim)


def test_a_killed_worker_is_replaced_in_its_slot(hello):
    before = pids(hello)
    kill(hello, 1)
    workers = hello.status()["workers"]
    assert workers[0]["pid"] == before[0]
    assert (workers[1]["restarts"], workers[1]["last_exit"]) == (1, "killed by SIGKILL")
    assert "worker 1: pid" in hello.log and "killed by SIGKILL" in hello.log
    assert hello.get().status == 200


def test_nobody_is_refused_while_a_worker_is_replaced(hello):
    """Only requests that the dead worker held may fail: those of clients that had one open there."""
    with Load(hello.address, clients=4, new_connections=True) as load:
        load.more(100)
        kill(hello, 0)
        load.more(100)
        kill(hello, 1)
        load.more(100)
    assert set(load.statuses) == {200}
    assert not [failure for failure in load.failures if "Refused" in failure]
    assert len(load.failures) <= 2 * 4


def test_the_only_worker_can_die_and_connections_wait_for_the_next(mesh, upstream):
    mesh.serve(upstream.address)
    mesh.start(workers=1)
    for _ in range(3):
        os.kill(pids(mesh)[0], signal.SIGKILL)
        assert fetch(mesh.address).status == 200
        wait_until(mesh.is_ready)


def test_the_successor_serves_the_newest_version(hello, start_upstream):
    other = start_upstream("other")
    version = hello.version()
    hello.serve(other.address)
    wait_until(lambda: hello.version() != version, "the new version")
    for slot in (0, 1):
        kill(hello, slot)
    assert {hello.get().text for _ in range(20)} == {"other"}


def test_gauges_of_a_dead_worker_are_cleared_and_counters_stay(mesh, upstream):
    mesh.serve(upstream.address)
    mesh.start(workers=1)
    for _ in range(7):
        mesh.get()
    requests = mesh.status()["services"][0]["requests"]
    assert requests == 7
    with socket.create_connection(("127.0.0.1", mesh.port)) as client:
        client.sendall(b"GET /slow/60000 HTTP/1.1\r\nHost: a\r\n\r\n")
        wait_until(lambda: mesh.status()["services"][0]["active"] == 1, "the request in flight")
        kill(mesh, 0)
    service = mesh.status()["services"][0]
    assert (service["active"], service["requests"]) == (0, requests)
    assert mesh.status()["listeners"][0]["connections"] == 0


def test_a_worker_that_crashes_in_a_loop_backs_off_and_says_so(mesh, upstream):
    mesh.serve(upstream.address)
    mesh.start(workers=2)
    for _ in range(5):
        wait_until(lambda: pids(mesh)[0] != 0, "a process in the slot")
        os.kill(pids(mesh)[0], signal.SIGKILL)
        wait_until(lambda: mesh.log.count("worker 0: pid") > 0)
        time.sleep(0.02)
    wait_until(lambda: "next start in 0.4 s" in mesh.log, "the back-off")
    assert mesh.get().status == 200
    wait_until(lambda: mesh.status()["workers"][0]["phase"] == "serving", "the worker to serve again")


def test_a_stranger_signal_to_a_worker_does_nothing(hello):
    """Service managers and terminals signal every process of a group."""
    before = pids(hello)
    for pid in before:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
            os.kill(pid, number)
    assert hello.get().status == 200
    assert pids(hello) == before
