"""The checker with a scripted probe: thresholds, and what survives an update."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

import uvloop

from fastmesh.health import Check, CheckedService, HealthChecker
from fastmesh.health.checker import CONCURRENT_CHECKS_MAX
from fastmesh.health.probe import CheckFailed
from fastmesh.snapshot import Endpoint

FAST = Check(interval_ms=1, rise_count=2, fall_count=3)
ONCE = Check(interval_ms=3_600_000)


class Flags:
    def __init__(self) -> None:
        self.healthy: dict[int, bool] = {}
        self.bumps = 0

    def set_health(self, endpoint_id: int, healthy: bool) -> None:
        self.healthy[endpoint_id] = healthy

    def bump_health(self) -> None:
        self.bumps += 1


class Scripted:
    """Each endpoint answers by its script, then as its last entry says, for ever."""

    def __init__(self, scripts: dict[int, str]) -> None:
        self.scripts = scripts
        self.asked: Counter[int] = Counter()

    async def __call__(self, endpoint: Endpoint, check: Check) -> None:
        script = self.scripts.get(endpoint.id, "+")
        verdict = script[min(self.asked[endpoint.id], len(script) - 1)]
        self.asked[endpoint.id] += 1
        if verdict == "!":
            raise RuntimeError("a bug")
        if verdict == "-":
            raise CheckFailed("status 500")


def endpoint(endpoint_id: int, port: int = 80) -> Endpoint:
    return Endpoint(endpoint_id, "127.0.0.1", port)


def service(check: Check, *endpoints: Endpoint) -> CheckedService:
    return CheckedService("shop", check, endpoints)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


def run(main: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)


def states_after(script: str) -> list[bool]:
    """Whether the endpoint is healthy after each of the scripted results."""
    seen: list[bool] = []

    async def main() -> None:
        probe = Scripted({1: script})
        checker = HealthChecker(Flags(), probe=probe)
        checker.update([service(FAST, endpoint(1))])
        health = checker.health(1)
        assert health is not None
        while len(seen) < len(script):
            await until(lambda: health.checks > len(seen))
            # Only this many results may have come in: a state that was passed by is not seen.
            seen.extend([health.healthy] * (health.checks - len(seen)))
        await checker.close()

    run(main())
    return seen[: len(script)]


def test_the_first_result_decides() -> None:
    assert states_after("-")[0] is False
    assert states_after("+")[0] is True


def final_health(script: str) -> tuple[bool, Flags]:
    flags = Flags()
    result: list[bool] = []

    async def main() -> None:
        gate = Scripted({1: script})
        done = asyncio.Event()

        async def probe(which: Endpoint, check: Check) -> None:
            if gate.asked[1] == len(script):
                done.set()
                await asyncio.sleep(3600)
            await gate(which, check)

        checker = HealthChecker(flags, probe=probe)
        checker.update([service(FAST, endpoint(1))])
        await asyncio.wait_for(done.wait(), 10)
        health = checker.health(1)
        assert health is not None and health.checks == len(script)
        assert health.failures == script.count("-") + script.count("!")
        result.append(health.healthy)
        await checker.close()

    run(main())
    return result[0], flags


def test_thresholds() -> None:
    for script, healthy in {
        "+--": True,
        "+---": False,
        "+--+--": True,  # not in a row
        "-+": False,
        "-++": True,
        "-+-+-+": False,
        "+---++---": False,
        "+---++--": True,
    }.items():
        assert final_health(script)[0] is healthy, script


def test_flags_follow_changes_only() -> None:
    _, flags = final_health("+---++")
    assert flags.healthy == {1: True}
    assert flags.bumps == 2
    _, flags = final_health("++++")
    assert flags.bumps == 0


def test_a_bug_in_a_check_is_a_failure_and_ends_nothing() -> None:
    assert final_health("+!!!++")[0] is True
    assert final_health("!")[0] is False


def test_an_endpoint_that_leaves_is_cleared() -> None:
    async def main() -> None:
        flags = Flags()
        checker = HealthChecker(flags, probe=Scripted({1: "-", 2: "-"}))
        checker.update([service(ONCE, endpoint(1), endpoint(2))])
        await until(lambda: flags.healthy == {1: False, 2: False})
        checker.update([service(ONCE, endpoint(1))])
        assert flags.healthy == {1: False, 2: True}
        assert flags.bumps == 3
        assert checker.health(2) is None
        checker.update([])
        assert flags.healthy == {1: True, 2: True}
        await checker.close()

    run(main())


def test_what_is_kept_is_not_checked_again() -> None:
    async def main() -> None:
        probe = Scripted({1: "-"})
        checker = HealthChecker(Flags(), probe=probe)
        checker.update([service(ONCE, endpoint(1))])
        await until(lambda: probe.asked[1] == 1)
        before = checker.health(1)
        checker.update([service(ONCE, endpoint(1), endpoint(2))])
        await until(lambda: probe.asked[2] == 1)
        assert probe.asked[1] == 1
        assert checker.health(1) is before
        await checker.close()

    run(main())


def test_a_changed_check_keeps_the_state_and_starts_anew() -> None:
    async def main() -> None:
        flags = Flags()
        probe = Scripted({1: "-"})
        checker = HealthChecker(flags, probe=probe)
        checker.update([service(ONCE, endpoint(1))])
        await until(lambda: flags.healthy == {1: False})
        checker.update([service(Check(interval_ms=3_600_000, path="/other"), endpoint(1))])
        assert flags.healthy == {1: False}
        await until(lambda: probe.asked[1] == 2)
        health = checker.health(1)
        assert health is not None and not health.healthy
        await checker.close()

    run(main())


def test_a_changed_address_starts_with_nothing() -> None:
    async def main() -> None:
        flags = Flags()
        checker = HealthChecker(flags, probe=Scripted({1: "-+"}))
        checker.update([service(ONCE, endpoint(1, 80))])
        await until(lambda: flags.healthy == {1: False})
        checker.update([service(ONCE, endpoint(1, 81))])
        assert flags.healthy == {1: True}
        health = checker.health(1)
        assert health is not None and health.checks == 0
        await until(lambda: health.checks == 1)
        assert health.healthy
        await checker.close()

    run(main())


def test_an_endpoint_without_an_id_of_its_own_is_not_checked() -> None:
    async def main() -> None:
        flags = Flags()
        probe = Scripted({0: "-", 1: "-"})
        checker = HealthChecker(flags, probe=probe)
        checker.update([service(ONCE, endpoint(0), endpoint(1))])
        await until(lambda: probe.asked[1] == 1)
        assert (probe.asked[0], flags.healthy, checker.health(0)) == (0, {1: False}, None)
        await checker.close()

    run(main())


def test_checks_at_once_are_bounded() -> None:
    async def main() -> None:
        now = peak = total = 0

        async def probe(which: Endpoint, check: Check) -> None:
            nonlocal now, peak, total
            now += 1
            peak = max(peak, now)
            await asyncio.sleep(0.005)
            now -= 1
            total += 1

        count = CONCURRENT_CHECKS_MAX * 3
        checker = HealthChecker(Flags(), probe=probe)
        checker.update([service(ONCE, *map(endpoint, range(1, count + 1)))])
        await until(lambda: total == count)
        assert peak == CONCURRENT_CHECKS_MAX
        await checker.close()

    run(main())


def test_changes_are_told() -> None:
    async def main() -> None:
        told: list[tuple[str, int, bool]] = []
        checker = HealthChecker(
            Flags(),
            probe=Scripted({1: "-++"}),
            on_change=lambda name, which, health: told.append((name, which.id, health.healthy)),
        )
        checker.update([service(FAST, endpoint(1))])
        await until(lambda: len(told) == 2)
        assert told == [("shop", 1, False), ("shop", 1, True)]
        await checker.close()

    run(main())
