"""What `fastmesh explain` and `fastmesh diff` print, to the letter.

A golden file begins with its command line. After a wanted change,
`python -m tests.golden.commands.test_golden_commands` writes them all anew; read the difference before you keep it.
"""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from fastmesh.cli.main import cli

HERE = Path(__file__).parent
GOLDEN = sorted(HERE.glob("*.txt"))


def printed(path: Path) -> str:
    """The command line of a golden file with its output of now; directories as they are written there."""
    line = path.read_text().split("\n", 1)[0]
    _, _, *arguments = shlex.split(line)
    real = [f"{HERE}/{each}" if each in ("old", "new") else each for each in arguments]
    result = CliRunner().invoke(cli, real, standalone_mode=False)
    assert result.exception is None, result.exception
    lines = [each.rstrip() for each in result.output.replace(f"{HERE}/", "").splitlines()]
    return "\n".join([line, *lines, f"exit code {result.return_value}", ""])


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_output(path: Path) -> None:
    assert printed(path) == path.read_text()


if __name__ == "__main__":
    for path in GOLDEN:
        path.write_text(printed(path))
