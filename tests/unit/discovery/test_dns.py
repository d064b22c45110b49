"""Names followed against a real DNS server on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import dns.rcode
import pytest
import uvloop

from fastmesh.discovery import DnsDiscovery, NameState
from fastmesh.discovery import dns as followed
from fastmesh.discovery import lookup as lookups
from fastmesh.discovery.hosts import HostsFile
from fastmesh.discovery.lookup import Answer, LookupFailed
from tests.unit.discovery.dns_server import DnsServer

Changes = list[tuple[str, tuple[str, ...]]]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bounds of waiting are those of the product divided by a hundred."""
    monkeypatch.setattr(followed, "TTL_MIN_S", 0.01)
    monkeypatch.setattr(followed, "RETRY_MIN_S", 0.01)
    monkeypatch.setattr(followed, "RETRY_MAX_S", 0.3)
    monkeypatch.setattr(lookups, "LOOKUP_TIMEOUT_S", 1.0)
    monkeypatch.setattr(lookups, "has_route", lambda address: not address.startswith("2001:db8:dead:"))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.002)


def serve(
    main: Callable[[DnsServer, DnsDiscovery, Changes], Awaitable[None]], hosts: Path = Path("/nonexistent")
) -> None:
    async def started() -> None:
        server = DnsServer()
        await server.start()
        changes: Changes = []
        discovery = DnsDiscovery(
            lambda name, addresses: changes.append((name, addresses)),
            hosts=HostsFile(hosts),
        )
        discovery.use_servers(["127.0.0.1"], server.port)
        try:
            await main(server, discovery, changes)
        finally:
            await discovery.close()
            server.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(started())


def only(discovery: DnsDiscovery) -> NameState:
    (state,) = discovery.states()
    return state


def test_all_addresses_of_both_families() -> None:
    async def main(server: DnsServer, discovery: DnsDiscovery, changes: Changes) -> None:
        server.records["shop.example", "A"] = (300, ["10.0.0.2", "10.0.0.1"])
        server.records["shop.example", "AAAA"] = (60, ["2001:db8::1", "2001:db8:dead::1"])
        discovery.update(["shop.example", "10.9.9.9"])
        await discovery.first_answers(5)
        expected = ("10.0.0.1", "10.0.0.2", "2001:db8::1")
        assert changes == [("shop.example", expected)]
        assert discovery.addresses("shop.example") == expected
        assert discovery.addresses("10.9.9.9") == ("10.9.9.9",)
        assert only(discovery).ttl_s == 60

    serve(main)


def test_the_time_to_live_of_an_alias_counts() -> None:
    async def main(server: DnsServer, discovery: DnsDiscovery, changes: Changes) -> None:
        server.aliases["www.example"] = (7, "shop.example")
        server.records["shop.example", "A"] = (300, ["10.0.0.1"])
        discovery.update(["www.example"])
        await discovery.first_answers(5)
        assert only(discovery).ttl_s == 7
        assert changes == [("www.example", ("10.0.0.1",))]

    serve(main)


def test_asked_again_after_the_time_to_live_and_only_changes_told() -> None:
    async def main(server: DnsServer, discovery: DnsDiscovery, changes: Changes) -> None:
        server.records["shop.example", "A"] = (0, ["10.0.0.1"])
        discovery.update(["shop.example"])
        await until(lambda: server.questions["shop.example", "A"] > 3)
        assert len(changes) == 1
        server.records["shop.example", "A"] = (0, ["10.0.0.1", "10.0.0.2"])
        await until(lambda: len(changes) == 2)
        assert changes[1] == ("shop.example", ("10.0.0.1", "10.0.0.2"))

    serve(main)


def test_a_long_time_to_live_is_not_asked_again() -> None:
    async def main(server: DnsServer, discovery: DnsDiscovery, changes: Changes) -> None:
        server.records["shop.example", "A"] = (1_000_000, ["10.0.0.1"])
        server.records["other.example", "A"] = (0, ["10.0.0.1"])
        discovery.update(["shop.example", "other.example"])
        await until(lambda: server.questions["other.example", "A"] > 5)
        assert server.questions["shop.example", "A"] == 1
        assert discovery.states()[1].ttl_s == 3600

    serve(main)


@pytest.mark.parametrize("failure", ["nxdomain", "servfail", "empty", "unreachable"])
def test_a_failed_look_up_keeps_the_last_answer(failure: str) -> None:
    async def main(server: DnsServer, discovery: DnsDiscovery, changes: Changes) -> None:
        server.records["shop.example", "A"] = (0, ["10.0.0.1"])
        discovery.update(["shop.example"])
        await until(lambda: bool(changes))
        answered_at = only(discovery).answered_at
        match failure:
            case "nxdomain":
                server.records.clear()
            case "servfail":
                server.rcodes["shop.example"] = dns.rcode.SERVFAIL
            case "empty":
                server.records["shop.example", "A"] = (0, [])
            case "unreachable":
                server.records["shop.example", "A"] = (0, [])
                server.records["shop.example", "AAAA"] = (0, ["2001:db8:dead::1"])
        await until(lambda: only(discovery).consecutive_failures >= 2)
        state = only(discovery)
        assert state.addresses == ("10.0.0.1",)
        assert state.error
        assert state.answered_at >= answered_at
        assert len(changes) == 1
        server.rcodes.clear()
        server.records = {("shop.example", "A"): (0, ["10.0.0.9"])}
        await until(lambda: len(changes) == 2)
        assert (state.error, state.consecutive_failures) == ("", 0)
        assert discovery.addresses("shop.example") == ("10.0.0.9",)

    serve(main)


def test_a_name_that_never_had_an_answer() -> None:
    async def main(server: DnsServer, discovery: DnsDiscovery, changes: Changes) -> None:
        discovery.update(["nowhere.example"])
        await discovery.first_answers(5)
        assert only(discovery).error == "no such name"
        assert discovery.addresses("nowhere.example") == ()
        assert changes == []

    serve(main)


def test_half_a_failure_keeps_the_other_half() -> None:
    async def main() -> None:
        answers = [
            Answer(("10.0.0.1",), ("2001:db8::1",), 0.0),
            Answer(("10.0.0.2",), None, 0.0),  # AAAA went unanswered
            Answer(("10.0.0.2",), (), 3600.0),  # and now there is none
        ]
        changes: Changes = []

        async def lookup(name: str) -> Answer:
            return answers.pop(0)

        discovery = DnsDiscovery(
            lambda name, addresses: changes.append((name, addresses)),
            hosts=HostsFile(Path("/nonexistent")),
            lookup=lookup,
        )
        discovery.update(["shop.example"])
        await until(lambda: len(changes) == 3)
        assert [addresses for _, addresses in changes] == [
            ("10.0.0.1", "2001:db8::1"),
            ("10.0.0.2", "2001:db8::1"),
            ("10.0.0.2",),
        ]
        await discovery.close()

    asyncio.run(main())


def test_other_servers_are_asked_from_then_on() -> None:
    async def main(server: DnsServer, discovery: DnsDiscovery, changes: Changes) -> None:
        server.records["shop.example", "A"] = (0, ["10.0.0.1"])
        other = DnsServer()
        await other.start()
        other.records["shop.example", "A"] = (0, ["10.0.0.2"])
        discovery.update(["shop.example", "nowhere.example"])
        await discovery.first_answers(5)
        assert discovery.answers() == {"shop.example": ("10.0.0.1",)}
        discovery.use_servers(["127.0.0.1"], other.port)
        await until(lambda: discovery.answers() == {"shop.example": ("10.0.0.2",)})
        other.close()

    serve(main)


def test_names_that_leave_are_forgotten_and_those_that_stay_are_not_asked_again() -> None:
    async def main(server: DnsServer, discovery: DnsDiscovery, changes: Changes) -> None:
        for name in ("one.example", "two.example"):
            server.records[name, "A"] = (3600, ["10.0.0.1"])
        discovery.update(["one.example", "two.example"])
        await discovery.first_answers(5)
        discovery.update(["two.example"])
        assert [state.name for state in discovery.states()] == ["two.example"]
        assert discovery.addresses("one.example") == ()
        assert discovery.addresses("two.example") == ("10.0.0.1",)
        discovery.update(["one.example", "two.example"])
        await until(lambda: server.questions["one.example", "A"] == 2)
        assert server.questions["two.example", "A"] == 1

    serve(main)


def test_localhost_and_the_hosts_file_ask_nobody(tmp_path: Path) -> None:
    async def main(server: DnsServer, discovery: DnsDiscovery, changes: Changes) -> None:
        discovery.update(["localhost", "db.localhost", "Box"])
        await discovery.first_answers(5)
        assert dict(changes) == {
            "localhost": ("127.0.0.1",),
            "db.localhost": ("127.0.0.1",),
            "Box": ("10.1.1.1", "10.1.1.2"),
        }
        assert not server.questions

    hosts = tmp_path / "hosts"
    hosts.write_text("10.1.1.2 box\n10.1.1.1 box\n::1 localhost\n")
    serve(main, hosts)


def test_a_thousand_names_do_not_stampede() -> None:
    async def main() -> None:
        now = peak = total = 0

        async def lookup(name: str) -> Answer:
            nonlocal now, peak, total
            now += 1
            peak = max(peak, now)
            await asyncio.sleep(0.001)
            now -= 1
            total += 1
            raise LookupFailed("no such name")

        discovery = DnsDiscovery(lambda *_: None, hosts=HostsFile(Path("/nonexistent")), lookup=lookup)
        discovery.update([f"name-{index}.example" for index in range(1000)])
        await until(lambda: total >= 1000)
        assert peak == followed.CONCURRENT_LOOKUPS_MAX
        await discovery.close()

    asyncio.run(main())


def test_failures_back_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    discovery = DnsDiscovery(lambda *_: None)
    state = NameState("nowhere.example")
    waits = [discovery._failed(state, "no such name") for _ in range(8)]
    assert waits == [1, 2, 4, 8, 16, 30, 30, 30]


def test_a_bug_in_a_look_up_ends_nothing() -> None:
    async def main() -> None:
        calls = 0

        async def lookup(name: str) -> Answer:
            nonlocal calls
            calls += 1
            if calls == 1:
                raise RuntimeError("a bug")
            return Answer(("10.0.0.1",), (), 3600.0)

        changes: Changes = []
        discovery = DnsDiscovery(
            lambda name, addresses: changes.append((name, addresses)),
            hosts=HostsFile(Path("/nonexistent")),
            lookup=lookup,
        )
        discovery.update(["shop.example"])
        await until(lambda: bool(changes))
        await discovery.close()

    asyncio.run(main())


def test_a_bug_in_whoever_listens_ends_nothing() -> None:
    async def main(server: DnsServer, discovery: DnsDiscovery, changes: Changes) -> None:
        told = 0

        def broken(name: str, addresses: tuple[str, ...]) -> None:
            nonlocal told
            told += 1
            raise RuntimeError("a bug")

        listened = DnsDiscovery(broken, hosts=HostsFile(Path("/nonexistent")))
        listened.use_servers(["127.0.0.1"], server.port)
        server.records["shop.example", "A"] = (0, ["10.0.0.1"])
        listened.update(["shop.example"])
        await until(lambda: told == 1)
        server.records["shop.example", "A"] = (0, ["10.0.0.2"])
        await until(lambda: told == 2)
        await listened.close()

    serve(main)
