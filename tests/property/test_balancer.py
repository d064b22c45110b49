"""Whatever happens to a subset: who is chosen may be chosen, and nobody is forgotten."""

from hypothesis import given, settings
from hypothesis import strategies as st

from fastmesh._core.balancer import Subset
from fastmesh.snapshot import Balance
from tests.twins.balancer import Endpoint, available

WEIGHTS = st.lists(st.sampled_from([0, 1, 1, 2, 7, 1000]), max_size=40)
EVENTS = st.lists(st.tuples(st.sampled_from(["sick", "well", "active", "observe"]), st.integers(0, 39)), max_size=30)
FEW = (Balance.ROUND_ROBIN, Balance.RANDOM, Balance.LEAST_REQUEST, Balance.PEAK_EWMA, Balance.RING_HASH)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(FEW), WEIGHTS, st.sampled_from([0, 30, 50, 100]), EVENTS, st.integers(0, 2**64 - 1))
def test_only_the_available_are_chosen(
    balance: Balance, weights: list[int], panic_percent: int, events: list[tuple[str, int]], seed: int
) -> None:
    endpoints = [Endpoint(f"h{i}:80", weight) for i, weight in enumerate(weights)]
    subset = Subset(balance, [(one.address, one.weight) for one in endpoints], panic_percent, seed)
    for turn, (event, number) in enumerate([("", 0), *events]):
        if weights:
            at = number % len(weights)
            if event in ("sick", "well"):
                endpoints[at].healthy = event == "well"
                subset.set_health(at, event == "sick")
            elif event == "active":
                subset.set_active(at, number)
            elif event == "observe":
                subset.observe(at, number * 1_000_000, number % 5 == 0, turn * 1_000_000_000)
        usable, panic = available(endpoints, panic_percent)
        for avoid in (None, number % len(weights) if weights else None):
            chosen = subset.pick(b"%d" % number, turn * 1_000_000_000, avoid)
            if not usable:
                assert chosen is None
            else:
                assert chosen in usable
                assert chosen != avoid or usable == [avoid]
        assert subset.available == len(usable)
        assert subset.panics == panic


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 20), min_size=1, max_size=60), st.integers(0, 2**64 - 1))
def test_round_robin_is_exact_over_whole_cycles(weights: list[int], seed: int) -> None:
    subset = Subset(Balance.ROUND_ROBIN, [(f"h{i}:80", weight) for i, weight in enumerate(weights)], 50, seed)
    cycle = sum(weights)
    subset.spread(seed % 100)
    counts = subset.spread(5 * cycle)
    assert all(abs(count - 5 * weight) <= 1 for count, weight in zip(counts, weights, strict=True))
