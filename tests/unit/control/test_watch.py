"""Whatever way files change, it is noticed; whatever changes nothing may be."""

import asyncio
import os

import pytest

from fastmesh.control import watch


@pytest.fixture
def directory(tmp_path):
    directory = tmp_path / "config"
    directory.mkdir()
    (directory / "a.yaml").write_text("a: 1\n")
    return directory


def noticed(directory, change, timeout_s: float = 8.0) -> bool:
    """Whether the watch of a directory says something after `change`."""

    async def main() -> bool:
        changes = watch.changes(directory)
        await anext(changes)
        first = asyncio.ensure_future(anext(changes))
        await asyncio.sleep(0.05)
        assert not first.done()
        change()
        try:
            await asyncio.wait_for(first, timeout_s)
        except TimeoutError:
            return False
        finally:
            await changes.aclose()
        return True

    return asyncio.run(main())


def test_a_file_written_in_place(directory):
    assert noticed(directory, lambda: (directory / "a.yaml").write_text("a: 2\n"))


def test_a_file_renamed_over_another(directory):
    def change() -> None:
        (directory / ".a.yaml.swp").write_text("a: 2\n")
        (directory / ".a.yaml.swp").rename(directory / "a.yaml")

    assert noticed(directory, change)


def test_a_new_file_and_a_removed_one(directory):
    assert noticed(directory, lambda: (directory / "b.yaml").write_text("b: 1\n"))
    assert noticed(directory, (directory / "b.yaml").unlink)


def test_a_swap_as_kubernetes_does_it(directory):
    for version in ("1", "2"):
        (directory / f"..{version}").mkdir()
        (directory / f"..{version}" / "k.yaml").write_text(f"k: {version}\n")
    (directory / "..data").symlink_to("..1")
    (directory / "k.yaml").symlink_to("..data/k.yaml")

    def change() -> None:
        (directory / "..data_tmp").symlink_to("..2")
        (directory / "..data_tmp").rename(directory / "..data")

    assert noticed(directory, change)


def test_a_change_behind_a_symlink_that_leads_elsewhere(directory, tmp_path, monkeypatch):
    monkeypatch.setattr(watch, "POLL_INTERVAL_S", 0.05)
    elsewhere = tmp_path / "elsewhere.yaml"
    elsewhere.write_text("e: 1\n")
    (directory / "e.yaml").symlink_to(elsewhere)
    assert noticed(directory, lambda: elsewhere.write_text("e: 2\n"))


def test_a_directory_that_is_itself_swapped(directory, tmp_path, monkeypatch):
    monkeypatch.setattr(watch, "POLL_INTERVAL_S", 0.05)
    other = tmp_path / "other"
    other.mkdir()
    (other / "a.yaml").write_text("a: 2\n")
    current = tmp_path / "current"
    current.symlink_to(directory)

    def change() -> None:
        (tmp_path / "next").symlink_to(other)
        (tmp_path / "next").rename(current)

    assert noticed(current, change)


def test_a_change_and_its_reverse_are_both_noticed(directory):
    """However little time lies between them: the directory may be loaded after the first and before the other."""

    async def main() -> None:
        changes = watch.changes(directory)
        await anext(changes)
        (directory / "a.yaml").write_text("a: 2\n")
        (directory / "a.yaml").write_text("a: 1\n")
        await asyncio.wait_for(anext(changes), 2)
        await changes.aclose()

    asyncio.run(main())


def test_a_directory_that_comes_later(directory, monkeypatch):
    monkeypatch.setattr(watch, "POLL_INTERVAL_S", 0.05)
    directory.rename(directory.with_name("away"))
    assert noticed(directory, lambda: directory.with_name("away").rename(directory))


def test_no_descriptor_is_left(directory):
    before = len(os.listdir("/proc/self/fd"))
    assert noticed(directory, lambda: (directory / "a.yaml").write_text("a: 2\n"))
    assert len(os.listdir("/proc/self/fd")) == before


def test_nothing_is_said_when_nothing_changes(directory, monkeypatch):
    monkeypatch.setattr(watch, "POLL_INTERVAL_S", 0.05)
    assert not noticed(directory, lambda: None, timeout_s=0.5)


def test_fingerprint_tells_names_and_contents_apart(directory):
    prints = {watch.fingerprint(directory)}
    for change in (
        lambda: (directory / "a.yaml").write_text("a: 2\n"),
        lambda: (directory / "a.yaml").rename(directory / "c.yml"),
        lambda: (directory / "b.yaml").symlink_to("nowhere"),
        lambda: (directory / "b.yaml").unlink() or os.rename(directory / "c.yml", directory / "d.yaml"),
    ):
        change()
        prints.add(watch.fingerprint(directory))
    assert len(prints) == 5
    (directory / "notes.txt").write_text("no configuration")
    assert watch.fingerprint(directory) in prints
    assert watch.fingerprint(directory / "missing") == ""
