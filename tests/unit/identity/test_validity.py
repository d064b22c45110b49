"""When a certificate is valid, and when its end is near."""

from __future__ import annotations

import pytest

from fastmesh.identity.validity import DAY_S, Phase, Validity, left

YEAR = Validity(0, 365 * DAY_S)
HOUR = Validity(0, 3600)


@pytest.mark.parametrize(
    ("validity", "now_s", "phase"),
    [
        (YEAR, -1, Phase.FUTURE),
        (YEAR, 0, Phase.VALID),
        (YEAR, (365 - 14) * DAY_S, Phase.VALID),
        (YEAR, (365 - 14) * DAY_S + 1, Phase.ENDING),
        (YEAR, 365 * DAY_S, Phase.ENDING),
        (YEAR, 365 * DAY_S + 1, Phase.EXPIRED),
        (HOUR, 2400, Phase.VALID),
        (HOUR, 2401, Phase.ENDING),
        (HOUR, 3601, Phase.EXPIRED),
    ],
)
def test_phases(validity: Validity, now_s: float, phase: Phase) -> None:
    assert validity.phase(now_s) is phase
    assert bool(validity.warning(now_s)) == (phase is not Phase.VALID)


def test_warnings_name_the_moment() -> None:
    assert YEAR.warning(-1) == "it is not valid before 1970-01-01 00:00 UTC"
    assert YEAR.warning(363 * DAY_S - 1) == "it expires on 1971-01-01 00:00 UTC, in 2 days"
    assert YEAR.warning(366 * DAY_S) == "it expired on 1971-01-01 00:00 UTC"


def test_time_left_is_rounded_down() -> None:
    assert [left(seconds) for seconds in (3 * DAY_S - 1, 7200, 7199, 119, 0)] == [
        "2 days",
        "2 hours",
        "119 minutes",
        "119 seconds",
        "0 seconds",
    ]
