"""random, least_request and peak_ewma against their twins, choice by choice, from the same random numbers."""

import math

import pytest

from fastmesh._core.balancer import Subset
from fastmesh.snapshot import Balance
from tests.twins.balancer import Endpoint, Random, alias_columns, available, better_of_two, random_choice

WEIGHTS = [(1,), (1, 1), (1, 9), (3, 1, 2), (1,) * 10, (0, 4, 1, 0, 1), (1, 2, 3, 4) * 20, (1, 4_000_000_000, 7)]
MILLISECOND = 1_000_000
SECOND = 1000 * MILLISECOND


def both(balance: Balance, weights: tuple[int, ...], seed: int) -> tuple[Subset, list[Endpoint]]:
    endpoints = [Endpoint(f"10.0.0.{i}:80", weight) for i, weight in enumerate(weights)]
    return Subset(balance, [(one.address, one.weight) for one in endpoints], 10, seed), endpoints


def identified(weights: tuple[int, ...]) -> str:
    return f"{len(weights)}-{sum(weights)}"


@pytest.mark.parametrize("weights", WEIGHTS, ids=identified)
@pytest.mark.parametrize("balance", [Balance.RANDOM, Balance.LEAST_REQUEST, Balance.PEAK_EWMA], ids=lambda b: b.name)
def test_the_choices_are_the_twin_s(balance: Balance, weights: tuple[int, ...]) -> None:
    subset, endpoints = both(balance, weights, seed=17)
    random = Random(17)
    script = Random(4)
    for turn in range(400):
        touched = script.below(len(weights))
        endpoints[touched].active = script.below(20)
        subset.set_active(touched, endpoints[touched].active)
        now_ns = SECOND + turn * 50 * MILLISECOND
        if turn % 3 == 0:
            round_trip_ns, failed = script.below(200) * MILLISECOND, script.below(20) == 0
            endpoints[touched].observe(round_trip_ns, failed, now_ns)
            subset.observe(touched, round_trip_ns, failed, now_ns)
        if turn % 50 == 49:
            sick = script.below(len(weights))
            endpoints[sick].healthy = not endpoints[sick].healthy
            subset.set_health(sick, not endpoints[sick].healthy)
        avoid = script.below(len(weights)) if turn % 4 == 3 else None
        usable, _ = available(endpoints, 10)
        if balance == Balance.RANDOM:
            expected = random_choice(endpoints, usable, random, avoid)
        else:
            expected = better_of_two(endpoints, usable, random, avoid, now_ns if balance == Balance.PEAK_EWMA else None)
        assert subset.pick(now_ns=now_ns, avoid=avoid) == expected, f"turn {turn}"


@pytest.mark.parametrize("weights", [weights for weights in WEIGHTS if 0 not in weights], ids=identified)
def test_the_alias_table_adds_up(weights: tuple[int, ...]) -> None:
    # Of the twin, which the choices above tie to the compiled one: every weight gets exactly its part.
    total = sum(weights)
    parts = [0] * len(weights)
    for column, (own, other) in enumerate(alias_columns(weights)):
        parts[column] += own
        parts[other] += total - own
    assert parts == [weight * len(weights) for weight in weights]


def test_least_request_prefers_fewer_requests_for_each_unit_of_weight() -> None:
    subset = Subset(Balance.LEAST_REQUEST, [("a:1", 1), ("b:1", 2)])
    subset.set_active(0, 2)
    subset.set_active(1, 3)
    assert {subset.pick() for _ in range(50)} == {1}
    subset.set_active(1, 5)
    assert {subset.pick() for _ in range(50)} == {0}


def test_least_request_keeps_busy_endpoints_level() -> None:
    weights = (1, 1, 2, 4)
    subset = Subset(Balance.LEAST_REQUEST, [(f"h{i}:1", weight) for i, weight in enumerate(weights)], seed=2)
    active = [0] * 4
    for _ in range(800):
        chosen = subset.pick()
        assert chosen is not None
        active[chosen] += 1
        subset.set_active(chosen, active[chosen])
    assert all(abs(found - 100 * weight) < 10 for found, weight in zip(active, weights, strict=True))


def test_peak_ewma_takes_a_peak_at_once_and_forgets_it_slowly() -> None:
    subset = Subset(Balance.PEAK_EWMA, [("a:1", 1)])
    assert subset.ewma_ns(0, SECOND) == 30 * MILLISECOND
    subset.observe(0, 5 * MILLISECOND, False, SECOND)
    assert subset.ewma_ns(0, SECOND) == 5 * MILLISECOND
    subset.observe(0, 80 * MILLISECOND, False, SECOND)
    assert subset.ewma_ns(0, SECOND) == 80 * MILLISECOND
    subset.observe(0, 10 * MILLISECOND, False, 11 * SECOND)
    assert subset.ewma_ns(0, 11 * SECOND) == pytest.approx((80 / math.e + 10 * (1 - 1 / math.e)) * MILLISECOND)


def test_peak_ewma_decays_without_traffic_and_never_gains_from_a_clock_that_stands() -> None:
    subset = Subset(Balance.PEAK_EWMA, [("a:1", 1)])
    subset.observe(0, 80 * MILLISECOND, False, 20 * SECOND)
    assert subset.ewma_ns(0, 30 * SECOND) == pytest.approx(80 * MILLISECOND / math.e)
    assert subset.ewma_ns(0, 10 * SECOND) == 80 * MILLISECOND
    subset.observe(0, 1, False, 20 * SECOND)
    assert subset.ewma_ns(0, 20 * SECOND) == 80 * MILLISECOND


def test_a_failure_costs_as_much_as_a_round_trip_of_a_second() -> None:
    subset = Subset(Balance.PEAK_EWMA, [("a:1", 1)])
    subset.observe(0, 1000, True, SECOND)
    assert subset.ewma_ns(0, SECOND) == SECOND
    subset.observe(0, 3 * SECOND, True, SECOND)
    assert subset.ewma_ns(0, SECOND) == 3 * SECOND


def test_peak_ewma_leaves_the_slow_one_and_weighs_its_queue() -> None:
    subset = Subset(Balance.PEAK_EWMA, [("fast:1", 1), ("slow:1", 1)])
    subset.observe(0, 10 * MILLISECOND, False, SECOND)
    subset.observe(1, 40 * MILLISECOND, False, SECOND)
    assert {subset.pick(now_ns=SECOND) for _ in range(50)} == {0}
    subset.set_active(0, 5)
    assert {subset.pick(now_ns=SECOND) for _ in range(50)} == {1}


def test_peak_ewma_tries_an_endpoint_it_never_heard_of_in_the_end() -> None:
    subset = Subset(Balance.PEAK_EWMA, [("fast:1", 1), ("new:1", 1)])
    chosen = set()
    for second in range(1, 90):
        subset.observe(0, MILLISECOND, False, second * SECOND)
        chosen |= {subset.pick(now_ns=second * SECOND) for _ in range(20)}
    assert chosen == {0, 1}
