"""Reading histograms: an index, and what a scrape does for each service."""

from pytest_benchmark.fixture import BenchmarkFixture

from fastmesh._core import histogram

COUNTS = [n % 7 for n in range(histogram.BUCKETS)]


def test_index(benchmark: BenchmarkFixture) -> None:
    assert benchmark(histogram.index, 123_456) > 0


def test_merge_of_four(benchmark: BenchmarkFixture) -> None:
    assert benchmark(histogram.merge, [COUNTS] * 4) == [4 * n for n in COUNTS]


def test_quantile(benchmark: BenchmarkFixture) -> None:
    assert benchmark(histogram.quantile, COUNTS, 0.99) > 0
