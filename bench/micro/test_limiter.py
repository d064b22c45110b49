"""What a rate limit costs a request: one take, in shared memory, of one bucket or of many."""

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from fastmesh._core.limiter import LimiterTable

TAKES = 100_000
PERIOD_NS = 1_000_000
NOW_NS = 10**12


@pytest.mark.parametrize("keys", [1, 1_000, 100_000])
def test_take(benchmark: BenchmarkFixture, keys: int) -> None:
    """100,000 takes, in turn from as many keys: with the most, each bucket has left the caches since its last take."""
    table = LimiterTable(1 << 20)
    clock = iter(range(NOW_NS, 2 * NOW_NS, TAKES * 100))
    benchmark.extra_info["takes"] = TAKES
    allowed = benchmark(lambda: table.take_many(1, PERIOD_NS, 20, keys, TAKES, next(clock), 100))
    assert 0 < allowed <= TAKES


def test_take_from_python(benchmark: BenchmarkFixture) -> None:
    table = LimiterTable(1 << 20)
    assert benchmark(table.take, 1, 1, 1, 7, NOW_NS) in (0, 1)
