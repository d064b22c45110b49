"""How a mesh begins and how it ends."""

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.mesh import ROOT, Load, children, fetch, free_port, is_running, wait_until


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fastmesh", *arguments], capture_output=True, text=True, cwd=ROOT, timeout=30
    )


def test_it_serves_and_says_where(hello):
    assert hello.get().text == "upstream"
    assert f"listener web: http://{hello.address}" in hello.log
    assert f"admin: http://{hello.admin_address}" in hello.log
    assert hello.status()["readiness"] == {"ready": True, "reason": ""}


def test_processes_bear_readable_names(hello):
    names = sorted(Path(f"/proc/{pid}/comm").read_text().strip() for pid in hello.family())
    assert names == ["fastmesh", "fastmesh-0", "fastmesh-1", "fastmesh-super"]


def test_the_limit_of_descriptors_is_raised(hello):
    for pid in children(hello.pid):
        line = next(line for line in Path(f"/proc/{pid}/limits").read_text().splitlines() if "open files" in line)
        soft, hard = line.split()[3:5]
        assert soft == hard


# ---- errors at the start


def test_a_directory_with_errors_is_refused_with_all_of_them(mesh):
    mesh.write("listeners:\n  web: nonsense\nroutes:\n  all: {to: nobody}\n")
    result = run("run", str(mesh.directory))
    assert result.returncode == 1
    assert "mesh.yaml:2:" in result.stderr
    assert "mesh.yaml:4:" in result.stderr
    assert "nothing was started" in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("what", ["missing", "a file", "empty"])
def test_no_configuration_is_an_error_of_one_line(tmp_path, what):
    directory = tmp_path / "config"
    if what == "a file":
        directory.write_text("")
    elif what == "empty":
        directory.mkdir()
    result = run("run", str(directory))
    assert result.returncode == 1
    assert str(directory) in result.stderr
    assert "Traceback" not in result.stderr


def test_an_address_in_use_is_an_error_that_says_what_to_do(mesh, upstream):
    mesh.serve(upstream.address)
    with socket.create_server(("127.0.0.1", mesh.port)):
        result = run("run", str(mesh.directory), "--workers", "1")
    assert result.returncode == 1
    assert f"listener web: cannot listen on {mesh.address}: the address is in use; stop the program" in result.stderr
    assert "Traceback" not in result.stderr


def test_an_admin_address_in_use_is_an_error_too(mesh, upstream):
    mesh.serve(upstream.address)
    with socket.create_server(("127.0.0.1", mesh.admin_port)):
        result = run("run", str(mesh.directory), "--workers", "1")
    assert result.returncode == 1
    assert f"admin: cannot listen on {mesh.admin_address}: the address is in use" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["rum"], "there is no command 'rum'"),
        (["run"], "Missing argument"),
        (["run", "config", "--workers", "0"], "'--workers'"),
        (["run", "config", "--wrokers", "1"], "--workers"),
    ],
)
def test_wrong_usage_is_an_error_of_one_line(arguments, says):
    result = run(*arguments)
    assert result.returncode == 2
    assert says in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_help_and_version():
    assert run("--version").stdout.startswith("fastmesh 0.")
    assert "fastmesh run config/" in run("--help").stdout
    assert "fastmesh run config/" in run("run", "--help").stdout


# ---- the end


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_cleanly_when_told(hello, number):
    family = hello.family()
    assert hello.end(number) == 0
    assert not any(is_running(pid) for pid in family)
    with pytest.raises(OSError):
        hello.get()


def test_ctrl_c_on_the_terminal_reaches_all_and_is_heard_once(hello):
    os.killpg(hello.pid, signal.SIGINT)
    assert hello.process.wait(20) == 0
    assert hello.log.count("received SIGINT") == 1


def test_what_is_in_flight_finishes(hello):
    replies = []
    threads = [
        threading.Thread(target=lambda: replies.append(hello.get("/slow/700").status), daemon=True) for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    wait_until(lambda: hello.status()["services"][0]["active"] == 5, "five requests in flight")
    hello.send_signal(signal.SIGTERM)
    wait_until(lambda: not hello.is_ready(), "readiness to fail")
    for thread in threads:
        thread.join(20)
    assert replies == [200] * 5
    assert hello.process.wait(20) == 0


def test_nothing_is_bound_any_more_while_it_drains(hello, upstream):
    """Whatever happens to the directory in the meantime."""
    added = free_port()
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", hello.port)) as connection:
        connection.request("GET", "/slow/1000")
        wait_until(lambda: hello.status()["services"][0]["active"] == 1, "the request in flight")
        hello.send_signal(signal.SIGTERM)
        wait_until(lambda: not hello.is_ready(), "readiness to fail")
        hello.write(f"listeners: {{added: 127.0.0.1:{added}}}", "added.yaml")
        wait_until(lambda: "the mesh is about to end" in hello.log, "the reload to be refused")
        assert connection.getresponse().read() == b"upstream"
    assert hello.process.wait(20) == 0
    for port in (added, hello.port):
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.1", port), 1)


def test_idle_connections_are_closed_at_once(hello):
    connection = http.client.HTTPConnection("127.0.0.1", hello.port)
    with contextlib.closing(connection):
        connection.request("GET", "/")
        assert connection.getresponse().read() == b"upstream"
        assert hello.end(timeout_s=5) == 0
        assert connection.sock.recv(1) == b""


def test_under_load_no_answer_is_cut_off(hello):
    """A client may find its kept connection closed, or nobody listening; what was begun is finished."""
    with Load(hello.address, path="/slow/20", clients=8) as load:
        load.more(50)
        hello.send_signal(signal.SIGTERM)
        assert hello.process.wait(20) == 0
    assert set(load.statuses) == {200}
    assert not [failure for failure in load.failures if "IncompleteRead" in failure]


def test_the_deadline_of_the_drain_ends_what_does_not_finish(mesh, upstream):
    mesh.serve(upstream.address, more="drain: {timeout: 300ms}")
    mesh.start()
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", mesh.port)) as connection:
        connection.request("GET", "/slow/60000")
        wait_until(lambda: mesh.status()["services"][0]["active"] == 1, "the request in flight")
        assert mesh.end(timeout_s=15) == 0


def test_a_second_signal_ends_at_once(hello):
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", hello.port)) as connection:
        connection.request("GET", "/slow/60000")
        wait_until(lambda: hello.status()["services"][0]["active"] == 1, "the request in flight")
        family = hello.family()
        hello.send_signal(signal.SIGTERM)
        wait_until(lambda: not hello.is_ready(), "readiness to fail")
        assert hello.end(timeout_s=5) != 0
    wait_until(lambda: not any(is_running(pid) for pid in family), "all processes to end")


@pytest.mark.parametrize("victim", ["launcher", "supervisor"])
def test_a_killed_process_leaves_nobody_behind(hello, victim):
    family = hello.family()
    supervisor = next(pid for pid in family if "super" in Path(f"/proc/{pid}/comm").read_text())
    os.kill(hello.pid if victim == "launcher" else supervisor, signal.SIGKILL)
    assert hello.process.wait(20) != 0
    wait_until(lambda: not any(is_running(pid) for pid in family), "all processes to end")
    if victim == "supervisor":
        assert "the supervisor was killed by SIGKILL" in hello.log


def test_it_can_be_started_again_at_once_on_the_same_addresses(hello):
    with Load(hello.address, new_connections=True) as load:
        load.more(20)
    assert hello.end() == 0
    hello.start()
    assert hello.get().status == 200


def test_draining_by_the_admin_api_fails_readiness_and_serves_on(hello):
    assert hello.admin("/drain", method="POST").status < 300
    assert not hello.is_ready()
    assert hello.get().status == 200


def test_the_supervisor_and_the_workers_hold_no_descriptor_too_many(hello):
    """After worker deaths and reloads, as many are open as before."""

    def descriptors() -> int:
        return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in hello.family())

    upstream = hello.status()["services"][0]
    assert upstream["endpoints_total"] == 1
    hello.get()
    before = descriptors()
    config = (hello.directory / "mesh.yaml").read_text()
    for number in range(5):
        version = hello.version()
        hello.write(f"{config}# {number}\n")
        wait_until(lambda version=version: hello.version() != version, "the new version")
    workers = [worker["pid"] for worker in hello.status()["workers"]]
    os.kill(workers[0], signal.SIGKILL)
    wait_until(lambda: hello.status()["workers"][0]["pid"] not in (0, workers[0]), "the successor")
    wait_until(lambda: hello.is_ready() and descriptors() <= before, "descriptors to be closed")


def test_two_meshes_do_not_share_an_address(mesh, tmp_path, upstream):
    mesh.serve(upstream.address)
    mesh.start(workers=1)
    other = tmp_path / "other"
    other.mkdir()
    text = (mesh.directory / "mesh.yaml").read_text()
    (other / "mesh.yaml").write_text(text.replace(mesh.admin_address, f"127.0.0.1:{free_port()}"))
    result = run("run", str(other), "--workers", "1")
    assert result.returncode == 1
    assert "the address is in use" in result.stderr
    assert fetch(mesh.address).status == 200
