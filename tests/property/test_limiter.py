"""GCRA against the bucket that it stands for: tokens that drip in, and are taken."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from fastmesh._core.limiter import CLOCK_SLACK_NS, LimiterTable

START = 10**12


class Bucket:
    """The obvious twin: a level between 0 and `burst`, one token more each period."""

    def __init__(self, period, burst):
        self.period, self.burst = period, burst
        self.level, self.at = Fraction(burst), START

    def take(self, now):
        self.level = min(Fraction(self.burst), self.level + Fraction(now - self.at, self.period))
        self.at = now
        if self.level >= 1:
            self.level -= 1
            return 0
        return int((1 - self.level) * self.period)


periods = st.integers(1, 10**7)
bursts = st.integers(1, 40)


@given(periods, bursts, st.lists(st.integers(0, 3 * 10**7), max_size=80))
def test_one_bucket(period, burst, gaps):
    table, twin, now = LimiterTable(8), Bucket(period, burst), START
    for gap in gaps:
        now += gap
        assert table.take(3, period, burst, 99, now) == twin.take(now)


@given(
    periods,
    bursts,
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 5), st.integers(1, 3)), max_size=120),
)
def test_many_buckets_that_fit(period, burst, takes):
    table, twins, now = LimiterTable(1024), {}, START
    for gap, key, limit in takes:
        now += gap
        twin = twins.setdefault((key, limit), Bucket(period * limit, burst))
        assert table.take(limit, period * limit, burst, key, now) == twin.take(now)
    assert table.evictions == 0


@given(st.lists(st.tuples(periods, bursts, st.integers(0, 10**9)), min_size=1, max_size=40))
def test_a_changed_rate_never_locks_out_for_long(changes):
    """Whatever rates were in force before, a refusal is over within a period and the slack of the clocks."""
    table, now = LimiterTable(8), START
    for period, burst, gap in changes:
        now += gap
        wait = table.take(1, period, burst, 5, now)
        assert wait <= period + CLOCK_SLACK_NS
        now += wait
        assert wait == 0 or table.take(1, period, burst, 5, now) == 0


@given(periods, bursts, st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 60)), max_size=200))
def test_eviction_never_refuses_a_key_that_its_own_bucket_would_allow(period, burst, takes):
    table, twins, now = LimiterTable(8), {}, START
    for gap, key in takes:
        now += gap
        twin = twins.setdefault(key, Bucket(period, burst))
        if twin.take(now) == 0:
            assert table.take(1, period, burst, key, now) == 0
        else:
            table.take(1, period, burst, key, now)
