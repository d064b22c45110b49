"""What becomes of a request: rules, filters, destinations, endpoints."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastmesh.config import Endpoint, LoadCache, load
from fastmesh.config.explanation import Explainer, Explanation, listeners_of
from fastmesh.config.explanation_endpoints import Health, Live
from tests import pems

TEXT = """\
listeners:
  web:
    address: 127.0.0.1:8080
    limits: {body: 1MiB, head: 1KiB, request_line: 200}
    trusted_hops: 1
    via: edge
    rate_limit: {rate: 5000/s, burst: 100}
  inner: 127.0.0.1:8081
services:
  hello:
    endpoints:
      - {address: 127.0.0.1:9001, labels: {version: v1}}
      - {address: 127.0.0.1:9002, labels: {version: v2}}
      - {address: 127.0.0.1:9003, labels: {version: v2}, weight: 0}
      - {address: hello.internal:9004, labels: {version: v2}}
      - 127.0.0.1:9005
    rate_limit: {rate: 10/s, key: {header: x-user}}
routes:
  exact: {listeners: [web], match: {path: {exact: /a}, methods: [POST]}, to: hello}
  first: {match: {hosts: [a.org], headers: {x: "1"}}, to: hello}
  second: {match: {hosts: [a.org], query: {q: {not: {prefix: b}}}}, to: hello}
  split:
    to:
      - {service: hello, subset: {version: v1}, weight: 2}
      - {service: hello, subset: {version: v2}}
"""


def explain(directory: Path, head: str, listener: int = 0, live: Live | None = None, text: str = TEXT) -> Explanation:
    (directory / "mesh.yaml").write_text(text)
    result = load(directory, LoadCache())
    assert result.config is not None, result.problems
    explainer = Explainer(result, live or Live())
    return explainer.explain(listener, (head.replace("\n", "\r\n") + "\r\n\r\n").encode())


def test_every_rule_in_order_and_why(tmp_path: Path) -> None:
    found = explain(tmp_path, "GET /a HTTP/1.1\nHost: A.org:80\nX: 1")
    assert found.outcome == "route first takes it"
    assert [(rule.name, rule.verdict, rule.why) for rule in found.rules] == [
        ("first", "matches", ""),
        ("second", "hidden", "first goes first: it has more header tests"),
        ("exact", "misses", "method is POST: no, GET"),
        ("split", "hidden", "first goes first: its host is more specific"),
    ]
    assert [rule.source.rsplit("/", 1)[1] for rule in found.rules] == [f"mesh.yaml:{n}" for n in (20, 21, 19, 22)]


def test_every_test_that_missed(tmp_path: Path) -> None:
    found = explain(tmp_path, "GET /b?q=%62ad HTTP/1.1\nHost: b.org\nX: 0\nX: 1")
    assert {rule.name: rule.why for rule in found.rules} == {
        "first": "host is a.org: no, b.org; header x is '1': no, '0, 1'",
        "second": "host is a.org: no, b.org; parameter q does not begin with 'b': no, 'bad'",
        "exact": "path is /a: no, /b; method is POST: no, GET",
        "split": "",
    }


def test_rules_of_other_listeners_are_not_considered(tmp_path: Path) -> None:
    found = explain(tmp_path, "POST /a HTTP/1.1\nHost: b.org", listener=1)
    assert [rule.name for rule in found.rules] == ["first", "second", "split"]
    assert (found.listener, found.address, found.route) == ("inner", "127.0.0.1:8081", "split")


def test_filters_in_their_order(tmp_path: Path) -> None:
    found = explain(tmp_path, "GET / HTTP/1.1\nHost: b.org\nX-User: ann")
    assert [(each.name, each.what) for each in found.filters] == [
        ("rate limit of listener web", "5000/s, burst 100, for all together"),
        ("rate limit of service hello", "10/s, burst 1, for each value of the header x-user (here 'ann')"),
        ("request body", "at most 1MiB"),
        ("forwarding headers", "X-Forwarded-* are continued: the proxy in front is believed; X-Request-Id; Via: edge"),
    ]


def test_destinations_and_endpoints(tmp_path: Path) -> None:
    health = {
        ("hello", "127.0.0.1:9001"): Health(True, True),
        ("hello", "127.0.0.1:9002"): Health(False, True, "connection refused"),
        ("hello", "10.0.0.1:9004"): Health(True, False),
    }
    live = Live(health, {"hello.internal": ("10.0.0.1", "10.0.0.2")})
    v1, v2 = explain(tmp_path, "GET / HTTP/1.1\nHost: b.org", live=live).destinations
    assert (v1.share, v1.subset, v2.share, v2.subset) == ("66.7%", {"version": "v1"}, "33.3%", {"version": "v2"})
    assert [(each.address, each.health, each.available, each.why) for each in v2.endpoints] == [
        ("127.0.0.1:9001", "healthy", False, "version is v1, not v2"),
        ("127.0.0.1:9002", "unhealthy: connection refused", False, "unhealthy"),
        ("127.0.0.1:9003", "unknown", False, "weight 0: it gets no new requests"),
        ("10.0.0.1:9004", "not checked", True, ""),
        ("10.0.0.2:9004", "unknown", True, ""),
        ("127.0.0.1:9005", "unknown", False, "it has no label version"),
    ]
    assert [each.source.rsplit(":", 1)[1] for each in v2.endpoints] == ["12", "13", "14", "15", "15", "16"]
    assert (v1.note, v2.note) == ("", "")


def test_panic_uses_the_unhealthy(tmp_path: Path) -> None:
    health = {("hello", "127.0.0.1:9001"): Health(False, True, "timeout")}
    v1, v2 = explain(tmp_path, "GET / HTTP/1.1\nHost: b.org", live=Live(health)).destinations
    assert v1.note == "only 0 of 1 are healthy, less than 50%: all are used"
    assert [(each.address, each.available) for each in v1.endpoints][0] == ("127.0.0.1:9001", True)
    assert v2.endpoints[3].why == "its name has no address that is known here"


def test_endpoints_that_sources_find(tmp_path: Path) -> None:
    text = TEXT.replace("  hello:\n", "  hello:\n    discover: registry\n")
    found = (Endpoint("127.0.0.1:9001"), Endpoint("10.0.0.9:80", {"version": "v1"}, 3))
    health = {("hello", "10.0.0.9:80"): Health(True, True)}
    v1, _ = explain(
        tmp_path, "GET / HTTP/1.1\nHost: b.org", live=Live(health, {}, {"hello": found}), text=text
    ).destinations
    assert [each.address for each in v1.endpoints if each.available] == ["127.0.0.1:9001", "10.0.0.9:80"]
    assert [(each.discovered, each.weight) for each in v1.endpoints if each.available] == [(False, 1), (True, 3)]
    assert v1.endpoints[-1].source.rsplit("/", 1)[1] == "mesh.yaml:10"  # where the service stands
    assert v1.note == ""


def test_sources_that_only_a_mesh_knows(tmp_path: Path) -> None:
    start, end = TEXT.index("    endpoints:"), TEXT.index("    rate_limit: {rate: 10/s")
    text = TEXT[:start] + "    discover: {files: a.json}\n" + TEXT[end:]
    v1, v2 = explain(tmp_path, "GET / HTTP/1.1\nHost: b.org", text=text).destinations
    assert v1.endpoints == v2.endpoints == ()
    unasked = "a running mesh knows what its sources find, and was not asked"
    assert v1.note == f"no endpoint of hello (version=v1) is known; {unasked}"
    (v1, _) = explain(tmp_path, "GET / HTTP/1.1\nHost: b.org", live=Live(found={"hello": ()}), text=text).destinations
    assert v1.note == "no endpoint of hello (version=v1) is known"


@pytest.mark.parametrize(
    ("head", "outcome"),
    [
        ("CONNECT b.org:443 HTTP/1.1\nHost: b.org:443", "but CONNECT is not let through: 501 connect_not_supported"),
        ("GET / HTTP/1.1", "refused before routing: "),
        ("GET / HTTP/1.1\nHost: a b", "refused before routing: "),
        (f"GET /{'a' * 300} HTTP/1.1\nHost: a", "refused before routing: "),
        (f"GET / HTTP/1.1\nHost: a\nX: {'a' * 2000}", "refused before routing: "),
    ],
)
def test_what_the_proxy_answers_itself(tmp_path: Path, head: str, outcome: str) -> None:
    found = explain(tmp_path, head)
    assert outcome in found.outcome
    assert bool(found.refused) == outcome.startswith("refused")


def test_identities_certificates_and_listeners_of_tcp(tmp_path: Path) -> None:
    tls = "tls: {certificates: {certificate: web.crt, key: web.key}, client_certificate: optional, client_ca: ca.crt}"
    text = TEXT.replace("  inner: 127.0.0.1:8081\n", "  db: {address: 127.0.0.1:8081, tcp: {to: hello}}\n")
    text = text.replace("    via: edge\n", f"    {tls}\n").replace(
        'headers: {x: "1"}', "client: {uri: {prefix: spiffe://m/}}"
    )
    (tmp_path / "mesh.yaml").write_text(text)
    pems.write_pair(tmp_path)
    (tmp_path / "ca.crt").write_bytes(pems.ca_pem())
    result = load(tmp_path, LoadCache())
    assert result.config is not None, result.problems
    explainer = Explainer(result, Live())
    assert listeners_of(explainer.snapshot, 8081) == [0]
    head = b"GET / HTTP/1.1\r\nHost: a.org\r\n\r\n"
    assert explainer.explain(0, head, ("spiffe://m/web", None, None)).route == "first"
    stranger = explainer.explain(0, head)
    assert stranger.route == "second"
    assert stranger.rules[0].why == "client uri begins with 'spiffe://m/': no, missing"


def test_listeners_by_port(tmp_path: Path) -> None:
    (tmp_path / "mesh.yaml").write_text(TEXT)
    snapshot = Explainer(load(tmp_path, LoadCache()), Live()).snapshot
    assert [listeners_of(snapshot, port) for port in (8080, 8081, 80, None)] == [[0], [1], [0, 1], [0, 1]]
