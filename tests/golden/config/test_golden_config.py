"""Golden files: a configuration and its snapshot; a bad one and the exact text of every problem in it.

A bad file ends in comments that begin with `#>`: the problems, one a line, without the name of the file. After a wanted
change, `python -m tests.golden.config.test_golden_config` writes them all anew; read the difference before you keep it.
"""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fastmesh.config import LoadCache, compile_snapshot, load
from tests import pems
from tests.unit.config.samples import CountingIds

HERE = Path(__file__).parent
BAD = sorted((HERE / "bad").glob("*.yaml"))
GOOD = sorted((HERE / "good").glob("*.yaml"))
MARK = "#> "
_DATE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC")
RESOLVED = {"hello.internal": ("10.0.0.1", "10.0.0.2"), "six.internal": ("fd00::1",)}


def problems_of(text: str, directory: Path) -> list[str]:
    (directory / "mesh.yaml").write_text(text)
    pems.write_all(directory / "certs")
    result = load(directory, LoadCache())
    assert (result.config is None) == bool(result.errors)
    return [_DATE.sub("DATE", str(problem).replace(f"{directory}/mesh.yaml:", "")) for problem in result.problems]


def expected_of(path: Path) -> list[str]:
    return [line.removeprefix(MARK) for line in path.read_text().splitlines() if line.startswith(MARK)]


def input_of(path: Path) -> str:
    return path.read_text().split(MARK)[0]


def snapshot_of(path: Path, directory: Path) -> Any:
    (directory / "mesh.yaml").write_text(path.read_text())
    pems.write_all(directory / "certs")
    result = load(directory, LoadCache())
    assert result.problems == ()
    assert result.config is not None
    return plain(compile_snapshot(result.config, "golden", CountingIds(), RESOLVED, certificates=result.certificates))


def plain(value: Any) -> Any:
    """Structs as mappings with names, so that a golden file can be read."""
    if isinstance(value, msgspec.Struct):
        return {name: plain(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, tuple):
        return [plain(part) for part in value]
    if isinstance(value, bytes):
        return [f"PEM: {label}" for label in re.findall("BEGIN ([A-Z ]+)", value.decode())]
    return getattr(value, "name", value)


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_problems(path: Path, tmp_path: Path) -> None:
    expected = expected_of(path)
    assert expected, "a bad file says what is wrong with it"
    assert problems_of(input_of(path), tmp_path) == expected


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_snapshot(path: Path, tmp_path: Path) -> None:
    assert snapshot_of(path, tmp_path) == json.loads(path.with_suffix(".json").read_text())


def rewrite() -> None:
    with tempfile.TemporaryDirectory() as directory:
        for path in BAD:
            text = input_of(path)
            lines = "".join(f"{MARK}{problem}\n" for problem in problems_of(text, Path(directory)))
            path.write_text(text + lines)
        for path in GOOD:
            path.with_suffix(".json").write_text(json.dumps(snapshot_of(path, Path(directory)), indent=1) + "\n")


if __name__ == "__main__":
    rewrite()
