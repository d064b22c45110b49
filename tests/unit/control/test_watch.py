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


def noticed(directory, change, timeout_s: float = 8.0, others=()) -> bool:
    """Whether the watch of a directory, and of other files, says something after `change`."""

    async def main() -> bool:
        changes = watch.changes(directory, lambda: others)
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


@pytest.fixture
def certificate(tmp_path):
    """A file elsewhere that the configuration names."""
    (tmp_path / "certs").mkdir()
    file = tmp_path / "certs" / "web.crt"
    file.write_text("1")
    return file


@pytest.fixture
def without_polling(monkeypatch):
    """What is noticed now, the kernel told."""
    monkeypatch.setattr(watch, "POLL_INTERVAL_S", 3600)


def renamed_over(file) -> None:
    file.with_suffix(".new").write_text("2")
    file.with_suffix(".new").rename(file)


@pytest.mark.parametrize("change", [lambda file: file.write_text("2"), lambda file: file.unlink(), renamed_over])
def test_a_file_elsewhere(directory, certificate, without_polling, change):
    assert noticed(directory, lambda: change(certificate), others=[certificate])


def test_a_file_in_a_folder_below(directory, without_polling):
    (directory / "certs").mkdir()
    file = directory / "certs" / "web.crt"
    file.write_text("1")
    assert noticed(directory, lambda: file.write_text("2"), others=[file])
    assert not noticed(directory, lambda: file.write_text("3"), timeout_s=0.5)


def test_strangers_in_the_folder_of_a_file_elsewhere_are_left_alone(directory, certificate, without_polling):
    change = certificate.with_name("other.crt").write_text
    assert not noticed(directory, lambda: change("2"), timeout_s=0.5, others=[certificate])


def test_a_secret_elsewhere_is_swapped_as_kubernetes_does_it(directory, tmp_path, without_polling):
    mount = tmp_path / "mount"
    for version in ("1", "2"):
        (mount / f"..{version}").mkdir(parents=True)
        (mount / f"..{version}" / "tls.crt").write_text(version)
    (mount / "..data").symlink_to("..1")
    (mount / "tls.crt").symlink_to("..data/tls.crt")

    def change() -> None:
        (mount / "..data_tmp").symlink_to("..2")
        (mount / "..data_tmp").rename(mount / "..data")

    assert noticed(directory, change, others=[mount / "tls.crt"])


def test_a_folder_elsewhere_that_is_swapped(directory, certificate, tmp_path, without_polling):
    (tmp_path / "next").mkdir()
    (tmp_path / "next" / "web.crt").write_text("2")
    current = tmp_path / "current"
    current.symlink_to(certificate.parent)

    def change() -> None:
        (tmp_path / "link").symlink_to(tmp_path / "next")
        (tmp_path / "link").rename(current)

    assert noticed(directory, change, others=[current / "web.crt"])


def test_a_file_elsewhere_that_comes_with_its_folder(directory, tmp_path, without_polling):
    assert noticed(directory, (tmp_path / "later").mkdir, others=[tmp_path / "later" / "web.crt"])


def test_a_file_elsewhere_where_the_kernel_says_nothing(directory, certificate, monkeypatch):
    monkeypatch.setattr(watch, "POLL_INTERVAL_S", 0.05)
    monkeypatch.setattr(watch, "FOLDERS_MAX", 0)
    assert noticed(directory, lambda: certificate.write_text("2"), others=[certificate])


def test_files_that_matter_from_now_on(directory, certificate, without_polling):
    """A new version of the configuration names a file: that it is watched is itself a reason to look."""
    others = []

    async def main() -> None:
        changes = watch.changes(directory, lambda: others)
        await anext(changes)
        others.append(certificate)
        await asyncio.wait_for(anext(changes), 2)
        following = asyncio.ensure_future(anext(changes))
        await asyncio.sleep(0.05)
        certificate.write_text("2")
        await asyncio.wait_for(following, 2)
        await changes.aclose()

    asyncio.run(main())


def test_a_file_elsewhere_is_waited_for_until_it_is_closed(directory, certificate, without_polling):
    async def main() -> None:
        changes = watch.changes(directory, lambda: [certificate])
        await anext(changes)
        following = asyncio.ensure_future(anext(changes))
        await asyncio.sleep(0.05)
        with certificate.open("w") as stream:
            stream.write("half")
            stream.flush()
            await asyncio.sleep(3 * watch.SETTLE_MAX_S)
            assert not following.done()
        await asyncio.wait_for(following, 2)
        await changes.aclose()

    asyncio.run(main())


def test_no_descriptor_of_other_folders_is_left(directory, certificate):
    before = len(os.listdir("/proc/self/fd"))
    assert noticed(directory, lambda: certificate.write_text("2"), others=[certificate])
    assert len(os.listdir("/proc/self/fd")) == before


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
    other = directory.parent / "web.crt"
    prints = {watch.fingerprint(directory, [other])}
    for text in ("1", "2"):
        other.write_text(text)
        prints.add(watch.fingerprint(directory, [other]))
    assert len(prints) == 3
