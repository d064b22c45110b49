"""Files that other tools write: their forms, what is wrong in them, and what is kept meanwhile."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fastmesh.config import Endpoint
from fastmesh.discovery import directory as directories
from fastmesh.discovery.directory import list_files
from fastmesh.discovery.files import FoundInFiles, read_endpoints


def good(text: str) -> list[tuple[str, dict[str, str], int]]:
    endpoints, problems = read_endpoints(text.encode())
    assert problems == ()
    return [(each.address, each.labels, each.weight) for each in endpoints]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[]", []),
        ('["10.0.0.1:80", "a.example:81"]', [("10.0.0.1:80", {}, 1), ("a.example:81", {}, 1)]),
        ('[\n\t{"address":\t"[::1]:80", "weight": 0}\n]', [("[::1]:80", {}, 0)]),
        ("- {address: 10.0.0.1:80, labels: {zone: a}, weight: 3}\n", [("10.0.0.1:80", {"zone": "a"}, 3)]),
        ('[{"targets": ["a:1", "b:2"], "labels": {"z": "a"}}]', [("a:1", {"z": "a"}, 1), ("b:2", {"z": "a"}, 1)]),
        ("- targets: [a:1]\n- targets: []\n- b:2\n", [("a:1", {}, 1), ("b:2", {}, 1)]),
        ('[{"targets": ["a:1"], "labels": {"__m": "y", "e": "", "c": "1,2", "ok": "z"}}]', [("a:1", {"ok": "z"}, 1)]),
    ],
)  # fmt: skip
def test_forms(text: str, found: list[tuple[str, dict[str, str], int]]) -> None:
    assert good(text) == found


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "the file is empty; expected a list of endpoints, or of {targets: [...], labels: {...}}; write []"),
        (b"{}", "1:1: found a mapping; expected a list"),
        (b"[", "not valid YAML"),
        (b"\xff", "1:1: not UTF-8"),
        (b"- !!python/object/apply:os.system [x]", "tag '!!python"),
        (b"- 10.0.0.1", "1:3: [0].address: '10.0.0.1' is not an address"),
        (b"- {targets: a:1}", "[0].targets: found the text 'a:1'"),
        (b"- {targets: [a:1], labels: {zone: 1}}", "[0].labels.zone: found the number '1'"),
        (b"- {targets: [a:1], weight: 1}", "unknown key 'weight'"),
        (b"- {address: 'a:1', wieght: 1}", "unknown key 'wieght' in [0]"),
    ],
)  # fmt: skip
def test_problems(content: bytes, problem: str) -> None:
    endpoints, problems = read_endpoints(content)
    assert endpoints == ()
    assert problem in str(problems[0].placed("f", 0)), problems[0]


def test_all_problems_at_once() -> None:
    assert len(read_endpoints(b"- a\n- b\n- c:1\n")[1]) == 2


def addresses(found: FoundInFiles) -> list[str]:
    return [each.address for each in found.endpoints]


def test_what_is_wrong_keeps_its_last_good_content(tmp_path: Path) -> None:
    found = FoundInFiles(tmp_path, "*.json")
    (tmp_path / "a.json").write_text('["a:1"]')
    (tmp_path / "b.json").write_text('["b:1"]')
    (tmp_path / "c.yaml").write_text("[c:1]")  # not of the pattern
    (tmp_path / ".d.json").write_text('["d:1"]')
    found.look(list_files(tmp_path))
    assert (addresses(found), found.errors) == (["a:1", "b:1"], ())
    (tmp_path / "a.json").write_text("[}")
    (tmp_path / "b.json").write_text('["b:2", "b:3"]')
    found.look(list_files(tmp_path))
    assert addresses(found) == ["a:1", "b:2", "b:3"]
    assert str(tmp_path / "a.json:1:2") in found.errors[0]
    (tmp_path / "a.json").write_text("[]")
    (tmp_path / "b.json").unlink()
    found.look(list_files(tmp_path))
    assert (addresses(found), found.errors) == ([], ())


def test_a_directory_that_cannot_be_listed_takes_nothing_away(tmp_path: Path) -> None:
    directory = tmp_path / "d"
    directory.mkdir()
    (directory / "a.json").write_text('["a:1"]')
    found = FoundInFiles(directory, "a.json")
    found.look(list_files(directory))
    (directory / "a.json").unlink()
    directory.rmdir()
    found.look(list_files(directory))
    assert addresses(found) == ["a:1"]
    assert found.errors == (f"{directory}: no such directory",)


def test_what_has_not_changed_is_not_read_again(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('["a:1"]')
    found = FoundInFiles(tmp_path, "*.json")
    found.look(list_files(tmp_path))
    before = found.endpoints[0]
    found.look(list_files(tmp_path))
    assert found.endpoints[0] is before
    assert isinstance(before, Endpoint)


def test_what_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directories, "FILE_MAX_BYTES", 100)
    os.mkfifo(tmp_path / "a.json")
    (tmp_path / "b.json").symlink_to("nowhere")
    (tmp_path / "c.json").write_text("[" + " " * 100 + "]")
    found = FoundInFiles(tmp_path, "*.json")
    found.look(list_files(tmp_path))
    for part in ("a.json: the file cannot be read: not a regular file", "b.json: the file", "c.json: the file cannot"):
        assert any(part in error for error in found.errors), found.errors


def test_too_many_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directories, "FILES_MAX", 2)
    for name in "abc":
        (tmp_path / f"{name}.json").touch()
    assert "3 files; at most 2 are read" in list_files(tmp_path).error
