"""Directories and files, good and bad."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fastmesh.config import LoadCache, LoadResult, Source, load
from fastmesh.config.parse import FILE_MAX_BYTES
from tests.unit.config.samples import MESH

Write = Callable[..., Path]


def problems(result: LoadResult) -> list[str]:
    return [str(problem) for problem in result.problems]


def only_problem(result: LoadResult, directory: Path) -> str:
    assert result.config is None
    (problem,) = result.problems
    return str(problem).replace(f"{directory}/", "")


def test_no_such_directory(tmp_path: Path) -> None:
    (problem,) = problems(load(tmp_path / "nowhere", LoadCache()))
    assert problem == f"{tmp_path}/nowhere: no such directory; expected a directory of *.yaml files"


def test_a_file_is_no_directory(write: Write) -> None:
    directory = write(a_yaml=MESH)
    (problem,) = problems(load(directory / "a.yaml", LoadCache()))
    assert problem == f"{directory}/a.yaml: not a directory; expected a directory of *.yaml files"


def test_a_directory_without_yaml(write: Write) -> None:
    directory = write(a_txt="x")
    (problem,) = problems(load(directory, LoadCache()))
    assert problem == f"{directory}: there is no *.yaml file in this directory; expected at least one"


def test_an_unreadable_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Any) -> list[str]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "listdir", refuse)
    (problem,) = problems(load(tmp_path, LoadCache()))
    assert "cannot be read: permission denied" in problem


def test_an_unreadable_file(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = write(a_yaml=MESH)

    def refuse(*_: Any) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    assert only_problem(load(directory, LoadCache()), directory) == "a.yaml: the file cannot be read: permission denied"


def test_a_dangling_link(write: Write) -> None:
    directory = write(a_yaml=MESH)
    (directory / "b.yaml").symlink_to("nowhere.yaml")
    assert only_problem(load(directory, LoadCache()), directory) == "b.yaml: the link leads nowhere: 'nowhere.yaml'"


def test_a_pipe_does_not_hold_up(write: Write) -> None:
    directory = write(a_yaml=MESH)
    os.mkfifo(directory / "b.yaml")
    assert (
        only_problem(load(directory, LoadCache()), directory) == "b.yaml: the file cannot be read: not a regular file"
    )


def test_a_directory_named_like_a_file(write: Write) -> None:
    directory = write(a_yaml=MESH)
    (directory / "b.yaml").mkdir()
    assert "is a directory" in only_problem(load(directory, LoadCache()), directory)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "b.yaml: the file is empty; expected one of admin, "),
        (b" \n\n", "b.yaml: the file is empty; expected one of admin, "),
        (b"a\0b", "b.yaml:1:1: a NUL byte: this is not a text; expected YAML in UTF-8"),
        (b"# \n\x7fELF\x02\0\0", "b.yaml:2:1: a NUL byte: this is not a text; expected YAML in UTF-8"),
        ("# bücher\n".encode("latin-1"), "b.yaml:1:4: not UTF-8; expected UTF-8, found the byte \\xfc; save the file"),
        ("# a\n".encode("utf-16"), "b.yaml:1:1: not UTF-8; expected UTF-8, found the byte \\xff; save the file"),
        (b"[" * 200_000 + b"]" * 200_000, "b.yaml:1:33: nested more than 32 deep"),
        (b"- " * 100_000, "b.yaml:1:65: nested more than 32 deep"),
        (b"a: " + b"{b: " * 100_000, "b.yaml:1:128: nested more than 32 deep"),
        (b"%YAML 9.9\n---\na: b\n", "b.yaml:1:1: not valid YAML: "),
        (b"---\n", "b.yaml: the file holds nothing but comments; expected one of"),
        (b"\xef\xbb\xbf", "b.yaml: the file is empty; expected one of"),
    ],
)
def test_hostile_files(write: Write, content: bytes, expected: str) -> None:
    directory = write(a_yaml=MESH, b_yaml=content)
    assert only_problem(load(directory, LoadCache()), directory).startswith(expected)


def test_a_file_that_is_too_large(write: Write) -> None:
    directory = write(a_yaml=MESH)
    with open(directory / "b.yaml", "wb") as file:
        file.truncate(FILE_MAX_BYTES + 1)
    assert only_problem(load(directory, LoadCache()), directory) == "b.yaml: the file is larger than 64 MiB; split it"


def test_a_byte_order_mark_and_windows_line_ends(write: Write) -> None:
    directory = write(a_yaml=b"\xef\xbb\xbf" + MESH.replace("\n", "\r\n").encode())
    result = load(directory, LoadCache())
    assert problems(result) == []
    assert result.sources["routes", "other"].line == 10


def test_what_is_not_read(write: Write) -> None:
    directory = write(a_yaml=MESH)
    for name in (
        ".hidden.yaml",
        ".#a.yaml",
        "#a.yaml#",
        "a.yaml~",
        "a.yaml.swp",
        ".a.yaml.swp",
        "a.yaml.bak",
        "b.json",
    ):
        (directory / name).write_text("rubbish: [")
    (directory / "sub").mkdir()
    (directory / "sub" / "c.yaml").write_text("rubbish: [")
    result = load(directory, LoadCache())
    assert result.config is not None
    assert list(result.files) == [f"{directory}/a.yaml"]


def test_a_mounted_config_map(tmp_path: Path) -> None:
    for version, port in (("..v1", 1001), ("..v2", 1002)):
        (tmp_path / version).mkdir()
        (tmp_path / version / "mesh.yaml").write_text(f"admin: {{address: 127.0.0.1:{port}}}\n")
    (tmp_path / "..data").symlink_to("..v1")
    (tmp_path / "mesh.yaml").symlink_to("..data/mesh.yaml")
    cache = LoadCache()
    addresses = []
    for version in ("..v1", "..v2"):
        (tmp_path / "..new").symlink_to(version)
        (tmp_path / "..new").rename(tmp_path / "..data")
        config = load(tmp_path, cache).config
        assert config is not None
        addresses.append(config.admin.address)
    assert addresses == ["127.0.0.1:1001", "127.0.0.1:1002"]


def test_files_are_put_together_in_the_order_of_their_names(write: Write) -> None:
    directory = write(
        b_yml="routes: {second: {to: one}}\nservices: {two: {endpoints: [127.0.0.1:2]}}\n",
        a_yaml="routes: {first: {to: two}}\nservices: {one: {endpoints: [127.0.0.1:1]}}\n",
        c_yaml="listeners: {web: 127.0.0.1:80}\nroutes: {third: {match: {methods: [GET]}, to: two}}\n",
    )
    config = load(directory, LoadCache()).config
    assert config is not None
    assert list(config.routes) == ["first", "second", "third"]
    assert list(config.services) == ["one", "two"]


def test_duplicates_in_two_files_cite_both(write: Write) -> None:
    directory = write(a_yaml=MESH, b_yaml="# again\nservices:\n  hello: {endpoints: [127.0.0.1:1]}\n")
    assert only_problem(load(directory, LoadCache()), directory) == (
        "b.yaml:3:3: services: duplicate name 'hello'; the first is at a.yaml:3:3; rename or remove one of them"
    )


def test_a_kind_without_names_stands_once(write: Write) -> None:
    directory = write(a_yaml="admin: {address: 127.0.0.1:1}\n", b_yaml="\nadmin: {address: 127.0.0.1:2}\n")
    assert only_problem(load(directory, LoadCache()), directory) == (
        "b.yaml:2:1: 'admin' is there twice; the first is at a.yaml:1:1; keep one of them"
    )


def test_all_errors_of_all_files_at_once(write: Write) -> None:
    directory = write(
        a_yaml=MESH.replace("9001", "99999").replace("to: other", "to: othr"),
        b_yaml="routes:\n  a: {to: hello, mach: {}}\n  b: {to: [}\n",
        c_yaml="",
        d_yaml="drain: {timeout: 5}\n",
    )
    places = [(Path(problem.file).name, problem.line) for problem in load(directory, LoadCache()).problems]
    assert places == [("a.yaml", 5), ("a.yaml", 10), ("b.yaml", 3), ("c.yaml", 0), ("d.yaml", 1)]


def test_sources_and_texts(write: Write) -> None:
    directory = write(a_yaml=MESH, b_yaml="# where?\nadmin:\n  address: 127.0.0.1:9900\n")
    result = load(directory, LoadCache())
    assert result.sources["services", "other"] == Source(f"{directory}/a.yaml", 7, 3)
    assert result.sources["admin", ""] == Source(f"{directory}/b.yaml", 2, 1)
    assert result.texts["a.yaml"] == MESH


def test_the_digest_is_of_names_and_contents(write: Write) -> None:
    directory = write(a_yaml=MESH)
    first = load(directory, LoadCache()).digest
    assert load(directory, LoadCache()).digest == first
    (directory / "a.yaml").rename(directory / "b.yaml")
    renamed = load(directory, LoadCache()).digest
    write(b_yaml=MESH + "# a comment\n")
    assert len({first, renamed, load(directory, LoadCache()).digest}) == 3


def test_an_edit_keeps_what_it_does_not_touch(write: Write) -> None:
    cache = LoadCache()
    before = load(write(a_yaml=MESH), cache).config
    after = load(write(a_yaml="# moved down\n" + MESH.replace("/other", "/elsewhere")), cache).config
    assert before is not None
    assert after is not None
    assert after.routes["hello"] is before.routes["hello"]
    assert after.services["hello"] is before.services["hello"]
    assert after.routes["other"] != before.routes["other"]


def test_a_half_written_file_does_not_cost_the_cache(write: Write) -> None:
    cache = LoadCache()
    before = load(write(a_yaml=MESH), cache).config
    assert load(write(a_yaml=MESH[:-9]), cache).config is None
    after = load(write(a_yaml=MESH), cache).config
    assert before is not None
    assert after is not None
    assert after.services["hello"] is before.services["hello"]


def test_lines_follow_what_is_inserted_above(write: Write) -> None:
    cache = LoadCache()
    broken = MESH.replace("rate: 1/s", "rate: 1")
    first = load(write(a_yaml=broken), cache).problems[0]
    second = load(write(a_yaml="\n# more\n" + broken), cache).problems[0]
    assert (first.line, second.line) == (10, 12)
    assert first.column == second.column


def test_problems_as_data(write: Write) -> None:
    (problem,) = load(write(a_yaml=MESH.replace("to: other", "too: other")), LoadCache()).problems
    data = problem.as_json()
    assert data["severity"] == "error"
    assert data["text"] == "too"
    assert data["expected"] == "one of listeners, match, to, rate_limit, connect"
    assert (data["line"], data["column"]) == (10, 44)
    assert data["hint"] == "did you mean 'to'?"
