"""The OpenAPI description: valid in itself, and true of every answer."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from fastmesh.admin.api import OPERATIONS
from fastmesh.admin.openapi import describe
from tests.unit.admin.example import ExampleMesh
from tests.unit.admin.serving import serving_mesh
from tests.unit.admin.test_api import call


@pytest.fixture(scope="module")
def description() -> dict[str, Any]:
    return describe(OPERATIONS)


def references(node: Any) -> set[str]:
    """Every $ref in a document."""
    if isinstance(node, dict):
        own = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
        return own.union(*map(references, node.values()))
    return set().union(*map(references, node)) if isinstance(node, list) else set()


def test_every_schema_is_a_schema(description: dict[str, Any]) -> None:
    for schema in description["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_every_reference_leads_somewhere_and_every_schema_is_used(description: dict[str, Any]) -> None:
    defined = {f"#/components/schemas/{name}" for name in description["components"]["schemas"]}
    assert references(description) == defined


def test_the_form(description: dict[str, Any]) -> None:
    assert description["openapi"] == "3.1.0"
    assert {"title", "version"} <= description["info"].keys()
    seen = set()
    for path, operations in description["paths"].items():
        assert path.startswith("/")
        for method, operation in operations.items():
            assert method in {"get", "put", "post"}
            seen.add(operation["operationId"])
            named = {parameter["name"] for parameter in operation.get("parameters", [])}
            assert all(("{" + name + "}") in path for name in named)
            assert path.count("{") == len(named)
            assert all(response["description"] for response in operation["responses"].values())
    assert len(seen) == len(OPERATIONS)


def test_every_answer_is_as_described(description: dict[str, Any]) -> None:
    mesh = ExampleMesh()
    mesh.fail_to_load()
    checked = 0
    with serving_mesh(mesh) as url:
        served = call(f"{url}/openapi.json")[2]
        assert served == description
        for path, operations in served["paths"].items():
            for method, operation in operations.items():
                body = {"level": "info"} if "requestBody" in operation else None
                status, headers, answer = call(url + path.replace("{name}", "shop"), method.upper(), body)
                content = operation["responses"][str(status)]["content"]
                media = headers["content-type"]
                if media != "application/json":
                    assert media.split(";")[0] in {known.split(";")[0] for known in content}
                    continue
                schema = {**content[media]["schema"], "components": served["components"]}
                jsonschema.validate(answer, schema, jsonschema.Draft202012Validator)
                checked += 1
    assert checked == len(OPERATIONS) - 2
