"""SRV records: which of them count, how much, and how they are followed."""

from __future__ import annotations

import dns.rcode
import dns.rdata
import pytest

from fastmesh.discovery import DnsDiscovery
from fastmesh.discovery.lookup import Instance, preferred
from tests.unit.discovery.dns_server import DnsServer
from tests.unit.discovery.test_dns import Changes, quick, serve, until  # noqa: F401

SRV = "_http._tcp.shop.example"


def records(*texts: str) -> list[dns.rdata.Rdata]:
    return [dns.rdata.from_text("IN", "SRV", text) for text in texts]


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        (["1 0 80 a."], [("a", 80, 1)]),
        (["1 0 80 a.", "1 0 81 a."], [("a", 80, 1), ("a", 81, 1)]),
        (["10 60 80 A.Example.", "10 20 80 b.", "20 5 80 c."], [("a.example", 80, 3), ("b", 80, 1)]),
        (["1 0 80 a.", "1 100 80 b."], [("a", 80, 1), ("b", 80, 100)]),
        (["1 65535 80 a.", "1 1 80 b."], [("a", 80, 10_000), ("b", 80, 1)]),
    ],
)
def test_the_lowest_priority_and_its_weights(texts: list[str], found: list[tuple[str, int, int]]) -> None:
    assert preferred(records(*texts)) == tuple(Instance(*each) for each in found)


def test_records_are_followed() -> None:
    async def main(server: DnsServer, discovery: DnsDiscovery, changes: Changes) -> None:
        server.records[SRV, "SRV"] = (0, ["1 1 80 a.example."])
        discovery.update([], [SRV])
        await discovery.first_answers(5)
        assert changes == [(SRV, ("a.example:80",))]
        state = discovery.records(SRV)
        assert (state.addresses, state.weights, state.lookups >= 1) == (("a.example:80",), (1,), True)
        server.records[SRV, "SRV"] = (0, ["1 1 80 a.example.", "1 2 80 b.example."])
        await until(lambda: len(changes) == 2)
        assert state.weights == (1, 2)
        server.records[SRV, "SRV"] = (0, ["1 1 80 a.example.", "1 3 80 b.example."])
        await until(lambda: len(changes) == 3)  # other weights are a change
        discovery.update([], [])
        assert discovery.records(SRV).lookups == 0

    serve(main)


@pytest.mark.parametrize(
    ("answer", "is_none", "error"),
    [
        (["0 0 0 ."], True, "no SRV record that leads anywhere"),
        ([], True, "no SRV record that leads anywhere"),
        (None, True, "no such name"),
        ("servfail", False, "refused or failed"),
    ],
)
def test_no_record_and_no_answer_are_told_apart(answer: list[str] | str | None, is_none: bool, error: str) -> None:
    async def main(server: DnsServer, discovery: DnsDiscovery, changes: Changes) -> None:
        server.records[SRV, "SRV"] = (0, ["1 1 80 a.example."])
        discovery.update([], [SRV])
        await until(lambda: len(changes) == 1)
        if isinstance(answer, list):
            server.records[SRV, "SRV"] = (0, answer)
        elif answer is None:
            server.records.clear()
        else:
            server.rcodes[SRV] = dns.rcode.SERVFAIL
        state = discovery.records(SRV)
        await until(lambda: bool(state.error))
        assert error in state.error
        assert (state.is_none, state.addresses) == (is_none, ("a.example:80",))
        assert len(changes) == 1

    serve(main)


def test_a_time_to_live_is_honoured() -> None:
    async def main(server: DnsServer, discovery: DnsDiscovery, changes: Changes) -> None:
        server.records[SRV, "SRV"] = (1000, ["1 1 80 a.example."])
        server.records["a.example", "A"] = (0, ["10.0.0.1"])
        discovery.update(["a.example"], [SRV])
        await until(lambda: server.questions["a.example", "A"] > 4)
        assert server.questions[SRV, "SRV"] == 1
        assert discovery.records(SRV).ttl_s == 1000

    serve(main)
