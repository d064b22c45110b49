"""Draw how the balancers distribute requests: `python -m bench.balance_distribution` writes docs/images/balance_*.svg.

Everything comes from the balancers that serve traffic, with fixed seeds, so the pictures are the same on every machine.
"""

import heapq
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from bench.bar_chart import Panel, chart
from fastmesh._core.balancer import Subset
from fastmesh._core.hashing import hash_xxh64, random_numbers
from fastmesh.snapshot import Balance

IMAGES = Path(__file__).resolve().parent.parent / "docs" / "images"
WEIGHTS = (1, 1, 2, 2, 3, 3, 4, 4)
PICKS = 100_000
REQUESTS = 20_000
SERVICE_NS = 10_000_000
LOAD = 0.3
SLOW_FACTOR = 3
KEYS = [b"key %d" % number for number in range(10_000)]


def endpoints_of(weights: Sequence[int]) -> list[tuple[str, int]]:
    return [(f"10.0.0.{number}:8080", weight) for number, weight in enumerate(weights)]


def shares() -> str:
    """How often each endpoint is chosen when all are idle, in per cent; the mark is what its weight asks for."""
    expected = [100 * weight / sum(WEIGHTS) for weight in WEIGHTS]
    panels = []
    for balance in Balance:
        counts = Subset(balance, endpoints_of(WEIGHTS), seed=1).spread(PICKS, now_ns=1)
        bars = [100 * count / PICKS for count in counts]
        panels.append(Panel(balance.name.lower(), bars, [f"w{weight}" for weight in WEIGHTS], marks=expected))
    return chart("Share of requests by weight, per cent (mark: what the weight asks for)", panels)


class Outcome(NamedTuple):
    """What became of a simulated load."""

    slow_share: float  # per cent of the requests that the slow endpoint got
    mean_ms: float
    p99_ms: float


def simulate(balance: Balance) -> Outcome:
    """Ten endpoints that serve one request at a time, one of them three times slower, at 30% of what all can do."""
    subset = Subset(balance, endpoints_of([1] * 10), seed=2)
    noise = random_numbers(3, REQUESTS * 2)
    mean_gap_ns = SERVICE_NS / (9 + 1 / SLOW_FACTOR) / LOAD
    free_at, active, ends = [0] * 10, [0] * 10, list[tuple[int, int, int]]()
    latencies, slow, now = [], 0, 1_000_000_000
    for turn in range(REQUESTS):
        now += int(mean_gap_ns * 2 * noise[2 * turn] / 2**64)
        while ends and ends[0][0] <= now:
            end, endpoint, began = heapq.heappop(ends)
            active[endpoint] -= 1
            subset.set_active(endpoint, active[endpoint])
            subset.observe(endpoint, end - began, False, end)
        chosen = subset.pick(now_ns=now)
        assert chosen is not None
        work = int(SERVICE_NS * (0.5 + noise[2 * turn + 1] / 2**64)) * (SLOW_FACTOR if chosen == 0 else 1)
        free_at[chosen] = max(free_at[chosen], now) + work
        active[chosen] += 1
        subset.set_active(chosen, active[chosen])
        heapq.heappush(ends, (free_at[chosen], chosen, now))
        latencies.append((free_at[chosen] - now) / 1e6)
        slow += chosen == 0
    latencies.sort()
    return Outcome(100 * slow / REQUESTS, sum(latencies) / REQUESTS, latencies[REQUESTS * 99 // 100])


def slow_endpoint() -> str:
    """What one slow endpoint does to everybody."""
    balances = [Balance.ROUND_ROBIN, Balance.RANDOM, Balance.LEAST_REQUEST, Balance.PEAK_EWMA]
    names = [balance.name.lower().replace("_", " ") for balance in balances]
    outcomes = [simulate(balance) for balance in balances]
    panels = [
        Panel("share of the slow one, %", [outcome.slow_share for outcome in outcomes], names),
        Panel("mean latency, ms", [outcome.mean_ms for outcome in outcomes], names),
        Panel("p99 latency, ms", [outcome.p99_ms for outcome in outcomes], names),
    ]
    return chart("Ten endpoints, one of them three times slower, at 30% load", panels)


def owners(balance: Balance | None, names: Sequence[str], sick: int | None = None) -> list[str]:
    """Who has each key; without a balance: the hash modulo the number of endpoints."""
    if balance is None:
        return [names[hash_xxh64(key) % len(names)] for key in KEYS]
    subset = Subset(balance, [(name, 1) for name in names])
    if sick is not None:
        subset.set_health(sick, True)
    return [names[subset.pick(key) or 0] for key in KEYS]


def moved(before: Sequence[str], after: Sequence[str], lost: str) -> float:
    """Per cent of the keys whose owner is still there, yet that went to another."""
    kept = [(was, now) for was, now in zip(before, after, strict=True) if was != lost]
    return 100 * sum(was != now for was, now in kept) / len(kept)


def disruption() -> str:
    """How many keys move without need when one of twenty endpoints goes."""
    names = [address for address, _ in endpoints_of([1] * 20)]
    rest = names[:7] + names[8:]
    removed, unhealthy = [], []
    for balance in (Balance.RING_HASH, Balance.MAGLEV, None):
        before = owners(balance, names)
        removed.append(moved(before, owners(balance, rest), names[7]))
        # Modulo has no notion of health: the list gets shorter, as when one is removed.
        after = owners(balance, names, sick=7) if balance is not None else owners(None, rest)
        unhealthy.append(moved(before, after, names[7]))
    labels = ["ring hash", "maglev", "modulo"]
    panels = [Panel("one of 20 is removed", removed, labels), Panel("one of 20 turns unhealthy", unhealthy, labels)]
    return chart("Keys of the other endpoints that move, per cent", panels)


PICTURES = {"balance_shares.svg": shares, "balance_slow.svg": slow_endpoint, "balance_disruption.svg": disruption}

if __name__ == "__main__":
    for name, draw in PICTURES.items():
        (IMAGES / name).write_text(draw(), encoding="utf-8")
