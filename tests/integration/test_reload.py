"""Whatever happens to the directory, it ends in the right state: the new set, whole, or the last good one."""

import contextlib
import http.client
import re
import shutil
import signal
import socket
import time

import pytest

from tests.mesh import Load, Mesh, fetch, free_port, wait_until
from tests.upstream import Upstream


@pytest.fixture
def blue(start_upstream) -> Upstream:
    return start_upstream("blue")


@pytest.fixture
def green(start_upstream) -> Upstream:
    return start_upstream("green")


@pytest.fixture
def served(mesh, blue) -> Mesh:
    """A mesh that runs and answers "blue"."""
    mesh.serve(blue.address)
    return mesh.start()


def answers(mesh: Mesh, text: str) -> bool:
    """Whether every worker does: the chance that one of two goes unasked is 1 in 500."""
    return all(mesh.get().text == text for _ in range(10))


def wait_for(mesh: Mesh, text: str) -> None:
    wait_until(lambda: answers(mesh, text), f"the answer {text!r}")


def config(mesh: Mesh, listeners: dict[str, int], upstream: Upstream) -> str:
    """A configuration with several listeners."""
    lines = "".join(f"  {name}: 127.0.0.1:{port}\n" for name, port in listeners.items())
    return (
        f"admin: {{address: {mesh.admin_address}}}\nlisteners:\n{lines}"
        f"services:\n  hello: {{endpoints: [{upstream.address}]}}\nroutes:\n  hello: {{to: hello}}\n"
    )


def is_open(port: int) -> bool:
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", port), 2).close()
        return True
    return False


# ---- how files change


def test_a_file_renamed_over_another(served, green):
    served.serve(green.address)
    wait_for(served, "green")
    assert [each["outcome"] for each in [served.status()["last_reload"]]] == ["applied"]


def test_a_file_written_in_place_in_pieces(served, blue, green):
    file = served.directory / "mesh.yaml"
    text = file.read_text().replace(blue.address, green.address)
    with file.open("w") as stream:
        for start in range(0, len(text), 50):
            stream.write(text[start : start + 50])
            stream.flush()
    wait_for(served, "green")
    assert not served.status()["problems"]["stale"]


def test_several_files_at_once(served, green):
    """None of the states in between is served: a route without its service would be an error."""
    route = "{match: {path: {exact: /extra}}, to: extra}"
    (served.directory / "more-routes.yaml").write_text(f"routes:\n  extra: {route}\n")
    (served.directory / "more.yaml").write_text(f"services:\n  extra: {{endpoints: [{green.address}]}}\n")
    wait_until(lambda: served.get("/extra").text == "green")
    (served.directory / "more-routes.yaml").unlink()
    (served.directory / "more.yaml").unlink()
    wait_until(lambda: served.get("/extra").text == "blue")
    assert not served.status()["problems"]["stale"]


def test_a_config_map_is_swapped_as_kubernetes_does_it(mesh, blue, green):
    mesh.serve(blue.address)
    text = (mesh.directory / "mesh.yaml").read_text()
    (mesh.directory / "mesh.yaml").unlink()
    for version, upstream in (("1", blue), ("2", green)):
        (mesh.directory / f"..{version}").mkdir()
        (mesh.directory / f"..{version}" / "mesh.yaml").write_text(text.replace(blue.address, upstream.address))
    (mesh.directory / "..data").symlink_to("..1")
    (mesh.directory / "mesh.yaml").symlink_to("..data/mesh.yaml")
    mesh.start()
    assert answers(mesh, "blue")
    (mesh.directory / "..data_tmp").symlink_to("..2")
    (mesh.directory / "..data_tmp").rename(mesh.directory / "..data")
    shutil.rmtree(mesh.directory / "..1")
    wait_for(mesh, "green")


def test_sighup_reads_the_directory(served):
    before = served.version()
    served.send_signal(signal.SIGHUP)
    wait_until(lambda: served.status()["last_reload"]["outcome"] == "unchanged", "the attempt")
    assert served.version() == before
    assert "received SIGHUP" in served.log


def test_a_reload_says_what_it_changes(served, blue, green):
    served.serve(green.address, hello="timeouts: {connect: 250ms}")
    wait_for(served, "green")
    changes = [
        f"service hello: endpoint {green.address} added",
        f"service hello: endpoint {blue.address} removed",
        "service hello: timeouts.connect is 250ms instead of 1s",
    ]
    wait_until(lambda: all(f"changed: {change}" in served.log for change in changes), "the log to say so")
    last, first = served.admin("/config/history").json
    assert [f"{one['kind'][:-1]} {one['name']}: {one['text']}" for one in last["changes"]] == changes
    assert last["changes_total"] == 3
    assert (first["changes"], first["changes_total"]) == ([], 0)
    served.write((served.directory / "mesh.yaml").read_text() + "# a comment\n")
    wait_until(lambda: "changed: nothing that has an effect" in served.log, "the log to say that nothing changes")


def test_a_reload_that_changes_much_says_so_briefly(served):
    routes = "".join(f"  r{n}: {{match: {{path: {{exact: /r{n}}}}}, to: hello}}\n" for n in range(500))
    served.write(f"routes:\n{routes}", "many.yaml")
    wait_until(lambda: "changed: and 480 more" in served.log, "the end of the list")
    assert served.log.count("changed: route r") == 20
    last = served.status()["last_reload"]
    assert (len(last["changes"]), last["changes_total"]) == (20, 500)


# ---- errors


def test_errors_keep_the_last_good_version_and_are_shown_everywhere(served, green):
    version = served.version()
    served.write("routes:\n  hello: {to: helo}\n", "zz.yaml")
    wait_until(lambda: served.status()["problems"]["stale"], "the errors")
    status = served.status()
    assert status["version"] == version
    assert {problem["file"].rsplit("/", 1)[-1] for problem in status["problems"]["errors"]} == {"zz.yaml"}
    assert "zz.yaml:2:" in served.log
    assert answers(served, "blue")
    assert served.is_ready()
    served.serve(green.address)  # right in itself, but the other file still is not
    served.send_signal(signal.SIGHUP)
    wait_until(lambda: served.log.count("received SIGHUP") == 1 and served.status()["problems"]["stale"])
    assert answers(served, "blue")
    (served.directory / "zz.yaml").unlink()
    wait_for(served, "green")
    assert not served.status()["problems"]["stale"]


def test_a_half_written_file_is_not_served(served, blue, green):
    file = served.directory / "mesh.yaml"
    whole = file.read_text().replace(blue.address, green.address)
    file.write_text(whole[: whole.index("endpoints") + 12])
    wait_until(lambda: served.status()["problems"]["stale"], "the error")
    assert answers(served, "blue")
    assert re.search(r"^fastmesh_config_errors [1-9]", served.admin("/metrics").text, re.MULTILINE)
    file.write_text(whole)
    wait_for(served, "green")
    assert re.search(r"^fastmesh_config_errors 0", served.admin("/metrics").text, re.MULTILINE)


def test_a_file_is_waited_for_until_it_is_closed(served, blue, green):
    """Its first half is valid YAML without routes: nobody may ever be served by that."""
    file = served.directory / "mesh.yaml"
    whole = file.read_text().replace(blue.address, green.address)
    half = whole.index("routes:")
    with file.open("w") as writing:
        writing.write(whole[:half])
        writing.flush()
        started = time.monotonic()
        while time.monotonic() - started < 0.5:
            assert served.get().text == "blue"
        writing.write(whole[half:])
    wait_for(served, "green")
    assert [one["outcome"] for one in served.admin("/config/history").json].count("applied") == 2


def test_a_symlink_to_another_directory_is_followed(mesh, blue, green, tmp_path):
    """The layout of releases: the path is a symlink, and moves."""
    mesh.serve(blue.address)
    text = (mesh.directory / "mesh.yaml").read_text()
    for name, address in (("v1", blue.address), ("v2", green.address)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mesh.yaml").write_text(text.replace(blue.address, address))
    (mesh.directory / "mesh.yaml").unlink()
    mesh.directory.rmdir()
    mesh.directory.symlink_to(tmp_path / "v1")
    mesh.start()
    assert mesh.get().text == "blue"
    (tmp_path / "next").symlink_to(tmp_path / "v2")
    (tmp_path / "next").rename(mesh.directory)
    wait_for(mesh, "green")


def test_an_empty_directory_keeps_the_last_good_version(served):
    text = (served.directory / "mesh.yaml").read_text()
    (served.directory / "mesh.yaml").unlink()
    wait_until(lambda: served.status()["problems"]["stale"], "the error")
    assert answers(served, "blue")
    (served.directory / "mesh.yaml").write_text(text)
    wait_until(lambda: not served.status()["problems"]["stale"], "the end of the error")


def test_a_directory_that_is_replaced_is_followed(served, blue, green, tmp_path):
    text = (served.directory / "mesh.yaml").read_text()
    served.directory.rename(tmp_path / "old")
    served.directory.mkdir()
    (served.directory / "mesh.yaml").write_text(text.replace(blue.address, green.address))
    wait_for(served, "green")
    (served.directory / "mesh.yaml").write_text(text)
    wait_for(served, "blue")


# ---- listeners


def test_listeners_are_added_moved_and_removed_and_others_keep_their_connections(mesh, blue):
    web, moving, moved, added = mesh.port, free_port(), free_port(), free_port()
    mesh.write(config(mesh, {"web": web, "second": moving}, blue))
    mesh.start()
    with contextlib.ExitStack() as stack:
        kept = stack.enter_context(contextlib.closing(http.client.HTTPConnection("127.0.0.1", web)))
        followed = stack.enter_context(contextlib.closing(http.client.HTTPConnection("127.0.0.1", moving)))

        def ask(connection: http.client.HTTPConnection) -> bytes:
            before = connection.sock
            connection.request("GET", "/")
            answer = connection.getresponse().read()
            assert before is None or connection.sock is before, "the connection was closed"
            return answer

        assert ask(kept) == ask(followed) == b"blue"
        mesh.write(config(mesh, {"web": web, "second": moved, "third": added}, blue))
        wait_until(lambda: is_open(moved) and is_open(added) and not is_open(moving), "the listeners")
        assert fetch(f"127.0.0.1:{added}").text == fetch(f"127.0.0.1:{moved}").text == "blue"
        assert ask(kept) == ask(followed) == b"blue"
        mesh.write(config(mesh, {"web": web}, blue))
        wait_until(lambda: not is_open(moved) and not is_open(added), "the listeners to go")
        assert ask(kept) == b"blue"
        wait_until(lambda: followed.sock.recv(1) == b"", "the idle connection to be closed")


def test_what_is_in_flight_on_a_removed_listener_finishes(mesh, blue):
    second = free_port()
    mesh.write(config(mesh, {"web": mesh.port, "second": second}, blue))
    mesh.start()
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", second)) as connection:
        connection.request("GET", "/slow/800")
        wait_until(lambda: mesh.status()["services"][0]["active"] == 1, "the request in flight")
        mesh.write(config(mesh, {"web": mesh.port}, blue))
        wait_until(lambda: not is_open(second), "the listener to go")
        response = connection.getresponse()
        assert (response.status, response.read()) == (200, b"blue")


def test_an_address_in_use_keeps_everything_as_it_was(served, blue):
    added = free_port()
    version = served.version()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        served.write(config(served, {"web": served.port, "added": added, "taken": port}, blue))
        wait_until(lambda: served.status()["problems"]["stale"], "the error")
        assert f"listener taken: cannot listen on 127.0.0.1:{port}" in served.status()["problems"]["error"]
    assert served.version() == version
    assert not is_open(added)
    assert answers(served, "blue")
    served.send_signal(signal.SIGHUP)
    wait_until(lambda: is_open(added) and is_open(port), "the listeners, now that the address is free")


def test_the_admin_api_can_move(served):
    old, new = served.admin_address, free_port()
    text = (served.directory / "mesh.yaml").read_text()
    served.write(text.replace(old, f"127.0.0.1:{new}"))
    wait_until(lambda: is_open(new), "the admin API to move")
    assert fetch(f"127.0.0.1:{new}", "/readyz").status == 200
    wait_until(lambda: not is_open(served.admin_port), "the old address to close")


# ---- under load


def test_fifty_reloads_under_load_fail_no_request(mesh, blue, green):
    mesh.serve(blue.address)
    mesh.start()
    text = (mesh.directory / "mesh.yaml").read_text()
    with Load(mesh.address, clients=4) as kept, Load(mesh.address, clients=2, new_connections=True) as fresh:
        for number in range(50):
            version = mesh.version()
            upstream = green if number % 2 == 0 else blue
            mesh.write(f"{text.replace(blue.address, upstream.address)}# {number}\n")
            wait_until(lambda version=version: mesh.version() != version, "the new version")
        kept.more(20)
        fresh.more(20)
    assert kept.failures == fresh.failures == []
    assert set(kept.statuses) == set(fresh.statuses) == {200}
    assert blue.seen and green.seen


def test_a_request_ends_under_the_version_it_began_with(served, blue, green):
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", served.port)) as connection:
        connection.request("GET", "/slow/800")
        wait_until(lambda: served.status()["services"][0]["active"] == 1, "the request in flight")
        served.serve(green.address)
        wait_for(served, "green")
        assert connection.getresponse().read() == b"blue"
        connection.request("GET", "/")
        assert connection.getresponse().read() == b"green"


def test_counters_survive(served, green):
    for _ in range(5):
        served.get()
    served.serve(green.address)
    wait_for(served, "green")
    assert served.status()["services"][0]["requests"] > 5


def test_a_large_configuration(mesh, blue):
    """Its snapshot is larger than a socket's buffer."""
    mesh.serve(blue.address)
    mesh.start()
    routes = "".join(f"  r{n}: {{match: {{path: {{exact: /r{n}}}}}, to: hello}}\n" for n in range(3000))
    mesh.write(f"routes:\n{routes}", "many.yaml")
    wait_until(lambda: mesh.status()["routes_total"] == 3001, "the routes")
    assert mesh.get("/r2999").text == "blue"
