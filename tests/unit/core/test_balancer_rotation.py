"""round_robin against its twins, and how smooth it is."""

import pytest

from fastmesh._core.balancer import Subset
from fastmesh.snapshot import Balance
from tests.twins.balancer import Endpoint, HeapRotation, Random, SmoothRotation, available

SCAN_MAX = 16
"""Up to so many endpoints the compiled one scans as nginx does; beyond it keeps a heap."""


def endpoints_of(*weights: int) -> list[Endpoint]:
    return [Endpoint(f"10.0.{i // 256}.{i % 256}:8080", weight) for i, weight in enumerate(weights)]


def subset_of(endpoints: list[Endpoint], panic_percent: int, seed: int) -> Subset:
    return Subset(Balance.ROUND_ROBIN, [(one.address, one.weight) for one in endpoints], panic_percent, seed)


WEIGHTS = [
    (1,),
    (5, 1, 1),
    (1, 1, 1, 1),
    (7, 0, 3, 2, 0, 11),
    (1_000_000, 1),
    tuple(range(1, SCAN_MAX + 1)),
    tuple(range(1, SCAN_MAX + 2)),
    (1,) * 100,
    (1, 2, 3) * 100,
    (1, 100_000) * 20,
]


@pytest.mark.parametrize("weights", WEIGHTS, ids=lambda weights: f"{len(weights)}-{sum(weights)}")
def test_the_sequence_is_the_twin_s(weights: tuple[int, ...]) -> None:
    endpoints = endpoints_of(*weights)
    eligible = sum(1 for weight in weights if weight)
    twin = (SmoothRotation if eligible <= SCAN_MAX else HeapRotation)(endpoints)
    random = Random(99)
    subset = subset_of(endpoints, 10, seed=99)
    changes = {0: (), 40: (0,), 90: (0, len(weights) // 2), 150: (len(weights) // 2,), 220: ()}
    for turn in range(600):
        if turn in changes:
            for i, endpoint in enumerate(endpoints):
                endpoint.healthy = i not in changes[turn]
                subset.set_health(i, not endpoint.healthy)
            twin.admit(available(endpoints, 10)[0], random)
        avoid = turn % len(weights) if turn % 5 == 4 else None
        assert subset.pick(avoid=avoid) == twin.pick(avoid), f"turn {turn}"


def test_nginx_s_own_example() -> None:
    subset = Subset(Balance.ROUND_ROBIN, [("a:1", 5), ("b:1", 1), ("c:1", 1)])
    sequence = "".join("abc"[subset.pick() or 0] for _ in range(14))
    assert sequence[:7] == sequence[7:]
    assert sequence[:7] in "aabacaa" * 2


@pytest.mark.parametrize("count", [2, SCAN_MAX, SCAN_MAX + 1, 300])
def test_equal_weights_come_up_at_equal_distances(count: int) -> None:
    subset = Subset(Balance.ROUND_ROBIN, [(f"h{i}:1", 1) for i in range(count)], seed=8)
    first = [subset.pick() for _ in range(count)]
    assert sorted(i for i in first if i is not None) == list(range(count))
    for _ in range(3):
        assert [subset.pick() for _ in range(count)] == first


def test_it_does_not_always_begin_with_the_same_endpoint() -> None:
    for count in (4, 40):
        endpoints = [(f"h{i}:1", 1) for i in range(count)]
        starts = {Subset(Balance.ROUND_ROBIN, endpoints, 50, seed).pick() for seed in range(200)}
        assert len(starts) > count / 2


def test_who_was_often_avoided_does_not_come_up_in_a_burst() -> None:
    for count in (3, 30):
        subset = Subset(Balance.ROUND_ROBIN, [(f"h{i}:1", 1) for i in range(count)])
        for _ in range(1000):
            assert subset.pick(avoid=0) != 0
        following = [subset.pick() for _ in range(count)]
        assert following.count(0) <= 2
