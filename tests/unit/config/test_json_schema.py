"""The JSON Schema takes what the loader takes; the reference is what the schema says."""

from __future__ import annotations

import runpy
import shutil
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from fastmesh.config import LoadCache, load
from fastmesh.config.fields import Mapping
from fastmesh.config.json_schema import describe_fields, json_schema
from fastmesh.config.reference import PATH, reference
from tests import pems

ROOT = Path(__file__).parents[3]
GOOD = [*sorted((ROOT / "config").glob("*.yaml")), *sorted((ROOT / "tests/golden/config/good").glob("*.yaml"))]
STRUCTURAL = [
    "unknown_key_deep",
    "unknown_kind",
    "duration_no_unit",
    "weight_negative",
    "to_missing",
    "path_two",
    "rate_bad",
]


def violations(path: Path) -> list[Any]:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return list(jsonschema.Draft202012Validator(schema).iter_errors(yaml.safe_load(path.read_text())))


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_good_files_conform(path: Path) -> None:
    assert violations(path) == []


@pytest.mark.parametrize("name", STRUCTURAL)
def test_bad_files_do_not(name: str) -> None:
    assert violations(ROOT / "tests/golden/config/bad" / f"{name}.yaml")


def test_every_field_is_described() -> None:
    structs = [*Mapping.__subclasses__()]
    structs += [deeper for struct in structs for deeper in struct.__subclasses__()]
    assert len(structs) > 20
    for struct in structs:
        assert struct.__doc__
        for field, description in describe_fields(struct).items():
            assert description.endswith("."), f"{struct.__name__}.{field}"


def test_the_reference_is_up_to_date() -> None:
    assert PATH.read_text() == reference(), "run: python -m fastmesh.config.reference"


@pytest.mark.parametrize("number", [0, 1, 2])
def test_the_examples_in_the_reference_are_right(tmp_path: Path, number: int) -> None:
    example = reference().split("```yaml\n")[number + 1].split("```")[0]
    (tmp_path / "mesh.yaml").write_text(example)
    pems.write_all(tmp_path / "certs")
    assert load(tmp_path, LoadCache()).problems == ()


def test_the_example_mesh_is_right(tmp_path: Path) -> None:
    copy = shutil.copytree(ROOT / "config", tmp_path / "config", ignore=shutil.ignore_patterns("certs"))
    runpy.run_path(str(copy / "example/certificates.py"))["make"]()
    assert load(copy, LoadCache()).problems == ()
