"""What several tests of the configuration need: a mesh, and ids to compile it with."""

from __future__ import annotations

from typing import Any

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
