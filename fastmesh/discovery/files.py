"""Endpoints in files that other tools write: lists of endpoints, or of groups in the form of Prometheus' `file_sd`.

    [{"address": "10.0.0.5:8080", "labels": {"zone": "a"}, "weight": 2}, "10.0.0.6:8080"]
    [{"targets": ["10.0.0.5:8080", "10.0.0.6:8080"], "labels": {"zone": "a"}}]

JSON is read as the YAML that it is too, so that a problem has its line and column.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, NamedTuple

import yaml
from msgspec import Meta

from fastmesh.config import Endpoint, Problem
from fastmesh.config.decode import StructReader
from fastmesh.config.document import NotYaml, compose, hazards
from fastmesh.config.fields import Mapping
from fastmesh.config.problem import InvalidText
from fastmesh.config.reading import FAILED, Node, Reading, describe
from fastmesh.config.scalars import EndpointAddress, Text
from fastmesh.config.words import read_label
from fastmesh.discovery.directory import Listing, Stamp, read_file

EXPECTED = "a list of endpoints, or of {targets: [...], labels: {...}}"


class Group(Mapping, frozen=True):
    """Endpoints that share their labels, as Prometheus has them."""

    targets: Annotated[list[EndpointAddress], Meta(description="Addresses, each with its port.")]
    labels: Annotated[dict[Text, Text], Meta(description="Of all of them.")] = {}


_endpoint, _group = StructReader(Endpoint), StructReader(Group)


class _File(NamedTuple):
    stamp: Stamp
    endpoints: tuple[Endpoint, ...]  # the last good ones
    errors: tuple[str, ...]  # of its content now; empty: it is good


class FoundInFiles:
    """The endpoints of all files of a directory that match a pattern."""

    def __init__(self, directory: Path, pattern: str) -> None:
        self._directory = directory
        self._pattern = pattern
        self._files: dict[str, _File] = {}
        self._error = ""  # of the directory

    def look(self, listing: Listing) -> None:
        """Read what is new in the directory. What cannot be read or is wrong keeps its last good content."""
        self._error = listing.error
        if listing.error:
            return
        before = self._files
        self._files = {
            name: known if (known := before.get(name)) and known.stamp == stamp else self._read(name, stamp, known)
            for name, stamp in listing.files.items()
            if fnmatchcase(name, self._pattern)
        }

    def _read(self, name: str, stamp: Stamp, known: _File | None) -> _File:
        path = self._directory / name
        try:
            endpoints, problems = read_endpoints(read_file(path))
            errors = tuple(str(problem.placed(str(path), 0)) for problem in problems)
        except OSError as error:
            endpoints, errors = (), (f"{path}: the file cannot be read: {(error.strerror or str(error)).lower()}",)
        if errors:
            endpoints = known.endpoints if known else ()
        return _File(stamp, endpoints, errors)

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Of all files, in the order of their names."""
        return tuple(endpoint for file in self._files.values() for endpoint in file.endpoints)

    @property
    def errors(self) -> tuple[str, ...]:
        """What is wrong now."""
        return (self._error,) if self._error else tuple(e for file in self._files.values() for e in file.errors)


def read_endpoints(content: bytes) -> tuple[tuple[Endpoint, ...], tuple[Problem, ...]]:
    """The endpoints of a file, or its problems, all of them."""
    try:
        text = content.decode("utf-8-sig")
        root = compose(text)
    except UnicodeDecodeError as error:
        return (), (Problem("", content.count(b"\n", 0, error.start) + 1, 1, "not UTF-8"),)
    except NotYaml as error:
        return (), (error.problem,)
    if root is None:
        return (), (Problem("", 0, 0, "the file is empty", expected=EXPECTED, hint="write [] for none"),)
    reading = Reading()
    reading.problems += hazards(root, text)
    if not isinstance(root, yaml.SequenceNode):
        reading.problem(root, f"found {describe(root)}", expected=EXPECTED)
    if reading.problems:
        return (), tuple(reading.problems)
    endpoints = [endpoint for index, node in enumerate(root.value) for endpoint in _item(node, index, reading)]
    return tuple(endpoints), tuple(reading.problems)


def _item(node: Node, index: int, reading: Reading) -> list[Endpoint]:
    """One endpoint, or those of a group."""
    addresses = _value(node, "targets")
    if addresses is None:
        endpoint = _endpoint.read(node, (index,), reading)
        return [] if endpoint is FAILED else [endpoint]
    if isinstance(addresses, yaml.SequenceNode) and not addresses.value:
        return []  # a group that has nobody just now
    group = _group.read(node, (index,), reading)
    if group is FAILED:
        return []
    labels = {name: value for name, value in group.labels.items() if _is_label(name, value)}
    return [Endpoint(address, labels) for address in group.targets]


def _value(node: Node, key: str) -> Node | None:
    pairs = node.value if isinstance(node, yaml.MappingNode) else ()
    return next((value for name, value in pairs if isinstance(name, yaml.ScalarNode) and name.value == key), None)


def _is_label(name: str, value: str) -> bool:
    """Prometheus' own (`__meta_...`) and texts that no subset could be written with are not labels here."""
    try:
        return not name.startswith("__") and bool(read_label(name) and read_label(value))
    except InvalidText:
        return False
