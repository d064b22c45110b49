import multiprocessing
import time

import pytest

from fastmesh._core.limiter import CLOCK_SLACK_NS, LimiterTable

SECOND = 1_000_000_000
NOW = 1_000 * SECOND
LIMIT = 7
KEY = 0xABCDEF


def take(table, *, period=SECOND, burst=1, key=KEY, now=NOW, limit=LIMIT):
    return table.take(limit, period, burst, key, now)


def test_burst_then_one_a_period():
    table = LimiterTable(8)
    assert [take(table, burst=3) for _ in range(4)] == [0, 0, 0, SECOND]
    assert take(table, burst=3, now=NOW + SECOND - 1) == 1
    assert take(table, burst=3, now=NOW + SECOND) == 0
    assert take(table, burst=3, now=NOW + SECOND) == SECOND


def test_a_refusal_takes_no_token():
    table = LimiterTable(8)
    take(table)
    for _ in range(100):
        assert take(table) == SECOND
    assert take(table, now=NOW + SECOND) == 0


def test_a_long_rest_saves_up_no_more_than_the_burst():
    table = LimiterTable(8)
    take(table, burst=2)
    later = NOW + 3600 * SECOND
    assert [take(table, burst=2, now=later) for _ in range(3)] == [0, 0, SECOND]


def test_keys_and_limits_do_not_share_buckets():
    table = LimiterTable(64)
    for limit in range(1, 4):
        for key in range(1, 4):
            assert take(table, limit=limit, key=key) == 0
            assert take(table, limit=limit, key=key) == SECOND


def test_key_zero_is_a_key_like_others():
    table = LimiterTable(8)
    assert [take(table, key=0, limit=0), take(table, key=0, limit=0)] == [0, SECOND]
    assert table.holds(0, 0)


def test_full_buckets_go_first_and_are_no_eviction():
    table = LimiterTable(8)
    take(table, key=1)
    later = NOW + 2 * SECOND
    for key in range(2, 10):
        assert take(table, key=key, now=later) == 0
    assert table.evictions == 0
    assert not table.holds(LIMIT, 1)
    assert all(table.holds(LIMIT, key) for key in range(2, 10))


def test_then_the_one_that_is_full_soonest_goes_and_is_counted():
    table = LimiterTable(8)
    for key in range(1, 9):
        take(table, key=key, now=NOW + (20 - key))
    assert table.evictions == 0
    assert take(table, key=9, now=NOW + 30) == 0
    assert table.evictions == 1
    assert not table.holds(LIMIT, 8)
    assert all(table.holds(LIMIT, key) for key in (1, 2, 3, 4, 5, 6, 7, 9))


def test_a_newcomer_in_an_evicted_slot_begins_full():
    table = LimiterTable(8)
    for key in range(1, 9):
        take(table, key=key, period=3600 * SECOND)
    assert [take(table, key=100, burst=2) for _ in range(3)] == [0, 0, SECOND]


def test_invented_keys_only_push_out_each_other():
    table = LimiterTable(1024)
    assert table.take_many(LIMIT, 3600 * SECOND, 1, 100_000, 100_000, NOW, 1) == 100_000
    assert sum(table.holds(LIMIT, key) for key in range(1, 100_001)) == 1024
    assert table.evictions == 100_000 - 1024


def test_a_faster_rate_is_not_held_up_by_a_slower_one_before():
    table = LimiterTable(8)
    for _ in range(10):
        take(table, period=3600 * SECOND, burst=10)
    wait = take(table, period=SECOND, burst=2)
    assert wait == SECOND
    assert take(table, period=SECOND, burst=2, now=NOW + wait) == 0


def test_a_worker_with_an_older_clock_gives_no_tokens_back():
    table = LimiterTable(8)
    assert take(table, burst=2) == 0
    assert take(table, burst=2) == 0
    behind = NOW - CLOCK_SLACK_NS
    assert take(table, burst=2, now=behind) == SECOND + CLOCK_SLACK_NS
    assert take(table, burst=2, now=NOW + SECOND - 1) == 1


def test_rates_that_overflow_are_bounded():
    table = LimiterTable(8)
    assert take(table, period=2**63, burst=2**63) == 0
    assert take(table, key=5, period=2**64 - 1, burst=1) == 0
    assert take(table, key=5, period=2**64 - 1, burst=1) > 0


@pytest.mark.parametrize("slots", [0, 4, 12, 100])
def test_refuses_a_table_of_an_odd_size(slots):
    with pytest.raises(ValueError, match="power of two"):
        LimiterTable(slots)


@pytest.mark.parametrize(("period", "burst"), [(0, 1), (1, 0)])
def test_refuses_a_limit_without_period_or_burst(period, burst):
    table = LimiterTable(8)
    with pytest.raises(ValueError, match="period and a burst"):
        table.take(1, period, burst, 1, NOW)
    with pytest.raises(ValueError, match="period and a burst"):
        table.take_many(1, period, burst, 1, 1, NOW, 1)


def _take_in_child(table, begin, allowed, keys, burst):
    begin.wait()
    allowed.put(table.take_many(LIMIT, 3600 * SECOND, burst, keys, 200_000, NOW, 0))


@pytest.mark.parametrize(("keys", "burst"), [(1, 54_321), (8, 5_000), (500, 100)])
def test_exact_over_four_processes(keys, burst):
    """As many are allowed as there are tokens, to the last one, however four processes compete for them."""
    fork = multiprocessing.get_context("fork")
    table = LimiterTable(1 << 16)
    begin, allowed = fork.Barrier(4), fork.SimpleQueue()
    children = [fork.Process(target=_take_in_child, args=(table, begin, allowed, keys, burst)) for _ in range(4)]
    for child in children:
        child.start()
    total = sum(allowed.get() for _ in children)
    for child in children:
        child.join()
    assert total == keys * burst
    assert table.evictions == 0


def _take_by_the_clock(table, until_ns, allowed):
    count = 0
    while (now := time.monotonic_ns()) < until_ns:
        count += table.take(LIMIT, SECOND // 5000, 10, KEY, now) == 0
    allowed.put(count)


def test_rate_over_four_processes_with_clocks_of_their_own():
    fork = multiprocessing.get_context("fork")
    table = LimiterTable(8)
    allowed = fork.SimpleQueue()
    begin_ns = time.monotonic_ns()
    until_ns = begin_ns + SECOND // 2
    children = [fork.Process(target=_take_by_the_clock, args=(table, until_ns, allowed)) for _ in range(4)]
    for child in children:
        child.start()
    total = sum(allowed.get() for _ in children)
    for child in children:
        child.join()
    assert total <= (until_ns - begin_ns) * 5000 // SECOND + 10 + 1


def _churn_in_child(table, begin, allowed, seed):
    begin.wait()
    own = sum(table.take(seed, 3600 * SECOND, 1, key, NOW) == 0 for key in range(20_000))
    allowed.put((own, table.take_many(LIMIT, 3600 * SECOND, 1, 4096, 100_000, NOW, 0)))


def test_strangers_keys_in_a_full_table_harm_nothing_but_each_other():
    """Four processes push out each other's buckets; the table then still counts to the last token."""
    fork = multiprocessing.get_context("fork")
    table = LimiterTable(64)
    begin, allowed = fork.Barrier(4), fork.SimpleQueue()
    children = [fork.Process(target=_churn_in_child, args=(table, begin, allowed, seed)) for seed in range(1, 5)]
    for child in children:
        child.start()
    results = [allowed.get() for _ in children]
    for child in children:
        child.join()
    assert all(own > 0 and shared > 0 for own, shared in results)
    later = NOW + 24 * 3600 * SECOND
    evictions = table.evictions
    assert evictions > 0
    assert table.take_many(9, SECOND, 1, 8, 8, later, 0) == 8
    assert table.take_many(9, SECOND, 1, 8, 8, later, 0) == 0
    assert table.evictions == evictions
