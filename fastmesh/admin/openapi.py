"""The OpenAPI 3.1 description of the admin API, made from its table of operations."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import msgspec

from fastmesh import __version__
from fastmesh.admin import model
from fastmesh.admin.http import JSON

if TYPE_CHECKING:
    from fastmesh.admin.api import Operation

DESCRIPTION = (
    "What a running fastmesh knows, and a few things to be done to it. Calls that change something are refused when"
    " a browser makes them for another site, and under host names other than localhost and IP addresses."
)


def describe(operations: Sequence[Operation]) -> dict[str, Any]:
    """The whole description, as plain data."""
    kinds = [kind for operation in operations for kind in (operation.result, operation.body) if _is_json(kind)]
    wanted = [*kinds, model.Error]
    schemas, components = msgspec.json.schema_components(wanted, ref_template="#/components/schemas/{name}")
    # By identity: list[X] made twice is equal but types need not be hashable.
    by_kind = {repr(kind): schema for kind, schema in zip(wanted, schemas, strict=True)}
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, by_kind)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "fastmesh admin API",
            "version": __version__,
            "description": DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {"schemas": components},
    }


def _is_json(kind: Any) -> bool:
    return kind is not None and not isinstance(kind, str)


def _operation(operation: Operation, schemas: dict[str, Any]) -> dict[str, Any]:
    result = (
        {JSON: {"schema": schemas[repr(operation.result)]}} if _is_json(operation.result) else {operation.result: {}}
    )
    error = {JSON: {"schema": schemas[repr(model.Error)]}}
    responses = {str(status): _response(status, result) for status in operation.statuses}
    responses |= {str(status): _response(status, error) for status in (*operation.errors, 403)}
    described: dict[str, Any] = {
        "operationId": operation.answer.__name__,
        "summary": operation.summary,
        "responses": responses,
    }
    names = [part[1:-1] for part in operation.path.split("/") if part.startswith("{")]
    if names:
        described["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names
        ]
    if operation.body is not None:
        content = {JSON: {"schema": schemas[repr(operation.body)]}}
        described["requestBody"] = {"required": True, "content": content}
    return described


def _response(status: int, content: dict[str, Any]) -> dict[str, Any]:
    return {"description": HTTPStatus(status).phrase, "content": content}
