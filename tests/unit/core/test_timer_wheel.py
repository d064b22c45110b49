import pytest

from fastmesh._core.timer_wheel import TimerWheel


def drain(wheel, now_ms):
    fired = []
    while (timer := wheel.pop(now_ms)) is not None:
        fired.append(timer)
    return fired


def test_nothing_set():
    wheel = TimerWheel(1, 1000)
    assert len(wheel) == 0
    assert wheel.next_ms() is None
    assert wheel.pop(2**40) is None


@pytest.mark.parametrize("delay", [1, 255, 256, 257, 65535, 65536, 65537, 2**24, 2**32 - 1, 2**32, 2**40])
@pytest.mark.parametrize("start", [0, 1, 255, 2**32 - 1, 2**40 - 3])
def test_fires_in_its_own_millisecond(start, delay):
    wheel = TimerWheel(1, start)
    wheel.set(0, start + delay)
    assert start < wheel.next_ms() <= start + delay
    assert wheel.pop(start + delay - 1) is None
    assert wheel.pop(start + delay) == 0
    assert not wheel.is_set(0)
    assert len(wheel) == 0


def test_following_next_ms_arrives_in_a_few_steps():
    wheel = TimerWheel(1, 77)
    wheel.set(0, 77 + 3_600_000)
    steps = 0
    while wheel.pop(wheel.next_ms()) is None:
        steps += 1
    assert steps <= 3


def test_earliest_first_even_over_a_long_leap():
    wheel = TimerWheel(5, 0)
    for timer, due_ms in enumerate((70_000, 3, 300, 2**25, 299)):
        wheel.set(timer, due_ms)
    assert drain(wheel, 2**26) == [1, 4, 2, 0, 3]


def test_moving_sets_a_timer_once():
    wheel = TimerWheel(1, 0)
    wheel.set(0, 10)
    wheel.set(0, 20)
    assert len(wheel) == 1
    assert drain(wheel, 19) == []
    assert drain(wheel, 20) == [0]
    assert drain(wheel, 1000) == []


def test_cancel_clears_the_slot():
    wheel = TimerWheel(2, 0)
    wheel.set(0, 5)
    wheel.set(1, 5)
    wheel.cancel(0)
    assert wheel.next_ms() == 5
    wheel.cancel(1)
    wheel.cancel(1)
    assert wheel.next_ms() is None
    assert drain(wheel, 100) == []


@pytest.mark.parametrize("start", [254, 255, 256, 65535, 2**24 - 1])
def test_what_has_passed_fires_at_the_next_millisecond(start):
    wheel = TimerWheel(1, start)
    wheel.set(0, 3)
    assert wheel.next_ms() == start + 1
    assert wheel.pop(start) is None
    assert wheel.pop(start + 1) == 0


def test_a_timer_that_sets_itself_anew_does_not_hold_up_the_loop():
    wheel = TimerWheel(1, 0)
    wheel.set(0, 5)
    fired = 0
    while wheel.pop(10) is not None:
        fired += 1
        wheel.set(0, 10)
    assert fired == 2


def test_time_does_not_run_backwards():
    wheel = TimerWheel(1, 100)
    wheel.set(0, 150)
    assert wheel.pop(120) is None
    assert wheel.pop(90) is None
    assert wheel.pop(150) == 0


def test_refuses_timers_that_are_not_there():
    wheel = TimerWheel(2, 0)
    for timer in (-1, 2):
        with pytest.raises(IndexError):
            wheel.set(timer, 1)
    with pytest.raises(ValueError, match="1 or more"):
        TimerWheel(0, 0)
