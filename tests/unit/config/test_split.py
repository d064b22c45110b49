"""Which texts are cut, and where."""

from __future__ import annotations

import pytest

from fastmesh.config.split import Run, split


def test_pieces() -> None:
    text = "# mesh\n\nadmin: {a: b}\n# more\nroutes: # of ours\n\n  a:\n    to: b\n  # c\n  c: {to: d}\nlog: {}"
    assert split(text) == [
        Run(2, "", []),
        Run(0, "", ["admin: {a: b}\n# more\n"]),
        Run(2, "routes", ["  a:\n    to: b\n  # c\n", "  c: {to: d}\n"]),
        Run(0, "", ["log: {}"]),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# only a comment\n",
        "---\nroutes: {}\n",
        "%YAML 1.1\n---\nroutes: {}\n",
        "routes:\n",
        "routes:\n  # nothing\n",
        "routes:\n  a:\n\t  to: b\n",
        "routes:\r\n  a: {}\r\n",
        "routes:\n   a: {}\n  b: {}\n",
        "routes:\n  a: {}\nroutes:\n  b: {}\n",
        "  routes: {}\nlog: {}\n",
        '"routes":\n  a: {}\n',
        "? routes\n",
        "routes:\n  a: &a {to: b}\n",
        "routes:\n  ? a\n  : {to: b}\n",
        "- a\n",
        "a: b\u2028c: d\n",
    ],
)
def test_not_cut(text: str) -> None:
    assert split(text) is None
