"""The high-resolution histogram against a sorted list."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastmesh._core.latency_histogram import LatencyHistogram

DURATIONS_NS = st.lists(st.integers(0, 4_000_000_000_000), min_size=1, max_size=200)


def filled(durations_ns: list[int]) -> LatencyHistogram:
    histogram = LatencyHistogram()
    for duration_ns in durations_ns:
        histogram.record(duration_ns)
    return histogram


@given(DURATIONS_NS, st.sampled_from([0.0, 0.1, 0.5, 0.9, 0.99, 0.999, 1.0]))
def test_quantile_is_at_most_a_bucket_too_high(durations_ns: list[int], share: float) -> None:
    ordered = sorted(durations_ns)
    reached = next(value for position, value in enumerate(ordered, 1) if position >= max(share * len(ordered), 1))
    found = filled(durations_ns).quantile_ns(share)
    assert reached <= found <= reached * (1 + 1 / 128)


@given(DURATIONS_NS)
def test_extremes_and_mean_are_exact(durations_ns: list[int]) -> None:
    histogram = filled(durations_ns)
    assert histogram.total == len(durations_ns)
    assert histogram.min_ns == min(durations_ns)
    assert histogram.max_ns == max(durations_ns)
    assert histogram.mean_ns == pytest.approx(sum(durations_ns) / len(durations_ns))


def test_short_durations_are_exact() -> None:
    histogram = filled(list(range(256)))
    assert [histogram.quantile_ns((value + 1) / 256) for value in range(256)] == list(range(256))


def test_counts_weigh() -> None:
    histogram = LatencyHistogram()
    histogram.record(100, 99)
    histogram.record(200)
    histogram.record(300, 0)
    assert (histogram.total, histogram.quantile_ns(0.99), histogram.quantile_ns(1.0)) == (100, 100, 200)


def test_beyond_the_range_only_the_maximum_is_exact() -> None:
    histogram = filled([1 << 50])
    assert histogram.max_ns == 1 << 50
    assert histogram.quantile_ns(0.5) == (1 << 42) - 1


def test_empty() -> None:
    histogram = LatencyHistogram()
    assert (histogram.total, histogram.quantile_ns(0.5), histogram.max_ns, histogram.mean_ns) == (0, 0, 0, 0.0)


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_share_out_of_range(share: float) -> None:
    with pytest.raises(ValueError, match="share must be between 0 and 1"):
        LatencyHistogram().quantile_ns(share)
