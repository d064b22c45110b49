"""What an edit changes, in words; and that no field of the schema changes unsaid."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from fastmesh.config import Config, LoadCache, load
from fastmesh.config.decode import DictReader, EitherReader, ListReader, Reader, ScalarReader, StructReader
from fastmesh.config.difference import Change, all_changes, changes
from fastmesh.config.schema import NAMED_KINDS, Destination
from tests import pems

OLD = """\
admin: {address: 127.0.0.1:9900}
listeners: {web: 127.0.0.1:8080, inner: 127.0.0.1:8081}
services:
  hello:
    endpoints: [{address: "127.0.0.1:9001", labels: {version: v1}}, {address: "127.0.0.1:9002", labels: {version: v2}}]
  other: {endpoints: [127.0.0.1:9003]}
routes:
  hello:
    match: {hosts: [a.org], path: {prefix: /a}, methods: [GET], headers: {x: beta}, query: {q: {prefix: b}}}
    to: {service: hello, subset: {version: v1}}
    rate_limit: {rate: 100/s, burst: 20}
  rest: {to: other}
"""


def parsed(text: str, directory: Path) -> Config:
    (directory / "mesh.yaml").write_text(text)
    result = load(directory, LoadCache())
    assert result.config is not None, result.problems
    return result.config


@pytest.fixture
def said(tmp_path: Path) -> Any:
    """What changes when texts in the old configuration are replaced."""

    def find(*edits: str) -> list[str]:
        text = OLD
        for old, new in zip(edits[::2], edits[1::2], strict=True):
            assert old in text
            text = text.replace(old, new)
        return [str(change) for change in changes(parsed(OLD, tmp_path), parsed(text, tmp_path))]

    return find


SPLIT = "[{service: hello, subset: {version: v1}, weight: 90}, {service: hello, subset: {version: v2}, weight: 10}]"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            "inner: 127.0.0.1:8081",
            "inner: 127.0.0.1:8082",
            ["listener inner: moves from 127.0.0.1:8081 to 127.0.0.1:8082"],
        ),
        (", inner: 127.0.0.1:8081", "", ["listener inner: removed: 127.0.0.1:8081"]),
        ("8081}", '8081, v6: "[::1]:8082"}', ["listener v6: added: [::1]:8082"]),
        (
            "inner: 127.0.0.1:8081",
            "inner: {address: 127.0.0.1:8081, limits: {body: 1MiB}, timeouts: {idle: 5s}}",
            ["listener inner: limits.body is 1MiB instead of 0", "listener inner: timeouts.idle is 5s instead of 1m"],
        ),
        (
            "  other: {endpoints: [127.0.0.1:9003]}",
            "  other: {endpoints: [{address: 127.0.0.1:9004, weight: 3}], health_check: {http: /up}, balance: maglev}",
            [
                "service other: endpoint 127.0.0.1:9004 added (weight 3)",
                "service other: endpoint 127.0.0.1:9003 removed",
                "service other: balance.algorithm is maglev instead of least_request",
                "service other: health_check is {http: {path: /up}} instead of none",
            ],
        ),
        (
            '"127.0.0.1:9002", labels: {version: v2}',
            '"127.0.0.1:9002", labels: {version: v3}, weight: 0',
            [
                "service hello: endpoint 127.0.0.1:9002 has weight 0 instead of 1; it gets no new requests",
                "service hello: endpoint 127.0.0.1:9002 has version=v3 instead of version=v2",
            ],
        ),
        (
            "{service: hello, subset: {version: v1}}",
            SPLIT,
            [
                "route hello: 90% goes to hello (version=v1) instead of 100%",
                "route hello: 10% goes to hello (version=v2) instead of 0%",
            ],
        ),
        ("rest: {to: other}", "rest: {to: hello}", ["route rest: goes to hello instead of other"]),
        ("hosts: [a.org]", "hosts: [a.org, b.org]", ["route hello: takes the host b.org, too"]),
        ("hosts: [a.org], ", "", ["route hello: takes any host instead of only the host a.org"]),
        ("prefix: /a", "exact: /a", ["route hello: takes the path /a instead of /a and below"]),
        ("methods: [GET], ", "", ["route hello: takes any method instead of GET"]),
        (
            "{x: beta}",
            "{x: alpha}",
            ["route hello: takes requests if the header x is 'alpha', no longer if it is 'beta'"],
        ),
        ("{x: beta}", "{x: beta, y: {present: true}}", ["route hello: takes requests only if the header y is there"]),
        (
            ", query: {q: {prefix: b}}",
            "",
            ["route hello: takes requests whether or not the parameter q begins with 'b'"],
        ),
        (
            "burst: 20}",
            "burst: 20, key: source_address}",
            [
                "route hello: rate limit 100/s, burst 20, for each client address"
                " instead of 100/s, burst 20, for all together"
            ],
        ),
        (
            "    rate_limit: {rate: 100/s, burst: 20}\n",
            "",
            ["route hello: rate limit is no longer there (it was 100/s, burst 20, for all together)"],
        ),
        (
            "rest: {to: other}",
            "rest: {to: other, listeners: [web]}",
            ["route rest: stands on web instead of all listeners"],
        ),
        (
            "  rest: {to: other}",
            "  new: {match: {path: {exact: /n}, methods: [GET, HEAD]}, to: other}\n  rest: {to: other}",
            ["route new: added: GET or HEAD for /n, to other"],
        ),
        ("  rest: {to: other}\n", "", ["route rest: removed: requests for any path, to other"]),
        (
            "inner: 127.0.0.1:8081",
            "inner: {address: 127.0.0.1:8081, tcp: {to: other}, timeouts: {tcp_idle: 5m}}",
            [
                "listener inner: timeouts.tcp_idle is 5m instead of 1h",
                "listener inner: tcp is {to: [{service: other}]} instead of none",
            ],
        ),
        (
            "127.0.0.1:8081}",
            "127.0.0.1:8081, db: {address: 127.0.0.1:8082, tcp: {to: other}}}",
            ["listener db: added: 127.0.0.1:8082, tcp"],
        ),
        (
            "  rest: {to: other}",
            "  rest: {match: {client: {uri: {prefix: spiffe://mesh/}}}, to: other}\n"
            "  rpc: {match: {grpc: {service: shop.Orders}}, to: other}",
            [
                "route rest: takes requests only if the client's uri begins with 'spiffe://mesh/'",
                "route rpc: added: gRPC calls for /shop.Orders and below, to other",
            ],
        ),
        ("127.0.0.1:9900", "127.0.0.1:9901", ["admin: address is 127.0.0.1:9901 instead of 127.0.0.1:9900"]),
        (
            "{endpoints: [127.0.0.1:9003]}",
            "{endpoints: [127.0.0.1:9003], discover: [{srv: _http._tcp.a.org, labels: {zone: a}}, registry]}",
            [
                "service other: source srv _http._tcp.a.org added (zone=a)",
                "service other: source registry registry added",
            ],
        ),
        (
            "  other:",
            "  found: {endpoints: [10.0.0.1:80], discover: {files: a/*.json, allow_empty: true}}\n  other:",
            ["service found: added: 10.0.0.1:80, what files a/*.json finds"],
        ),
        ("admin:", "access_log: {format: json, sample: 1%}\nadmin:", ["access_log: added: {sample: 1%}"]),
        ("admin:", "drain: {timeout: 5s}\nadmin:", ["drain: timeout is 5s instead of 30s"]),
        ("admin:", "dns: {servers: [1.1.1.1]}\nadmin:", ["dns: servers is [1.1.1.1] instead of the default"]),
    ],
)
def test_in_words(said: Any, old: str, new: str, words: list[str]) -> None:
    assert said(old, new) == words


def test_sources_of_endpoints(tmp_path: Path) -> None:
    def found(*sources: str) -> Config:
        return parsed(OLD.replace("{endpoints: [127.0.0.1:9003]}", f"{{discover: [{', '.join(sources)}]}}"), tmp_path)

    old = found("{files: a/*.json, labels: {zone: a}}", "registry")
    new = found("{files: a/*.json}", "{registry: registry, allow_empty: true}")
    assert [str(change) for change in changes(old, new)] == [
        "service other: source files a/*.json puts no labels on endpoints instead of zone=a",
        "service other: source registry registry is believed when it says that there is none",
    ]
    assert [str(change) for change in changes(new, found("{files: a/*.json}"))] == [
        "service other: source registry registry removed (allow_empty)"
    ]
    assert [str(change) for change in changes(found("a", "b"), found("b", "a"))] == [
        "service other: sources that find the same address count in the order registry b, registry a"
    ]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("admin:", "# a comment\nadmin:"),
        ("prefix: /a", "prefix: /a/"),
        ("methods: [GET]", "methods: [GET, GET]"),
        ("to: other}", "to: {service: other, weight: 7}}"),
        ("version: v1}}\n", "version: v1}, weight: 5}\n"),
        ("{endpoints: [127.0.0.1:9003]}", "{endpoints: [{address: 127.0.0.1:9003, weight: 1}]}"),
    ],
)
def test_other_ways_of_writing_the_same_are_no_change(said: Any, old: str, new: str) -> None:
    assert said(old, new) == []


def test_equal_routes_that_change_places(tmp_path: Path) -> None:
    def routes(*names: str) -> Config:
        tests = {"x": "headers: {x: a}", "y": "headers: {y: a}", "z": "headers: {z: a}, hosts: [z.org]"}
        lines = "".join(f"  {name}: {{match: {{{tests[name]}}}, to: other}}\n" for name in names)
        return parsed(OLD.split("routes:")[0] + "routes:\n" + lines, tmp_path)

    found = changes(routes("x", "y", "z"), routes("y", "x", "z"))
    assert [str(change) for change in found] == ["route y: goes before x now, which is as specific"]
    assert changes(routes("x", "y", "z"), routes("x", "z", "y")) == []  # their hosts differ in precedence


def test_a_change_says_where_it_is(tmp_path: Path) -> None:
    (change,) = changes(parsed(OLD, tmp_path), parsed(OLD.replace("prefix: /a", "exact: /b"), tmp_path))
    assert change == Change("routes", "hello", "changed", "match.path", "takes the path /b instead of /a and below")


def test_renewed_files(tmp_path: Path) -> None:
    text = OLD.replace(
        "inner: 127.0.0.1:8081",
        "inner: {address: 127.0.0.1:8081, tls: {certificates: {certificate: web.crt, key: web.key}}}",
    )
    (tmp_path / "mesh.yaml").write_text(text)
    pems.write_pair(tmp_path)
    old = load(tmp_path, LoadCache())
    assert all_changes(old, old) == []
    pems.write_pair(tmp_path, number=1)
    new = load(tmp_path, LoadCache())
    (file,) = new.certificates.files
    until = datetime.fromtimestamp(file.validity.not_after_s, UTC)
    assert [str(change) for change in all_changes(old, new)] == [
        f"file web.crt: has other contents, valid until {until:%Y-%m-%d %H:%M} UTC",
        "file web.key: has other contents",
    ]


# ---- every field of the schema


SAMPLES: dict[str, tuple[Any, Any]] = {
    **dict.fromkeys(["a duration", "a size", "a rate", "a percentage", "a share", "a number"], (7, 8)),
    "true or false": (True, False),
    "statuses": ((200, 200), (204, 204)),
}


def samples(reader: Reader) -> tuple[Any, Any]:
    """Two values that differ."""
    match reader:
        case ScalarReader():
            words = reader.scalar.json_schema.get("enum")
            known = SAMPLES.get(reader.scalar.name, ("/a", "/b"))
            return (reader.scalar.read(str(words[0])), reader.scalar.read(str(words[-1]))) if words else known
        case ListReader():
            return [samples(reader.item)[0]], [samples(reader.item)[1]]
        case DictReader():
            return {"k": samples(reader.value)[0]}, {"k": samples(reader.value)[1]}
        case EitherReader():
            return samples(reader.struct)
        case StructReader():
            own = reader.required or {next(iter(reader.fields))}
            parts = {reader.fields[name][0]: samples(reader.fields[name][1]) for name in own}
            first, second = ({name: both[index] for name, both in parts.items()} for index in (0, 1))
            return reader.struct(**first), reader.struct(**second)
    raise AssertionError(reader)


def edited(reader: Reader, value: Any) -> Iterator[tuple[str, Any]]:
    """Values that differ from this one in one place, with its path; not all of them are valid."""
    match reader:
        case StructReader() if value is not None:
            for name, (attribute, inner) in reader.fields.items():
                if name in reader.struct.choices and getattr(value, attribute) is None:
                    continue  # another one is chosen
                for path, changed in edited(inner, getattr(value, attribute)):
                    yield f".{name}{path}", structs.replace(value, **{attribute: changed})
        case ListReader() if value:
            for path, item in edited(reader.item, value[0]):
                yield path, [item, *value[1:]]
        case DictReader() if value:
            for key in value:
                for path, item in edited(reader.value, value[key]):
                    yield f".{key}{path}", {**value, key: item}
        case _:
            yield "", next(each for each in samples(reader) if each != value)


def filled(reader: Reader, value: Any) -> Any:
    """With every mapping that may be left out, so that its fields are looked at as well."""
    match reader:
        case StructReader():
            value = samples(reader)[0] if value is None else value
            parts = {
                attribute: filled(inner, getattr(value, attribute))
                for name, (attribute, inner) in reader.fields.items()
                if name not in reader.struct.choices
            }
            return structs.replace(value, **parts)
        case ListReader() if value:
            return [filled(reader.item, each) for each in value]
        case DictReader() if value:
            return {key: filled(reader.value, each) for key, each in value.items()}
    return value


@pytest.mark.parametrize("with_all", [False, True])
def test_no_field_changes_unsaid(tmp_path: Path, with_all: bool) -> None:
    text = OLD.replace("{service: hello, subset: {version: v1}}", SPLIT)
    config = parsed(text.replace("[127.0.0.1:9003]", "[127.0.0.1:9003], discover: {srv: _http._tcp.a.org}"), tmp_path)
    config = filled(StructReader(Config), config) if with_all else config
    tried = 0
    for path, changed in edited(StructReader(Config), config):
        kind = path.split(".")[1]
        found = changes(config, changed)
        if path.endswith((".rest.to.weight", ".tcp.to.weight", ".tcp.sni.k.weight")):  # of the only one
            assert found == []
            continue
        assert found, path
        assert {change.kind for change in found} == {kind}, path
        assert all(change.name in path for change in found), path
        tried += 1
    assert tried > (150 if with_all else 100)
    assert {field.name for field in structs.fields(Destination)} == {"service", "subset", "weight"}, (
        "difference_words.split_changes compares what a destination has"
    )
    assert NAMED_KINDS == ("listeners", "services", "routes")
