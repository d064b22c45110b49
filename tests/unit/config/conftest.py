"""A directory to write configurations to, and ids to compile them with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

MESH = """\
listeners: {web: 127.0.0.1:8080}
services:
  hello:
    endpoints:
      - {address: 127.0.0.1:9001, labels: {version: v1}}
      - {address: hello.internal:9002, labels: {version: v2}}
  other: {endpoints: [127.0.0.1:9003]}
routes:
  hello: {to: {service: hello, subset: {version: v2}}}
  other: {match: {path: {prefix: /other}}, to: other, rate_limit: {rate: 1/s}}
"""


class CountingIds:
    """Numbers in the order of asking."""

    def __init__(self) -> None:
        self.ids: dict[Any, int] = {}

    def id_of(self, kind: str, name: str | tuple[str, ...]) -> int:
        return self.ids.setdefault((kind, name), len(self.ids) + 1)


@pytest.fixture
def ids() -> CountingIds:
    return CountingIds()


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write files by name, `a_yaml=...`, and return their directory."""

    def write_files(**files: str | bytes) -> Path:
        for name, content in files.items():
            path = tmp_path / name.replace("_", ".")
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return tmp_path

    return write_files
