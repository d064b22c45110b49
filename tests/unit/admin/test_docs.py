"""The documentation names every operation, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from fastmesh.admin.api import OPERATIONS

PAGE = Path(__file__).parents[3] / "docs" / "admin-api.md"


def test_operations() -> None:
    documented = re.findall(r"^\| (GET|PUT|POST) \| `([^`]+)` \|", PAGE.read_text(), re.MULTILINE)
    assert documented == [(operation.method, operation.path) for operation in OPERATIONS]
