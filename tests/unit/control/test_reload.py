"""From the directory to the state: what was applied, what was refused and why."""

import asyncio
import time

import pytest

from fastmesh.config import LoadResult
from fastmesh.control.history import Outcome
from fastmesh.control.reload import Reloader
from fastmesh.control.sockets import BindError
from fastmesh.control.state import State
from tests import pems
from tests.unit.control.parts import snapshot

GOOD = (
    "listeners:\n  web: 127.0.0.1:8080\n"
    "services:\n  hello: {endpoints: [127.0.0.1:9001]}\n"
    "routes:\n  all: {to: hello}\n"
)
BETTER = GOOD.replace("9001", "9002")
WARNED = GOOD.replace("routes:", "  unused: {endpoints: [127.0.0.1:9003]}\nroutes:")
BAD = GOOD.replace("to: hello", "to: helo")


SECURE = GOOD.replace(
    "127.0.0.1:8080", "{address: 127.0.0.1:8080, tls: {certificates: {certificate: ../web.crt, key: ../web.key}}}"
)


class Scene:
    def __init__(self, directory) -> None:
        self.file = directory / "mesh.yaml"
        self.state = State(str(directory), 1)
        self.applied: list[str] = []
        self.taken = False
        self.reloader = Reloader(directory, self.state, self.apply)

    async def apply(self, result: LoadResult) -> None:
        if self.taken:
            raise BindError("listener web: cannot listen on 127.0.0.1:8080: the address is in use")
        self.applied.append(result.digest)
        self.state.snapshot = snapshot(result.digest)

    def load(self, text: str | None = None, forced: bool = True) -> Outcome:
        if text is not None:
            self.file.write_text(text)
        return asyncio.run(self.reloader.reload(forced=forced)).outcome


@pytest.fixture
def scene(tmp_path):
    return Scene(tmp_path)


def test_a_good_directory_is_applied_with_its_sources(scene):
    assert scene.load(GOOD) is Outcome.APPLIED
    assert scene.applied == [scene.state.version]
    assert scene.state.sources == {"mesh.yaml": GOOD}
    assert not scene.state.stale


def test_warnings_are_kept_with_what_is_served(scene):
    scene.load(WARNED)
    assert [warning.message for warning in scene.state.warnings] != []
    scene.load(GOOD)
    assert scene.state.warnings == ()


def test_errors_keep_the_last_good_version_and_are_shown(scene):
    scene.load(GOOD)
    version = scene.state.version
    assert scene.load(BAD) is Outcome.INVALID
    assert scene.state.version == version
    assert scene.state.sources == {"mesh.yaml": GOOD}
    assert scene.state.stale
    assert [problem.line for problem in scene.state.problems] == [6]
    assert scene.state.history.last.problems == scene.state.problems
    assert scene.load(BETTER) is Outcome.APPLIED
    assert not scene.state.stale
    assert scene.state.version != version


def test_going_back_to_what_is_served_clears_the_errors(scene):
    scene.load(GOOD)
    scene.load(BAD, forced=False)
    assert scene.load(GOOD, forced=False) is Outcome.UNCHANGED
    assert not scene.state.stale
    assert [attempt.outcome for attempt in scene.state.history] == [Outcome.UNCHANGED, Outcome.INVALID, Outcome.APPLIED]
    assert len(scene.applied) == 1


def test_an_address_in_use_keeps_the_last_good_version(scene):
    scene.load(GOOD)
    scene.taken = True
    assert scene.load(BETTER) is Outcome.UNBOUND
    assert scene.state.stale
    assert "in use" in scene.state.error
    assert scene.state.sources == {"mesh.yaml": GOOD}
    scene.taken = False
    assert scene.load(forced=False) is Outcome.APPLIED
    assert not scene.state.stale


def test_what_the_watcher_sees_twice_is_remembered_once(scene):
    scene.load(GOOD)
    for _ in range(3):
        scene.load(BAD, forced=False)
        scene.load(forced=False)
    assert scene.state.history.counts[Outcome.INVALID] == 1
    scene.load(GOOD, forced=False)
    scene.load(forced=False)
    assert scene.state.history.counts[Outcome.UNCHANGED] == 1


def test_who_asks_gets_an_answer_each_time(scene):
    scene.load(GOOD)
    scene.load()
    scene.load()
    assert scene.state.history.counts[Outcome.UNCHANGED] == 2


def test_a_directory_that_is_gone_keeps_the_last_good_version(scene):
    scene.load(GOOD)
    scene.file.unlink()
    scene.file.parent.rmdir()
    assert scene.load() is Outcome.INVALID
    assert len(scene.applied) == 1


@pytest.fixture
def certificates(scene, tmp_path):
    """Where the certificate of SECURE lies: outside of the directory."""
    scene.file = tmp_path / "config" / "mesh.yaml"
    scene.file.parent.mkdir()
    scene.reloader = Reloader(scene.file.parent, scene.state, scene.apply)
    pems.write_pair(tmp_path, "web", 0)
    return tmp_path


def test_a_new_certificate_is_a_new_version(scene, certificates):
    assert scene.load(SECURE) is Outcome.APPLIED
    assert [file.names for file in scene.state.certificates] == [("web.local",)]
    pems.write_pair(certificates, "web", 1, ("new.local",))
    assert scene.load(forced=False) is Outcome.APPLIED
    assert [file.names for file in scene.state.certificates] == [("new.local",)]


def test_a_bad_pair_keeps_the_old_one(scene, certificates):
    scene.load(SECURE)
    (certificates / "web.key").write_bytes(pems.key_pem(1))
    assert scene.load(forced=False) is Outcome.INVALID
    assert "the key does not belong to the certificate" in scene.state.problems[0].message
    assert [file.names for file in scene.state.certificates] == [("web.local",)]
    (certificates / "web.crt").write_bytes(pems.certificate_pem("new.local", number=1))
    assert scene.load(forced=False) is Outcome.APPLIED
    assert not scene.state.stale
    assert len(scene.applied) == 2


def test_files_of_the_version_in_force_still_matter_while_another_is_broken(scene, certificates):
    files = {str(scene.file.parent / "../web.crt"), str(scene.file.parent / "../web.key")}
    assert scene.reloader.named_files() == []
    scene.load(SECURE)
    assert set(map(str, scene.reloader.named_files())) == files
    scene.load("listeners: [\n")
    assert set(map(str, scene.reloader.named_files())) == files
    scene.load(GOOD)
    assert scene.reloader.named_files() == []


def test_warnings_follow_the_clock(scene, certificates, monkeypatch):
    scene.load(SECURE)
    assert scene.state.warnings == ()
    now_s = time.time()
    monkeypatch.setattr(time, "time", lambda: now_s + 260 * 86_400)
    assert scene.load() is Outcome.UNCHANGED
    assert ["it expires on" in warning.message for warning in scene.state.warnings] == [True]


def test_a_certificate_and_a_key_that_come_one_after_the_other(scene, certificates):
    """As a tool that renews them writes them: the state in between is refused, the end is served."""
    scene.load(SECURE)

    async def main() -> None:
        following = asyncio.ensure_future(scene.reloader.follow())
        await asyncio.sleep(0.3)
        (certificates / "web.crt").write_bytes(pems.certificate_pem("new.local", number=1))
        while not scene.state.stale:
            await asyncio.sleep(0.01)
        assert len(scene.applied) == 1
        (certificates / "web.key").write_bytes(pems.key_pem(1))
        while scene.state.stale:
            await asyncio.sleep(0.01)
        following.cancel()

    asyncio.run(asyncio.wait_for(main(), 10))
    assert [file.names for file in scene.state.certificates] == [("new.local",)]
    assert len(scene.applied) == 2


def test_reloads_that_overlap_come_one_after_another(scene):
    scene.file.write_text(GOOD)

    async def main() -> list[Outcome]:
        attempts = await asyncio.gather(*(scene.reloader.reload() for _ in range(3)))
        return [attempt.outcome for attempt in attempts]

    assert asyncio.run(main()) == [Outcome.APPLIED, Outcome.UNCHANGED, Outcome.UNCHANGED]


def test_following_survives_a_failure_that_nobody_foresaw(scene, caplog):
    scene.load(GOOD)

    async def main() -> None:
        apply = scene.reloader._apply

        async def broken(result: LoadResult) -> None:
            scene.reloader._apply = apply
            raise RuntimeError("a bug")

        scene.reloader._apply = broken
        following = asyncio.ensure_future(scene.reloader.follow())
        await asyncio.sleep(0.05)
        scene.file.write_text(BETTER)
        while "a bug" not in caplog.text:
            await asyncio.sleep(0.01)
        scene.file.write_text(GOOD + "# third\n")
        while len(scene.applied) < 2:
            await asyncio.sleep(0.01)
        following.cancel()

    asyncio.run(asyncio.wait_for(main(), 10))
