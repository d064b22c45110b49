from collections.abc import Sequence

import pytest

from fastmesh._core.router import RequestHead, Router, normalise_host
from fastmesh.snapshot import PathMatch, Route, ValueMatch, ValueTest


def route(
    path: str = "/",
    path_match: PathMatch = PathMatch.PREFIX,
    hosts: tuple[str, ...] = (),
    methods: tuple[str, ...] = (),
    headers: tuple[ValueTest, ...] = (),
    query: tuple[ValueTest, ...] = (),
    listeners: tuple[int, ...] = (0,),
    client: tuple[ValueTest, ...] = (),
) -> Route:
    return Route(1, "r", listeners, hosts, path_match, path, methods, headers, query, (), -1, client)


def exact(path: str, **rest: tuple[str, ...]) -> Route:
    return route(path, PathMatch.EXACT, **rest)  # type: ignore[arg-type]


def router_of(*routes: Route, listeners: int = 1) -> Router:
    router = Router(listeners)
    router.add(routes, 0)
    assert router.finish_step() is True
    return router


def matched(
    router: Router, path: str = "/", host: str = "example.org", headers: Sequence[tuple[str, str]] = (), query: str = ""
) -> int:
    return router.match(0, "GET", host, path, query, headers)


@pytest.mark.parametrize(
    ("authority", "host"),
    [
        ("Example.ORG", "example.org"),
        ("example.org:8080", "example.org"),
        ("example.org.", "example.org"),
        ("EXAMPLE.org.:80", "example.org"),
        ("example.org..", "example.org."),
        ("10.0.0.1:80", "10.0.0.1"),
        ("[::1]:8080", "[::1]"),
        ("[2001:DB8::1]", "[2001:db8::1]"),
        ("[::1", ""),
        ("", ""),
        (":80", ""),
        (".", ""),
        ("a" * 255, "a" * 255),
        ("a" * 256, ""),
        ("a" * 255 + ".:443", "a" * 255),
        ("[" + "a" * 300 + "]", ""),
    ],
)
def test_hosts_are_normalised(authority: str, host: str) -> None:
    assert normalise_host(authority) == host


def test_no_route_matches_nothing() -> None:
    assert matched(router_of()) == -1
    assert matched(router_of(route(hosts=("other.org",)))) == -1


def test_an_exact_host_beats_wildcards_and_the_longer_wildcard_beats_the_shorter() -> None:
    router = router_of(
        route(), route(hosts=("*.org",)), route(hosts=("*.example.org",)), route(hosts=("a.example.org",))
    )
    assert matched(router, host="a.example.org") == 3
    assert matched(router, host="b.example.org") == 2
    assert matched(router, host="c.b.a.example.org") == 2
    assert matched(router, host="example.org") == 1
    assert matched(router, host="org") == 0
    assert matched(router, host=".org") == 0
    assert matched(router, host="") == 0


def test_a_less_specific_host_is_asked_when_no_route_of_the_more_specific_one_matches() -> None:
    router = router_of(exact("/a", hosts=("a.example.org",)), exact("/b", hosts=("*.example.org",)), exact("/c"))
    assert [matched(router, path, "a.example.org") for path in ("/a", "/b", "/c", "/d")] == [0, 1, 2, -1]


def test_a_more_specific_host_wins_over_a_more_specific_path() -> None:
    router = router_of(exact("/a"), route(hosts=("example.org",)))
    assert matched(router, "/a") == 1


def test_a_name_with_very_many_labels_is_looked_up() -> None:
    router = router_of(route(hosts=("*." + "a." * 100 + "org",)))
    assert matched(router, host="b." + "a." * 100 + "org") == 0
    assert matched(router, host="a." * 126 + "org") == 0
    assert matched(router, host="." * 255) == -1


@pytest.mark.parametrize("prefix", ["/a", "/a/"])
def test_a_prefix_matches_whole_segments(prefix: str) -> None:
    router = router_of(route(prefix))
    assert [matched(router, path) for path in ("/a", "/a/", "/a/b", "/a//b")] == [0, 0, 0, 0]
    assert [matched(router, path) for path in ("/ab", "/", "/b/a", "//a", "*", "")] == [-1] * 6


def test_the_root_prefix_matches_everything() -> None:
    router = router_of(route("/"))
    assert [matched(router, path) for path in ("/", "/a/b", "*", "example.org:443", "//")] == [0] * 5


def test_the_longest_prefix_wins_however_written() -> None:
    router = router_of(route("/"), route("/a/b/c"), route("/a"), route("/a/b"))
    assert [matched(router, path) for path in ("/x", "/a/x", "/a/b", "/a/b/c/d", "/a/bc")] == [0, 2, 3, 1, 2]


def test_exact_paths_know_their_trailing_slash() -> None:
    router = router_of(exact("/a"), exact("/a/"), exact("/"), exact("*"))
    assert [matched(router, path) for path in ("/a", "/a/", "/", "*", "/*", "/a/b", "a")] == [0, 1, 2, 3, -1, -1, -1]


def test_exact_beats_regex_beats_prefix() -> None:
    router = router_of(route("/"), route("/a/b"), route("/a/.+", PathMatch.REGEX), exact("/a/b"))
    assert [matched(router, path) for path in ("/a/b", "/a/b/c", "/a", "/b")] == [3, 2, 0, 0]


def test_the_longer_regex_is_tried_first_and_none_is_tried_on_the_asterisk() -> None:
    router = router_of(route("/.*", PathMatch.REGEX), route("/a[0-9]+", PathMatch.REGEX), route(".*", PathMatch.REGEX))
    assert [matched(router, path) for path in ("/a1", "/a", "*")] == [1, 0, -1]


def test_precedence_at_one_path() -> None:
    header = ValueTest("a", ValueMatch.PRESENT)
    parameter = ValueTest("q", ValueMatch.PRESENT)
    router = router_of(
        route(), route(query=(parameter,)), route(headers=(header,)), route(methods=("GET",)), route(methods=("GET",))
    )
    assert router.match(0, "GET", "x", "/", "q=1", [("a", "1")]) == 3
    assert router.match(0, "PUT", "x", "/", "q=1", [("a", "1")]) == 2
    assert router.match(0, "PUT", "x", "/", "q=1") == 1
    assert router.match(0, "PUT", "x", "/") == 0


def test_all_routes_of_a_path_are_tried_before_a_shorter_prefix() -> None:
    router = router_of(route("/"), route("/a", methods=("PUT",)), route("/a", methods=("POST", "PURGE")))
    assert router.match(0, "PUT", "x", "/a") == 1
    assert router.match(0, "POST", "x", "/a") == 2
    assert router.match(0, "PURGE", "x", "/a") == 2
    assert router.match(0, "PURG", "x", "/a") == 0
    assert router.match(0, "GET", "x", "/a") == 0


def test_get_does_not_imply_head_and_methods_know_their_case() -> None:
    router = router_of(route(methods=("GET",)))
    assert [router.match(0, method, "x", "/") for method in ("GET", "HEAD", "get")] == [0, -1, -1]


@pytest.mark.parametrize(
    ("match", "value", "passing", "failing"),
    [
        (ValueMatch.EXACT, "beta", ["beta"], ["Beta", "beta2", "bet", "", None]),
        (ValueMatch.PREFIX, "be", ["be", "beta"], ["b", "Beta", "", None]),
        (ValueMatch.REGEX, "b[a-z]+", ["be", "beta"], ["b", "beta2", "", None]),
        (ValueMatch.PRESENT, "", ["", "x"], [None]),
        (ValueMatch.ABSENT, "", [None], ["", "x"]),
    ],
)
def test_values(match: ValueMatch, value: str, passing: list[str | None], failing: list[str | None]) -> None:
    for negated in (False, True):
        test = ValueTest("group", match, value, negated)
        by_header = router_of(route(headers=(test,)))
        by_query = router_of(route(query=(test,)))
        for found in passing + failing:
            expected = 0 if (found in passing) != negated else -1
            headers = [("other", "beta")] + ([] if found is None else [("GROUP", found)])
            assert matched(by_header, headers=headers) == expected
            assert matched(by_query, query="x=1" if found is None else f"x=1&group={found}") == expected


def test_a_repeated_header_is_joined() -> None:
    router = router_of(route(headers=(ValueTest("a", ValueMatch.EXACT, "1, 2, 3"),)))
    assert matched(router, headers=[("A", "1"), ("b", "x"), ("a", "2"), ("a", "3")]) == 0
    assert matched(router, headers=[("a", "1"), ("a", "2")]) == -1


def test_a_joined_header_is_compared_up_to_8_kib() -> None:
    exactly = router_of(route(headers=(ValueTest("a", ValueMatch.EXACT, "x" * 4000 + ", " + "y" * 4190),)))
    prefix = router_of(route(headers=(ValueTest("a", ValueMatch.PREFIX, "x" * 4000 + ", y"),)))
    pattern = router_of(route(headers=(ValueTest("a", ValueMatch.REGEX, "[xy, ]+"),)))
    for length, expected in ((4190, 0), (4191, -1), (9000, -1)):
        headers = [("a", "x" * 4000), ("a", "y" * length)]
        assert matched(exactly, headers=headers) == expected
        assert matched(pattern, headers=headers) == expected
        assert matched(prefix, headers=headers) == 0
    assert matched(prefix, headers=[("a", "x" * 4000), *[("a", "y")] * 9000]) == 0


@pytest.mark.parametrize(
    ("query", "passes"),
    [
        ("a b=c d", True),
        ("a+b=c+d", True),
        ("a%20b=c%20d", True),
        ("%61%20%62=%63+%64", True),
        ("&&x&=&a+b=c+d&a+b=2", True),
        ("a+b=2&a+b=c+d", False),
        ("a+b=c+d+", False),
        ("a+b", False),
        ("a+b=c%2", False),
        ("a+b=c%zzd", False),
        ("a%2", False),
    ],
)
def test_query_parameters_are_decoded_and_the_first_counts(query: str, passes: bool) -> None:
    router = router_of(route(query=(ValueTest("a b", ValueMatch.EXACT, "c d"),)))
    assert matched(router, query=query) == (0 if passes else -1)


def test_a_percent_sign_without_digits_stands_for_itself() -> None:
    router = router_of(route(query=(ValueTest("a", ValueMatch.EXACT, "5%"),)))
    assert matched(router, query="a=5%") == 0


def test_a_decoded_parameter_beyond_8_kib_equals_nothing_but_keeps_its_prefix() -> None:
    test = ValueTest("a", ValueMatch.REGEX, "x+")
    prefix = ValueTest("a", ValueMatch.PREFIX, "xx")
    for length, expected in ((8192, 0), (8193, -1), (20000, -1)):
        assert matched(router_of(route(query=(test,))), query="a=" + "x" * length) == expected
        assert matched(router_of(route(query=(prefix,))), query="a=" + "%78" * length) == 0


def test_listeners_have_routes_of_their_own() -> None:
    router = router_of(route(listeners=(0,)), route(listeners=(1, 2), hosts=("a.org",)), listeners=3)
    assert [router.match(listener, "GET", "a.org", "/") for listener in range(3)] == [0, 1, 1]
    with pytest.raises(ValueError, match="no listener 3"):
        router.match(3, "GET", "a.org", "/")


def test_slices_count_on() -> None:
    router = Router(1)
    for first in range(0, 500, 7):
        router.add([exact(f"/{first + i}") for i in range(7)], first)
    router.finish_step()
    assert [matched(router, f"/{i}") for i in range(504)] == list(range(504))


def test_many_routes_at_one_path_keep_the_order_of_precedence() -> None:
    tests = [ValueTest("n", ValueMatch.EXACT, str(number)) for number in range(300)]
    router = router_of(route(), *[route(headers=(test,)) for test in tests])
    assert [matched(router, headers=[("n", str(number))]) for number in range(301)] == [*range(1, 301), 0]


def test_a_broken_snapshot_is_refused() -> None:
    router = Router(1)
    with pytest.raises(ValueError, match="listener 1, which is not there"):
        router.add([route(listeners=(1,))], 0)
    with pytest.raises(ValueError, match="missing"):
        router.add([route("/(", PathMatch.REGEX)], 0)
    with pytest.raises(ValueError, match="missing"):
        router.add([route(headers=(ValueTest("a", ValueMatch.REGEX, "("),))], 0)
    with pytest.raises(ValueError, match="'a', which does not begin with /"):
        router.add([route("a")], 0)
    with pytest.raises(ValueError, match="more than 65535 tests"):
        router.add([route(headers=(ValueTest("a", ValueMatch.PRESENT),) * 65536)], 0)
    router.finish_step()
    with pytest.raises(ValueError, match="finished"):
        router.add([route()], 0)


def test_heads_are_matched_in_bulk() -> None:
    router = router_of(exact("/a"), exact("/b"), exact("/c"))
    heads = [RequestHead("GET", "x", path) for path in ("/a", "/b", "/c", "/c", "/d")]
    assert router.match_heads(0, heads) == 0 + 1 + 2 + 2 - 1


def test_nothing_is_left_of_a_router() -> None:
    before = Router.live_nodes()
    routes = [route(f"/a/{i}", hosts=(f"h{i}.org", "*.b.org")) for i in range(300)]
    router = router_of(*routes)
    assert Router.live_nodes() >= before + 900
    del router
    assert Router.live_nodes() == before


SPIFFE = "spiffe://mesh/orders"


@pytest.mark.parametrize(
    ("test", "client", "taken"),
    [
        (ValueTest("uri", ValueMatch.PREFIX, "spiffe://mesh/"), (SPIFFE, None, None), True),
        (ValueTest("uri", ValueMatch.PREFIX, "spiffe://mesh/"), ("spiffe://other/x", None, None), False),
        (ValueTest("uri", ValueMatch.PREFIX, "spiffe://mesh/"), None, False),
        (ValueTest("dns", ValueMatch.EXACT, "a.example.org"), (SPIFFE, "a.example.org", None), True),
        (ValueTest("dns", ValueMatch.EXACT, "a.example.org"), (SPIFFE, None, None), False),
        (ValueTest("subject", ValueMatch.REGEX, "CN=.*"), (None, None, "CN=me,O=mesh"), True),
        (ValueTest("uri", ValueMatch.ABSENT), None, True),
        (ValueTest("uri", ValueMatch.EXACT, SPIFFE, negated=True), None, True),
    ],
)
def test_a_route_may_ask_who_the_client_is(
    test: ValueTest, client: tuple[str | None, str | None, str | None] | None, taken: bool
) -> None:
    router = router_of(route(client=(test,)), route())
    assert router.match(0, "GET", "x", "/", client=client) == (0 if taken else 1)


def test_a_part_that_no_identity_has_is_refused() -> None:
    with pytest.raises(ValueError, match="no part 'email'"):
        router_of(route(client=(ValueTest("email", ValueMatch.PRESENT),)))
