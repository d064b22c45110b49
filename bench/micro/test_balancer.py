"""10,000 picks of each balancer, and the making of its tables; a microsecond a round is 0.1 ns a pick."""

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from fastmesh._core.balancer import Subset
from fastmesh.snapshot import Balance

PICKS = 10_000
SECOND_NS = 1_000_000_000


def endpoints_of(count: int) -> list[tuple[str, int]]:
    return [(f"10.0.{i // 256}.{i % 256}:8080", i % 3 + 1) for i in range(count)]


@pytest.mark.parametrize("count", [3, 64, 1000])
@pytest.mark.parametrize("balance", list(Balance), ids=lambda balance: balance.name.lower())
def test_pick(benchmark: BenchmarkFixture, balance: Balance, count: int) -> None:
    subset = Subset(balance, endpoints_of(count), seed=1)
    counts = benchmark(subset.spread, PICKS, SECOND_NS)
    assert sum(counts) == PICKS


@pytest.mark.parametrize("count", [3, 64, 1000])
@pytest.mark.parametrize("balance", list(Balance), ids=lambda balance: balance.name.lower())
def test_make(benchmark: BenchmarkFixture, balance: Balance, count: int) -> None:
    endpoints = endpoints_of(count)
    subset = benchmark(Subset, balance, endpoints)
    assert subset.available == count
