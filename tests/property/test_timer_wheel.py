"""The wheel against a dictionary of due times that is searched from end to end."""

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from fastmesh._core.timer_wheel import TimerWheel

TIMERS = 12
DELAYS = st.one_of(st.integers(0, 600), st.integers(0, 140_000), st.integers(0, 2**25), st.integers(2**32 - 5, 2**34))


class WheelAndTwin(RuleBasedStateMachine):
    @initialize(start=st.one_of(st.integers(0, 2**20), st.integers(2**32 - 300, 2**32 + 300)))
    def begin(self, start):
        self.now = start
        self.wheel = TimerWheel(TIMERS, start)
        self.due = {}

    @rule(timer=st.integers(0, TIMERS - 1), delay=DELAYS)
    def set(self, timer, delay):
        self.wheel.set(timer, self.now + delay)
        self.due[timer] = max(self.now + delay, self.now + 1)

    @rule(timer=st.integers(0, TIMERS - 1), age=st.integers(1, 1000))
    def set_in_the_past(self, timer, age):
        self.wheel.set(timer, max(self.now - age, 0))
        self.due[timer] = self.now + 1

    @rule(timer=st.integers(0, TIMERS - 1))
    def cancel(self, timer):
        self.wheel.cancel(timer)
        self.due.pop(timer, None)

    @rule(step=DELAYS)
    def advance(self, step):
        self.now += step
        self.fire_all()

    @rule()
    def advance_as_told(self):
        if self.due:
            self.now = self.wheel.next_ms()
            self.fire_all()

    def fire_all(self):
        fired = []
        while (timer := self.wheel.pop(self.now)) is not None:
            fired.append(self.due.pop(timer))
        assert fired == sorted(fired)
        assert all(due <= self.now for due in fired)
        assert all(due > self.now for due in self.due.values())

    @invariant()
    def agree(self):
        if not hasattr(self, "wheel"):
            return
        assert len(self.wheel) == len(self.due)
        assert {timer for timer in range(TIMERS) if self.wheel.is_set(timer)} == set(self.due)
        expected = self.wheel.next_ms()
        if self.due:
            assert self.now < expected <= min(self.due.values())
        else:
            assert expected is None


TestWheelAndTwin = WheelAndTwin.TestCase


@given(st.lists(st.tuples(st.integers(0, TIMERS - 1), DELAYS, st.integers(0, 3)), max_size=60))
def test_callbacks_may_set_and_cancel_in_between(script):
    """Each timer that fires plays the next line of the script: set another, or cancel another."""
    wheel = TimerWheel(TIMERS, 0)
    lines = iter(script)
    due = {}
    for timer in range(TIMERS):
        wheel.set(timer, timer * 100 + 1)
        due[timer] = timer * 100 + 1
    now = 0
    while due:
        now = max(now + 1, min(due.values()))
        while (timer := wheel.pop(now)) is not None:
            assert due.pop(timer) <= now
            line = next(lines, None)
            if line is None:
                continue
            other, delay, what = line
            if what:
                wheel.set(other, now + delay + 1)
                due[other] = now + delay + 1
            else:
                wheel.cancel(other)
                due.pop(other, None)
    assert len(wheel) == 0
