"""What an explanation says is what the router does, whatever the routes and the request."""

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from fastmesh._core.router import Router
from fastmesh.config import LoadCache, load
from fastmesh.config.explanation import Explainer, read_request
from fastmesh.config.explanation_endpoints import Live

HOSTS = ["", "hosts: [a.org]", "hosts: ['*.org', b.a.org]", "hosts: ['*.a.org']"]
PATHS = ["", "path: {exact: /a}", "path: {prefix: /a}", "path: {prefix: /a/b/}", "path: {regex: '/a.*'}"]
METHODS = ["", "methods: [GET]", "methods: [POST, PURGE]"]
HEADERS = [
    "",
    "headers: {x: '1'}",
    "headers: {x: {not: {prefix: '2'}}, y: {absent: true}}",
    "headers: {y: {regex: '1+'}}",
]
QUERIES = ["", "query: {q: {present: true}}", "query: {q: a b, r: {not: x}}"]
LISTENERS = ["", "listeners: [web], ", "listeners: [inner], "]
HEAD = "listeners: {web: 127.0.0.1:8080, inner: 127.0.0.1:8081}\nservices: {hello: {endpoints: [127.0.0.1:9001]}}\n"

matches = st.tuples(*map(st.sampled_from, (HOSTS, PATHS, METHODS, HEADERS, QUERIES))).map(
    lambda parts: ", ".join(part for part in parts if part)
)
routes = st.lists(st.tuples(st.sampled_from(LISTENERS), matches), min_size=1, max_size=10)
heads = st.builds(
    "{} {}{} HTTP/1.1\r\nHost: {}\r\n{}\r\n".format,
    st.sampled_from(["GET", "POST", "PURGE"]),
    st.sampled_from(["/", "/a", "/a/b", "/a/bc", "/ab"]),
    st.sampled_from(["", "?q=a+b", "?q&r=x", "?r=%78"]),
    st.sampled_from(["a.org", "B.A.org:80", "x.org", "org"]),
    st.sampled_from(["", "X: 1\r\n", "x: 1\r\ny: 11\r\n", "x: 2\r\nX: 1\r\n"]),
)


@settings(max_examples=60, deadline=None)
@given(routes, st.lists(heads, min_size=1, max_size=8))
def test_the_first_rule_that_does_not_miss_is_the_routers(written: list[tuple[str, str]], asked: list[str]) -> None:
    lines = [f"  r{n}: {{{on}match: {{{match}}}, to: hello}}\n" for n, (on, match) in enumerate(written)]
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "mesh.yaml").write_text(HEAD + "routes:\n" + "".join(lines).replace("match: {}, ", ""))
        result = load(Path(directory), LoadCache())
    assert result.config is not None, result.problems
    explainer = Explainer(result, Live())
    snapshot = explainer.snapshot
    router = Router(2)
    router.add(snapshot.routes, 0)
    for head in asked:
        for index, listener in enumerate(snapshot.listeners):
            found = explainer.explain(index, head.encode())
            winner = router.match(index, *read_request(head.encode(), listener, None))
            assert found.route == (snapshot.routes[winner].name if winner >= 0 else "")
            verdicts = {rule.name: rule.verdict for rule in found.rules}
            assert next((name for name, verdict in verdicts.items() if verdict != "misses"), "") == found.route
            assert list(verdicts.values()).count("matches") == (winner >= 0)
            assert len(verdicts) == sum(index in route.listener_indexes for route in snapshot.routes)
            for rule in found.rules:
                assert (rule.verdict == "misses") == any(not test.passed for test in rule.tests)
