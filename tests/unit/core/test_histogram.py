import math

import pytest

from fastmesh._core import histogram

BOUNDS = histogram.bounds()


def test_bounds_rise_and_end_with_infinity():
    assert len(BOUNDS) == histogram.BUCKETS
    assert list(BOUNDS) == sorted(set(BOUNDS))
    assert BOUNDS[0] == 16
    assert BOUNDS[-2] == 1.5 * 2**27
    assert BOUNDS[-1] == math.inf


def test_buckets_are_at_most_a_quarter_wide():
    for lower, upper in zip(BOUNDS, BOUNDS[1:-1], strict=False):
        assert upper / lower <= 1.25


@pytest.mark.parametrize("bucket", range(histogram.BUCKETS - 1))
def test_every_bound_divides_two_buckets(bucket):
    bound = int(BOUNDS[bucket])
    assert histogram.index(bound - 1) == bucket
    assert histogram.index(bound) == bucket + 1


def test_extremes():
    assert histogram.index(0) == 0
    assert histogram.index(2**64 - 1) == histogram.BUCKETS - 1
    for wrong in (-1, 2**64):
        with pytest.raises(OverflowError):
            histogram.index(wrong)


def test_merge_adds_bucket_by_bucket():
    ones = [1] * histogram.BUCKETS
    rising = list(range(histogram.BUCKETS))
    assert histogram.merge([ones, rising, ones]) == [n + 2 for n in rising]
    assert histogram.merge([]) == [0] * histogram.BUCKETS
    with pytest.raises(ValueError, match="96 counters, not 3"):
        histogram.merge([[1, 2, 3]])


def test_quantiles_lie_within_a_bucket_of_the_exact_ones():
    durations = [n * n for n in range(1, 2000)]
    counts = [0] * histogram.BUCKETS
    for duration in durations:
        counts[histogram.index(duration)] += 1
    for q in (0.1, 0.5, 0.9, 0.99, 1.0):
        exact = durations[math.ceil(q * len(durations)) - 1]
        assert histogram.quantile(counts, q) == pytest.approx(exact, rel=0.26)


def test_quantile_of_nothing_and_of_the_last_bucket():
    counts = [0] * histogram.BUCKETS
    assert math.isnan(histogram.quantile(counts, 0.5))
    counts[-1] = 7
    assert histogram.quantile(counts, 0.5) == BOUNDS[-2]


def test_quantile_of_one_bucket_is_interpolated():
    counts = [0] * histogram.BUCKETS
    counts[0] = 4
    assert [histogram.quantile(counts, q) for q in (0.0, 0.25, 0.5, 1.0)] == [0.0, 4.0, 8.0, 16.0]


@pytest.mark.parametrize("q", [-0.1, 1.1, math.nan])
def test_quantile_refuses_what_is_no_share(q):
    with pytest.raises(ValueError, match="between 0 and 1"):
        histogram.quantile([1] * histogram.BUCKETS, q)
