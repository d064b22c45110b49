"""A directory to write configurations to, and ids to compile them with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.config.samples import CountingIds


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
