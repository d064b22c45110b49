"""From a configuration to a snapshot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fastmesh import snapshot as compiled
from fastmesh.config import CompileCache, Config, Endpoint, LoadCache, compile_snapshot, load, names_to_resolve
from tests.unit.config.samples import MESH, CountingIds

Write = Callable[..., Path]
RESOLVED = {"hello.internal": ("10.0.0.1", "fd00::1")}


def config_of(directory: Path, cache: LoadCache | None = None) -> Config:
    result = load(directory, cache or LoadCache())
    assert result.config is not None, result.problems
    return result.config


def test_names_are_resolved_by_the_caller(write: Write, ids: CountingIds) -> None:
    config = config_of(write(a_yaml=MESH))
    assert names_to_resolve(config) == {"hello.internal"}
    unresolved = compile_snapshot(config, "v", ids, {}).services[0].endpoints
    resolved = compile_snapshot(config, "v", ids, RESOLVED).services[0].endpoints
    assert [(each.host, each.port) for each in unresolved] == [("127.0.0.1", 9001)]
    assert [(each.host, each.port) for each in resolved] == [("127.0.0.1", 9001), ("10.0.0.1", 9002), ("fd00::1", 9002)]
    assert resolved[0].id == unresolved[0].id


def test_names_that_lead_to_one_address_are_one_endpoint(write: Write, ids: CountingIds) -> None:
    text = MESH.replace("[127.0.0.1:9003]", '["a.internal:80", "b.internal:80", "10.0.0.9:80"]')
    same = {"a.internal": ("10.0.0.9",), "b.internal": ("10.0.0.9", "10.0.0.8")}
    endpoints = compile_snapshot(config_of(write(a_yaml=text)), "v", ids, same).services[1].endpoints
    assert [each.host for each in endpoints] == ["10.0.0.9", "10.0.0.8"]


def test_ids_are_asked_for_by_kind_and_name(write: Write, ids: CountingIds) -> None:
    snapshot = compile_snapshot(config_of(write(a_yaml=MESH)), "v", ids, RESOLVED)
    assert set(ids.ids) == {
        ("listener", "web"),
        ("service", "hello"),
        ("service", "other"),
        ("route", "hello"),
        ("route", "other"),
        ("limit", "route/other"),
        ("endpoint", ("hello", "127.0.0.1:9001")),
        ("endpoint", ("hello", "10.0.0.1:9002")),
        ("endpoint", ("hello", "[fd00::1]:9002")),
        ("endpoint", ("other", "127.0.0.1:9003")),
        ("series", ("web", "", "", "")),
        ("series", ("web", "hello", "hello", "version=v2")),
        ("series", ("web", "other", "other", "")),
    }
    assert snapshot.version == "v"
    assert compiled.decode(compiled.encode(snapshot)) == snapshot


def test_what_is_the_same_is_not_made_again(write: Write, ids: CountingIds) -> None:
    files, cache = LoadCache(), CompileCache()
    before = compile_snapshot(config_of(write(a_yaml=MESH), files), "1", ids, RESOLVED, cache)
    changed = MESH.replace("/other", "/elsewhere")
    after = compile_snapshot(config_of(write(a_yaml=changed), files), "2", ids, RESOLVED, cache)
    assert after.routes[0] is before.routes[0]
    assert after.services[0] is before.services[0]
    assert after.routes[1].path == "/elsewhere"


def test_indexes_follow_when_things_come_and_go(write: Write, ids: CountingIds) -> None:
    files, cache = LoadCache(), CompileCache()
    compile_snapshot(config_of(write(a_yaml=MESH), files), "1", ids, RESOLVED, cache)
    more = (
        MESH.replace("services:\n", "services:\n  new: {endpoints: [127.0.0.1:1]}\n")
        .replace("routes:\n", "routes:\n  new: {match: {methods: [GET]}, to: new, rate_limit: {rate: 2/s}}\n")
        .replace("{web: 127.0.0.1:8080}", "{first: 127.0.0.1:1, web: 127.0.0.1:8080}")
    )
    config = config_of(write(a_yaml=more), files)
    cached = compile_snapshot(config, "2", ids, RESOLVED, cache)
    assert cached == compile_snapshot(config, "2", ids, RESOLVED)
    assert cached.routes[2].destinations[0].service_index == 2
    assert cached.limits[cached.routes[2].limit_index].name == "route/other"
    assert cached.routes[2].listener_indexes == (0, 1)


def test_a_cache_of_another_registry_is_not_used(write: Write) -> None:
    cache, config = CompileCache(), config_of(write(a_yaml=MESH))
    first, second = CountingIds(), CountingIds()
    second.id_of("route", "something else")
    before = compile_snapshot(config, "v", first, RESOLVED, cache)
    after = compile_snapshot(config, "v", second, RESOLVED, cache)
    assert [route.id for route in after.routes] != [route.id for route in before.routes]


def test_an_empty_mesh(write: Write, ids: CountingIds) -> None:
    snapshot = compile_snapshot(config_of(write(a_yaml="admin: {address: 127.0.0.1:9900}\nroutes: {}\n")), "v", ids, {})
    assert snapshot == compiled.Snapshot("v", (), (), (), ())


def test_what_sources_found_comes_after_what_is_written(write: Write, ids: CountingIds) -> None:
    text = MESH.replace("{endpoints: [127.0.0.1:9003]}", "{endpoints: [127.0.0.1:9003], discover: registry}")
    config, cache = config_of(write(a_yaml=text)), CompileCache()
    found = {"other": (Endpoint("10.0.0.5:80", {"zone": "a"}, 3), Endpoint("127.0.0.1:9003", {}, 7))}
    first = compile_snapshot(config, "v", ids, RESOLVED, cache, found=found).services[1]
    assert [(each.host, each.port, each.weight, each.labels) for each in first.endpoints] == [
        ("127.0.0.1", 9003, 1, ()),
        ("10.0.0.5", 80, 3, (("zone", "a"),)),
    ]
    assert compile_snapshot(config, "v", ids, RESOLVED, cache, found=dict(found)).services[1] is first
    assert len(compile_snapshot(config, "v", ids, RESOLVED, cache).services[1].endpoints) == 1


def test_a_service_without_endpoints_may_have_sources(write: Write, ids: CountingIds) -> None:
    text = MESH.replace("{endpoints: [127.0.0.1:9003]}", "{discover: {files: places/*.json}}")
    text = text.replace("to: other,", "to: {service: other, subset: {zone: a}},")
    result = load(write(a_yaml=text), LoadCache())
    assert result.problems == ()
    assert result.config is not None
    assert compile_snapshot(result.config, "v", ids, {}).services[1].endpoints == ()
