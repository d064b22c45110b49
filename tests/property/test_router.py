"""The compiled router against the slow twin that `fastmesh explain` shows; small alphabets, so that routes overlap."""

from hypothesis import given, settings
from hypothesis import strategies as st

from fastmesh._core.router import Router, normalise_host
from fastmesh.config import matching as twin
from fastmesh.snapshot import PathMatch, Route, ValueMatch, ValueTest

HOSTS = ["a.org", "b.a.org", "c.b.a.org", "*.org", "*.a.org", "*.b.a.org"]
SEGMENTS = st.sampled_from(["", "a", "b", "ab", "*"])
PREFIXES = st.lists(SEGMENTS, min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts))
PATHS = st.one_of(st.just("*"), PREFIXES)
REGEXES = st.sampled_from(["/a.*", "/a/b", "/(a|b)*", ".*", "/[ab]/[ab]", "/a?b", r"/\*"])
NAMES = st.sampled_from(["x", "y"])
VALUES = st.sampled_from(["", "1", "12", "2", "1, 2"])
METHODS = st.sampled_from(["GET", "HEAD", "POST", "PURGE"])

WANTED = st.sampled_from(["", "1", "12", "2"])
value_tests = st.builds(ValueTest, NAMES, st.sampled_from(list(ValueMatch)), WANTED, st.booleans())
client_tests = st.builds(
    ValueTest, st.sampled_from(["uri", "dns", "subject"]), st.sampled_from(list(ValueMatch)), WANTED, st.booleans()
)
IDENTITY_PART = st.one_of(st.none(), VALUES)


@st.composite
def routes(draw: st.DrawFn) -> Route:
    match, paths = draw(
        st.sampled_from([(PathMatch.EXACT, PATHS), (PathMatch.PREFIX, PREFIXES), (PathMatch.REGEX, REGEXES)])
    )
    return Route(
        id=1,
        name="r",
        listener_indexes=tuple(draw(st.sets(st.integers(0, 1), min_size=1))),
        hosts=tuple(draw(st.lists(st.sampled_from(HOSTS), max_size=2, unique=True))),
        path_match=match,
        path=draw(paths),
        methods=tuple(draw(st.sets(METHODS, max_size=2))),
        headers=tuple(draw(st.lists(value_tests, max_size=2))),
        query=tuple(draw(st.lists(value_tests, max_size=1))),
        destinations=(),
        limit_index=-1,
        client=tuple(draw(st.lists(client_tests, max_size=1))),
    )


@st.composite
def requests(draw: st.DrawFn) -> twin.Request:
    host = draw(st.sampled_from(["a.org", "b.a.org", "c.b.a.org", "d.c.b.a.org", "A.ORG.", "org", "x.com", ""]))
    query = draw(st.lists(st.tuples(NAMES, VALUES), max_size=3))
    return twin.Request(
        method=draw(METHODS),
        authority=host + draw(st.sampled_from(["", ":80"])),
        path=draw(PATHS),
        query="&".join(f"{name}={value}" for name, value in query),
        headers=tuple(draw(st.lists(st.tuples(st.sampled_from(["x", "X", "y"]), VALUES), max_size=3))),
        client=draw(st.one_of(st.none(), st.tuples(IDENTITY_PART, IDENTITY_PART, IDENTITY_PART))),
    )


def host_of(authority: str) -> str:
    """The host of an authority, slow and obvious."""
    if authority.startswith("["):
        host = authority[: authority.index("]") + 1] if "]" in authority else ""
    else:
        host = authority.split(":")[0]
        host = host[:-1] if host.endswith(".") else host
    return host.lower() if len(host.encode()) <= 255 else ""


@settings(max_examples=150, deadline=None)
@given(st.lists(routes(), max_size=12), st.lists(requests(), min_size=1, max_size=12), st.integers(1, 5))
def test_the_router_agrees_with_its_twin(written: list[Route], asked: list[twin.Request], slice_size: int) -> None:
    router = Router(2)
    for first in range(0, len(written), slice_size):
        router.add(written[first : first + slice_size], first)
    router.finish_step()
    for request in asked:
        for listener_index in (0, 1):
            found = router.match(listener_index, *request)
            assert found == twin.match(written, listener_index, request), request


@settings(max_examples=200, deadline=None)
@given(st.text("aA.:[]*1", max_size=20))
def test_any_authority_is_normalised_as_by_the_twin(authority: str) -> None:
    assert normalise_host(authority) == host_of(authority)
    route = Route(1, "r", (0,), ("a.a",), PathMatch.PREFIX, "/", (), (), (), (), -1)
    router = Router(1)
    router.add([route], 0)
    assert router.match(0, "GET", authority, "/") == (0 if host_of(authority) == "a.a" else -1)
