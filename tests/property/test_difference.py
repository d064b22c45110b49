"""Where nothing is said to change, nothing does: the same requests go to the same places by the same rules."""

from hypothesis import given, settings
from hypothesis import strategies as st

from fastmesh._core.router import Router
from fastmesh.config import Config, Listener, Route, Service, compile_snapshot
from fastmesh.config.difference import changes
from fastmesh.config.explanation import Numbers
from fastmesh.config.schema import Destination, Endpoint, Match, PathTest, RateLimit, ServiceTimeouts, ValueTest
from fastmesh.snapshot import Snapshot

NAMES = st.sampled_from(["a", "b", "c"])
LABELS = st.sampled_from([{}, {"version": "v1"}, {"version": "v2"}])
destinations = st.builds(Destination, st.sampled_from(["hello", "other"]), LABELS, st.sampled_from([1, 2, 4]))
tests = st.dictionaries(
    st.sampled_from(["x", "y"]), st.builds(ValueTest, exact=st.sampled_from(["1", "2"])), max_size=1
)
paths = st.one_of(
    st.builds(PathTest, prefix=st.sampled_from(["/", "/a", "/a/"])),
    st.builds(PathTest, exact=st.sampled_from(["/", "/a"])),
    st.builds(PathTest, regex=st.sampled_from(["/a.", "/.a"])),
)
matches = st.builds(
    Match,
    hosts=st.lists(st.sampled_from(["a.org", "b.org"]), max_size=2),
    path=paths,
    methods=st.lists(st.sampled_from(["GET", "POST"]), max_size=2),
    headers=tests,
)
limits = st.one_of(st.none(), st.builds(RateLimit, st.sampled_from([10**7, 10**8]), st.sampled_from([1, 2])))
routes = st.builds(
    Route,
    listeners=st.lists(st.just("web"), max_size=1),
    match=matches,
    to=st.lists(destinations, min_size=1, max_size=3),
    rate_limit=limits,
)
endpoints = st.lists(
    st.builds(Endpoint, st.sampled_from(["127.0.0.1:1", "127.0.0.1:2"]), LABELS, st.integers(0, 2)),
    min_size=1, max_size=2, unique_by=lambda endpoint: endpoint.address,
)  # fmt: skip
services = st.builds(Service, endpoints, timeouts=st.builds(ServiceTimeouts, connect=st.sampled_from([1000, 2000])))
configs = st.builds(
    Config,
    listeners=st.fixed_dictionaries(
        {"web": st.sampled_from([Listener("127.0.0.1:8080"), Listener("127.0.0.1:8081")])},
        optional={"inner": st.just(Listener("127.0.0.1:8082", via="x"))},
    ),
    services=st.fixed_dictionaries({"hello": services, "other": services}),
    routes=st.dictionaries(NAMES, routes, max_size=3),
)
REQUESTS = [
    (method, host, path, "", headers)
    for method in ("GET", "PUT")
    for host in ("a.org", "c.org")
    for path in ("/", "/a", "/aa", "/a/b")
    for headers in ((), (("x", "1"),), (("x", "1"), ("y", "2")))
]


def shares(snapshot: Snapshot, name: str) -> dict[object, float]:
    """Who gets how much of a route."""
    route = next(route for route in snapshot.routes if route.name == name)
    total = sum(each.weight for each in route.destinations)
    found: dict[object, float] = {}
    for each in route.destinations:
        service = snapshot.services[each.service_index]
        arm = (service.name, service.subsets[each.subset_index])
        found[arm] = found.get(arm, 0) + each.weight / total
    return {arm: round(share, 6) for arm, share in found.items()}


def answers(snapshot: Snapshot) -> dict[object, object]:
    """Which route takes each request at each listener, and where it leads."""
    router = Router(len(snapshot.listeners))
    router.add(snapshot.routes, 0)
    found: dict[object, object] = {}
    for index, listener in enumerate(snapshot.listeners):
        for request in REQUESTS:
            winner = router.match(index, *request)
            name = snapshot.routes[winner].name if winner >= 0 else ""
            found[listener.name, request] = (name, shares(snapshot, name) if name else None)
    return found


def things(snapshot: Snapshot) -> object:
    """Everything but routes and positions, by name."""
    services = {
        each.name: (each.connect_timeout_ms, {(end.host, end.port, end.weight, end.labels) for end in each.endpoints})
        for each in snapshot.services
    }
    listeners = {each.name: (each.host, each.port, each.via) for each in snapshot.listeners}
    limits = {each.name: (each.period_ns, each.burst_tokens, each.key) for each in snapshot.limits}
    return services, listeners, limits, {route.name for route in snapshot.routes}


@settings(max_examples=300, deadline=None)
@given(configs, configs, st.data())
def test_no_change_has_no_effect(first: Config, other: Config, data: st.DataObject) -> None:
    """The second is like the first but for a few parts of the other."""
    taken = data.draw(st.sets(st.sampled_from(["listeners", "services", "routes"]), max_size=1))
    second = Config(
        listeners=other.listeners if "listeners" in taken else first.listeners,
        services=other.services if "services" in taken else first.services,
        routes=dict(data.draw(st.permutations(list((other if "routes" in taken else first).routes.items())))),
    )
    found = changes(first, second)
    assert bool(found) == bool(changes(second, first))
    assert len(found) == len({*found})
    if not found:
        old, new = (compile_snapshot(config, "", Numbers(), {}) for config in (first, second))
        assert things(old) == things(new)
        assert answers(old) == answers(new)


@settings(max_examples=50, deadline=None)
@given(configs)
def test_nothing_changes_against_itself(config: Config) -> None:
    again = Config(listeners=config.listeners, services=dict(config.services), routes=dict(config.routes))
    assert changes(config, again) == changes(config, config) == []


TYING = [
    Match(headers={"x": ValueTest(exact="1")}),
    Match(headers={"y": ValueTest(exact="2")}, hosts=["a.org"]),
    Match(headers={"y": ValueTest(exact="2")}),
    Match(path=PathTest(regex="/a.*")),
    Match(path=PathTest(regex="/.a.")),
]
HELLO = Service([Endpoint("127.0.0.1:1")])


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(TYING), min_size=2, max_size=5), st.data())
def test_an_order_that_matters_is_a_change(written: list[Match], data: st.DataObject) -> None:
    order = list(enumerate(written))
    first, second = (
        Config(
            listeners={"web": Listener("127.0.0.1:8080")},
            services={"hello": HELLO},
            routes={f"r{number}": Route(match=match, to=[Destination("hello")]) for number, match in each},
        )
        for each in (order, data.draw(st.permutations(order)))
    )
    old, new = (answers(compile_snapshot(config, "", Numbers(), {})) for config in (first, second))
    if old != new:
        assert changes(first, second)
