"""The parts of the supervisor, put together: names, health, logs, figures."""

import json
import signal
import socket

from tests.mesh import wait_until


def test_names_are_resolved(mesh, upstream):
    mesh.serve(f"localhost:{upstream.port}")
    mesh.start()
    assert mesh.get().text == "upstream"
    assert [name["name"] for name in mesh.status()["names"]] == ["localhost"]


def test_a_name_that_comes_with_a_reload_is_resolved(hello, start_upstream):
    other = start_upstream("other")
    hello.serve(f"localhost:{other.port}")
    wait_until(lambda: hello.get().text == "other", "the answer of the other")


def test_an_unhealthy_endpoint_gets_no_requests_until_it_is_well_again(mesh, upstream, start_upstream):
    other = start_upstream("other")
    mesh.serve(
        upstream.address,
        other.address,
        hello="health_check: {tcp: true, interval: 50ms, rise: 1, fall: 1}\nbalance: round_robin",
    )
    mesh.start()
    assert {mesh.get().text for _ in range(8)} == {"upstream", "other"}
    other.stop()
    wait_until(lambda: mesh.status()["services"][0]["endpoints_healthy"] == 1, "the failing check")
    assert [mesh.get().status for _ in range(20)] == [200] * 20
    other.start()
    wait_until(lambda: mesh.status()["services"][0]["endpoints_healthy"] == 2, "the passing check")
    wait_until(lambda: mesh.get().text == "other", "the other to be used again")


def test_the_access_log_file_is_opened_again_on_sigusr1(mesh, upstream, tmp_path):
    file, renamed = tmp_path / "access.log", tmp_path / "access.log.1"
    mesh.serve(upstream.address, more=f"access_log: {{path: {file}}}")
    mesh.start()

    def logged(path, wanted: str) -> bool:
        return path.exists() and any(json.loads(line)["path"] == wanted for line in path.read_text().splitlines())

    mesh.get("/first")
    wait_until(lambda: logged(file, "/first"), "the line")
    file.rename(renamed)
    mesh.send_signal(signal.SIGUSR1)
    wait_until(file.exists, "the new file")
    mesh.get("/second")
    wait_until(lambda: logged(file, "/second"), "the line in the new file")
    assert not logged(renamed, "/second")


def test_the_access_log_can_be_turned_on_and_goes_to_standard_output(hello, upstream):
    hello.get("/before")
    hello.serve(upstream.address, more="access_log: {path: stdout, format: 'path={path}'}")

    def asked() -> bool:
        hello.get("/after")
        return "path=/after" in hello.output

    wait_until(asked, "the line")
    assert "/before" not in hello.output


def test_an_access_log_that_cannot_be_written_keeps_the_last_good_version(hello, upstream, tmp_path):
    version = hello.version()
    hello.serve(upstream.address, more=f"access_log: {{path: {tmp_path}/missing/access.log}}")
    wait_until(lambda: hello.status()["problems"]["stale"], "the error")
    assert "access_log: cannot write to" in hello.status()["problems"]["error"]
    assert hello.version() == version
    assert hello.get().status == 200


def test_metrics_of_workers_and_supervisor_stand_together(hello):
    for _ in range(3):
        hello.get()
    hello.write("nonsense", "broken.yaml")
    wait_until(lambda: hello.status()["problems"]["stale"], "the error")
    metrics = hello.admin("/metrics").text
    assert 'fastmesh_reloads_total{outcome="invalid"} 1' in metrics
    assert 'fastmesh_reloads_total{outcome="applied"} 1' in metrics
    line = next(line for line in metrics.splitlines() if line.startswith("fastmesh_requests_total{"))
    assert 'listener="web"' in line and line.endswith(" 3")


def test_a_place_in_the_files_is_shown(hello):
    assert hello.status()["services"][0]["source"].endswith("mesh.yaml:6")


def test_a_listener_of_every_kind_of_address(mesh, upstream):
    mesh.serve(upstream.address)
    text = (mesh.directory / "mesh.yaml").read_text()
    mesh.write(text.replace(f"127.0.0.1:{mesh.port}", f'"[::1]:{mesh.port}"'))
    mesh.start(workers=1)
    with socket.create_connection(("::1", mesh.port)) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: client.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 200")
