"""What a source offers, and what of that is put into force."""

from __future__ import annotations

import logging
import time

import pytest

from fastmesh.config import Discover, Endpoint
from fastmesh.discovery import source as sources
from fastmesh.discovery.source import Source

NONE: frozenset[str] = frozenset()
ONE = (Endpoint("10.0.0.1:80"),)
NAMED = (Endpoint("a.example:80"), Endpoint("b.example:80"))
BOTH = frozenset({"a.example", "b.example"})


def source(allow_empty: bool = False) -> Source:
    made = Source("hello", Discover(files="places/*.json", allow_empty=allow_empty))
    made.offer(ONE, ())
    assert made.settle(NONE, NONE)
    return made


def test_addresses_are_taken_at_once() -> None:
    made = source()
    assert (made.endpoints, made.errors, made.age_s(time.time() + 60)) == (ONE, (), 0.0)
    made.offer(ONE, ())
    assert not made.settle(NONE, NONE)  # nothing has changed


def test_what_is_empty_is_not_believed() -> None:
    made = source()
    made.offer((), ())
    assert not made.settle(NONE, NONE)
    assert made.endpoints == ONE
    assert made.errors == ("there is no endpoint in it",)
    assert made.age_s(time.time() + 60) == pytest.approx(60, abs=5)
    made.offer(ONE, ())
    assert (made.errors, made.age_s(time.time() + 60)) == ((), 0.0)


def test_what_is_empty_is_believed_where_it_may_be() -> None:
    made = source(allow_empty=True)
    made.offer((), ("unreadable",))
    assert not made.settle(NONE, NONE)
    made.offer((), ())
    assert made.settle(NONE, NONE)
    assert (made.endpoints, made.errors) == ((), ())


def test_errors_do_not_keep_what_is_good_back() -> None:
    made = source()
    two = (*ONE, Endpoint("10.0.0.2:80"))
    made.offer(two, ("b.json is bad",))
    assert made.settle(NONE, NONE)
    assert made.endpoints == two
    assert made.age_s(time.time() + 60) > 50


def test_a_source_that_was_never_good_grows_old_from_its_beginning() -> None:
    made = Source("hello", Discover(registry="r"))
    assert made.age_s(time.time() + 60) == pytest.approx(60, abs=5)


def test_names_are_waited_for_while_something_else_serves() -> None:
    made = source()
    made.offer(NAMED, ())
    assert made.names == BOTH
    assert not made.settle(NONE, NONE)
    assert not made.settle(frozenset({"a.example"}), frozenset({"a.example"}))  # the other may yet come
    assert made.settle(BOTH, frozenset({"a.example"}))
    assert made.endpoints == NAMED


def test_names_that_lead_nowhere_do_not_replace_what_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "NAMES_WAIT_MAX_S", 0.0)
    made = source()
    made.offer(NAMED, ())
    assert not made.settle(BOTH, NONE)
    assert made.endpoints == ONE
    assert made.settle(BOTH, BOTH)


def test_names_are_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    made = source()
    made.offer((*NAMED, *ONE), ())
    assert not made.settle(NONE, NONE)
    monkeypatch.setattr(sources, "NAMES_WAIT_MAX_S", 0.0)
    assert made.settle(NONE, NONE)


def test_where_nothing_serves_names_are_taken_at_once() -> None:
    made = Source("hello", Discover(srv="_http._tcp.hello.example"))
    made.offer(NAMED, ())
    assert made.settle(NONE, NONE)
    assert (made.kind, made.place) == ("srv", "_http._tcp.hello.example")


def test_an_error_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "fastmesh.discovery.source")
    made = source()
    caplog.clear()
    for _ in range(3):
        made.offer((), ("a.json is bad",))
    made.offer(ONE, ())
    assert [record.message for record in caplog.records] == [
        "service hello: files places/*.json: a.json is bad; keeping the last 1 endpoint(s)",
        "service hello: files places/*.json: good again",
    ]
