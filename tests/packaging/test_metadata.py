"""What the packaging says in two places is the same in both."""

import re
import subprocess
import tomllib
from pathlib import Path

import fastmesh

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def test_the_version_is_the_package_s() -> None:
    assert PROJECT["project"]["version"] == fastmesh.__version__


def test_the_version_is_in_the_changelog() -> None:
    first = re.search(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert first and first[1] == PROJECT["project"]["version"]


def test_the_build_group_is_what_the_build_requires() -> None:
    assert PROJECT["dependency-groups"]["build"] == PROJECT["build-system"]["requires"]


def test_every_dependency_has_a_range() -> None:
    groups = PROJECT["dependency-groups"].values()
    named = [
        *PROJECT["project"]["dependencies"],
        *(each for group in groups for each in group if isinstance(each, str)),
    ]
    assert [each for each in named if not re.search(r"~=|>=.*<|^setuptools>=", each)] == []


def test_make_lists_every_target_that_users_need() -> None:
    shown = subprocess.run(["make", "-s", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    listed = set(re.findall(r"^  make ([a-z-]+) ", shown, re.MULTILINE))
    assert listed >= {"run", "test", "check", "asan", "fuzz", "bench", "wheel", "docs", "docker-check", "clean"}
