"""What is remembered of attempts to load the directory."""

from fastmesh.control.history import KEPT, Attempt, History, Outcome


def attempt(time_s: float, outcome: Outcome) -> Attempt:
    return Attempt(time_s, f"v{time_s}", outcome, 1.0)


def test_newest_first_and_bounded_but_all_are_counted():
    history = History()
    for number in range(KEPT + 5):
        history.add(attempt(number, Outcome.APPLIED))
    history.add(attempt(100, Outcome.INVALID))
    assert len(history) == KEPT
    assert history.last == attempt(100, Outcome.INVALID)
    assert [each.time_s for each in history][:3] == [100, KEPT + 4, KEPT + 3]
    assert history.counts == {
        Outcome.APPLIED: KEPT + 5, Outcome.INVALID: 1, Outcome.UNBOUND: 0, Outcome.UNCHANGED: 0
    }  # fmt: skip


def test_last_applied_is_not_the_last_attempt():
    history = History()
    assert history.last is None
    assert history.last_applied_s == 0.0
    history.add(attempt(1, Outcome.APPLIED))
    history.add(attempt(2, Outcome.INVALID))
    assert history.last_applied_s == 1
