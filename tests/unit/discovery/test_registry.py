"""Leases: written by one, read by others whose clocks may say something else."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from fastmesh.discovery.directory import list_files
from fastmesh.discovery.registry import Registry
from fastmesh.lease import HeldLease, Lease, service_of

NOW = 1_000_000.0  # Unix time
TTL_S = 15.0


class Watched:
    """A directory, and a registry that looks at it at times that the test says."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.registry = Registry(directory)

    def write(self, name: str = "hello@10.0.0.1-80.json", written_s: float = NOW, **fields: object) -> Path:
        path = self.directory / name
        lease = {"service": "hello", "address": "10.0.0.1:80", "ttl_s": TTL_S, **fields}
        beside = path.with_name(".new")
        beside.write_bytes(msgspec.json.encode(lease))
        os.utime(beside, ns=(int(written_s * 1e9), int(written_s * 1e9)))
        beside.rename(path)
        return path

    def look(self, now_s: float) -> list[str]:
        """What is live then; Unix time is NOW at 0 of the monotonic clock."""
        self.registry.look(list_files(self.directory), now_s, NOW + now_s)
        return self.live(now_s)

    def live(self, now_s: float) -> list[str]:
        return [endpoint.address for endpoint in self.registry.endpoints("hello", now_s)]


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


def test_a_lease_runs_out_when_it_is_not_renewed(watched: Watched) -> None:
    watched.write()
    assert watched.look(0) == ["10.0.0.1:80"]
    assert watched.registry.next_end_s(0) == TTL_S
    watched.write(written_s=NOW + 5)
    assert watched.look(5) == ["10.0.0.1:80"]
    assert watched.live(5 + TTL_S - 0.1) == ["10.0.0.1:80"]
    assert watched.live(5 + TTL_S) == []
    assert watched.look(60) == []
    assert watched.registry.next_end_s(60) is None


def test_looking_again_prolongs_nothing(watched: Watched) -> None:
    watched.write()
    for now_s in range(15):
        assert watched.look(now_s) == ["10.0.0.1:80"]
    assert watched.look(15) == []


def test_an_old_lease_at_the_first_look_has_what_is_left_of_it(watched: Watched) -> None:
    watched.write(written_s=NOW - 10)
    watched.write("hello@10.0.0.2-80.json", NOW - 100, address="10.0.0.2:80")
    assert watched.look(0) == ["10.0.0.1:80"]
    assert watched.live(5) == []


@pytest.mark.parametrize("skew_s", [-86_400.0, 86_400.0])
def test_a_clock_that_differs(watched: Watched, skew_s: float) -> None:
    """Of the file system: a dead lease is believed for one time to live at most, a live one from its renewal on."""
    watched.write(written_s=NOW + skew_s)
    first = watched.look(0)
    assert first == (["10.0.0.1:80"] if skew_s > 0 else [])
    assert watched.live(TTL_S) == []
    watched.write(written_s=NOW + skew_s + 20)
    assert watched.look(20) == ["10.0.0.1:80"]
    assert watched.look(20 + TTL_S) == []


def test_what_appears_after_the_first_look_is_new(watched: Watched) -> None:
    assert watched.look(0) == []
    watched.write(written_s=NOW - 86_400)
    assert watched.look(1) == ["10.0.0.1:80"]


def test_an_unreadable_directory_lets_leases_run_out(watched: Watched) -> None:
    path = watched.write()
    assert watched.look(0) == ["10.0.0.1:80"]
    path.unlink()
    watched.directory.rmdir()
    assert watched.look(1) == ["10.0.0.1:80"]
    assert watched.registry.errors("hello") == (f"{watched.directory}: no such directory",)
    assert watched.look(TTL_S) == []


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"address": "10.0.0.1"}, "not a lease: "),
        ({"address": 7}, "not a lease: Expected `str`, got `int`"),
        ({"ttl_s": 0.1}, "not a lease: Expected `float` >= 1"),
        ({"ttl_s": 1e9}, "not a lease: "),
        ({"weight": -1}, "not a lease: "),
        ({"labels": {"a": "b,c"}}, "bad address or label"),
        ({"service": "other"}, "it is of 'other', and its name says 'hello'"),
    ],
)
def test_what_is_no_lease(watched: Watched, fields: dict[str, object], error: str) -> None:
    watched.write()
    watched.look(0)
    watched.write(written_s=NOW + 1, **fields)
    assert watched.look(1) == ["10.0.0.1:80"]  # as long as it would have held
    assert error in watched.registry.errors("hello")[0]
    assert watched.registry.errors("other") == ()
    assert watched.look(TTL_S) == []


def test_names_of_files() -> None:
    assert service_of("hello@10.0.0.1-80.json") == "hello"
    assert service_of("hello.json") == service_of("hello@x") == service_of(".hello@x.json") == ""
    assert Lease("hello", "[fd00::5]:80").file_name == "hello@fd00::5-80.json"


def test_a_lease_is_written_renewed_and_given_up(tmp_path: Path) -> None:
    held = HeldLease(tmp_path / "new" / "registry", Lease("hello", "10.0.0.1:80", 9.0, {"zone": "a"}, 2))
    held.renew()
    (path,) = (tmp_path / "new" / "registry").iterdir()
    assert path.name == "hello@10.0.0.1-80.json"
    first = msgspec.json.decode(path.read_bytes(), type=Lease)
    assert (first.address, first.labels, first.weight) == ("10.0.0.1:80", {"zone": "a"}, 2)
    held.renew()
    assert msgspec.json.decode(path.read_bytes(), type=Lease).expires_at > first.expires_at
    assert held.renewal_interval_s == 3.0
    held.give_up()
    assert list(path.parent.iterdir()) == []
    held.give_up()


def test_the_lease_of_a_successor_is_left_alone(tmp_path: Path) -> None:
    lease = Lease("hello", "10.0.0.1:80")
    old, new = HeldLease(tmp_path, lease), HeldLease(tmp_path, lease)
    old.renew()
    new.renew()
    old.give_up()
    assert [path.name for path in tmp_path.iterdir()] == [lease.file_name]


def test_leases_of_the_long_dead_are_swept(tmp_path: Path) -> None:
    for name, age_s in (("hello@10.0.0.2-80.json", 3 * 3600), ("hello@10.0.0.3-80.json", 60), ("x@y-1.json", 9e5)):
        (tmp_path / name).write_text("{}")
        when = (tmp_path / name).stat().st_mtime - age_s
        os.utime(tmp_path / name, (when, when))
    held = HeldLease(tmp_path, Lease("hello", "10.0.0.1:80"))
    held.renew()
    held.sweep()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "hello@10.0.0.1-80.json", "hello@10.0.0.3-80.json", "x@y-1.json",
    ]  # fmt: skip


def test_a_lease_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError):
        HeldLease(tmp_path / "file", Lease("hello", "10.0.0.1:80")).renew()
