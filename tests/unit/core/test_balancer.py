"""What holds for every balancer: who is available, weight 0, panic, avoidance, and the shares."""

import pytest

from fastmesh._core.balancer import Subset
from fastmesh.snapshot import Balance

EVERY = list(Balance)
WEIGHTED = [Balance.ROUND_ROBIN, Balance.RANDOM, Balance.LEAST_REQUEST, Balance.PEAK_EWMA]


def endpoints_of(*weights: int) -> list[tuple[str, int]]:
    return [(f"10.0.{i // 256}.{i % 256}:8080", weight) for i, weight in enumerate(weights)]


def picks(subset: Subset, count: int, avoid: int | None = None) -> list[int | None]:
    return [subset.pick(b"key %d" % i, 1, avoid) for i in range(count)]


@pytest.mark.parametrize("balance", EVERY)
class TestEveryBalance:
    def test_no_endpoint(self, balance: Balance) -> None:
        subset = Subset(balance, [])
        assert subset.pick() is None
        assert (subset.size, subset.available, subset.panics) == (0, 0, False)
        assert subset.spread(10) == []

    def test_one_endpoint_is_chosen_even_when_avoided(self, balance: Balance) -> None:
        subset = Subset(balance, endpoints_of(3))
        assert set(picks(subset, 20)) == {0}
        assert set(picks(subset, 20, avoid=0)) == {0}

    def test_weight_0_drains(self, balance: Balance) -> None:
        subset = Subset(balance, endpoints_of(0, 1, 0, 2))
        assert set(picks(subset, 500)) == {1, 3}
        assert subset.available == 2
        assert Subset(balance, endpoints_of(0, 0)).pick() is None

    def test_weight_0_stays_out_in_panic(self, balance: Balance) -> None:
        subset = Subset(balance, endpoints_of(0, 1))
        subset.set_health(1, True)
        assert set(picks(subset, 20)) == {1}
        assert subset.panics

    @pytest.mark.parametrize("count", [2, 3, 100])
    def test_the_unhealthy_are_passed_over_and_come_back(self, balance: Balance, count: int) -> None:
        subset = Subset(balance, endpoints_of(*[1] * count), panic_percent=10)
        subset.set_health(1, True)
        assert 1 not in picks(subset, 40 * count)
        assert (subset.available, subset.panics) == (count - 1, False)
        subset.set_health(1, False)
        assert 1 in picks(subset, 40 * count)

    def test_panic_below_the_threshold_uses_all(self, balance: Balance) -> None:
        subset = Subset(balance, endpoints_of(1, 1, 1, 1), panic_percent=50)
        for sick, expected, panics in (
            ({0, 1}, {2, 3}, False),
            ({0, 1, 2}, {0, 1, 2, 3}, True),
            ({0, 3}, {1, 2}, False),
        ):
            for i in range(4):
                subset.set_health(i, i in sick)
            assert set(picks(subset, 200)) == expected
            assert (subset.panics, subset.available) == (panics, len(expected))

    def test_all_unhealthy(self, balance: Balance) -> None:
        for panic_percent, expected in ((50, {0, 1}), (1, {0, 1}), (0, {None})):
            subset = Subset(balance, endpoints_of(1, 1), panic_percent)
            subset.set_health(0, True)
            subset.set_health(1, True)
            assert set(picks(subset, 100)) == expected

    @pytest.mark.parametrize("weights", [(1, 1), (1, 1000), (3, 1, 2), (1,) * 70, (5,) * 69 + (100_000,)])
    def test_the_avoided_one_is_not_chosen(self, balance: Balance, weights: tuple[int, ...]) -> None:
        subset = Subset(balance, endpoints_of(*weights))
        avoid = len(weights) - 1
        assert avoid not in picks(subset, 300, avoid=avoid)

    def test_avoiding_when_only_the_avoided_one_is_healthy(self, balance: Balance) -> None:
        subset = Subset(balance, endpoints_of(1, 1, 1), panic_percent=0)
        subset.set_health(0, True)
        subset.set_health(2, True)
        assert set(picks(subset, 20, avoid=1)) == {1}

    def test_a_thousand_endpoints_all_get_their_part(self, balance: Balance) -> None:
        subset = Subset(balance, endpoints_of(*[1] * 1000), seed=3)
        counts = subset.spread(200_000)
        assert sum(counts) == 200_000
        assert min(counts) > 50
        assert max(counts) < 500

    def test_the_same_seed_gives_the_same_choices(self, balance: Balance) -> None:
        one, two = (Subset(balance, endpoints_of(*range(1, 90)), seed=11) for _ in range(2))
        assert picks(one, 500) == picks(two, 500)

    def test_health_goes_back_and_forth_without_harm(self, balance: Balance) -> None:
        subset = Subset(balance, endpoints_of(*[1, 2, 3] * 30), panic_percent=0, seed=5)
        for turn in range(300):
            subset.set_health(turn * 7 % 90, turn % 3 != 0)
            chosen = subset.pick(b"%d" % turn, turn)
            assert chosen is not None
        assert subset.available < 90


@pytest.mark.parametrize("balance", WEIGHTED)
@pytest.mark.parametrize("weights", [(1, 2, 3), (90, 10), (1,) * 20, (1, 50) * 20, tuple(range(1, 101))])
def test_shares_are_as_the_weights(balance: Balance, weights: tuple[int, ...]) -> None:
    count = 400_000
    counts = Subset(balance, endpoints_of(*weights), seed=1).spread(count)
    expected = [count * weight / sum(weights) for weight in weights]
    # Pearson's statistic has a mean of n - 1 and a deviation of sqrt(2 (n - 1)) for a draw that is exact.
    statistic = sum((found - mean) ** 2 / mean for found, mean in zip(counts, expected, strict=True))
    freedom = len(weights) - 1
    if balance == Balance.ROUND_ROBIN:
        assert max(abs(found - mean) for found, mean in zip(counts, expected, strict=True)) <= 1.5
    else:
        assert statistic < freedom + 5 * (2 * freedom) ** 0.5


def test_arguments_are_checked() -> None:
    with pytest.raises(ValueError, match="no balance 6"):
        Subset(6, [])
    with pytest.raises(ValueError, match="not 101"):
        Subset(0, [], panic_percent=101)
    with pytest.raises(OverflowError):
        Subset(0, [("a:1", -1)])
    subset = Subset(0, endpoints_of(1))
    with pytest.raises(IndexError, match="no endpoint 1 among 1"):
        subset.pick(avoid=1)
    with pytest.raises(IndexError, match="no endpoint -1 among 1"):
        subset.set_health(-1, True)
    with pytest.raises(IndexError, match="no endpoint 1 among 1"):
        subset.set_active(1, 1)
