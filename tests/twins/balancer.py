"""The balancers, slow and obvious. They draw the compiled ones' random numbers, so that choices can be compared."""

import heapq
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import reduce

import xxhash

MASK = (1 << 64) - 1
STEP = 1 << 40
EWMA_START_NS = 30e6
EWMA_DECAY_NS = 10e9
EWMA_FAILURE_NS = 1e9
MAGLEV_SLOTS = 65537


def xxh64(data: bytes, seed: int = 0) -> int:
    return xxhash.xxh64(data, seed).intdigest()


def xxh64_number(number: int, seed: int) -> int:
    return xxh64(number.to_bytes(8, "little"), seed)


@dataclass
class Random:
    """splitmix64."""

    state: int

    def next(self) -> int:
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        return z ^ (z >> 31)

    def below(self, bound: int) -> int:
        return self.next() * bound >> 64


@dataclass
class Endpoint:
    address: str
    weight: int
    active: int = 0
    healthy: bool = True
    ewma_ns: float = 0.0
    ewma_at_ns: int = 0

    @property
    def identity(self) -> int:
        return xxh64(self.address.encode())

    def expected_ns(self, now_ns: int) -> float:
        if self.ewma_at_ns == 0:
            self.ewma_ns, self.ewma_at_ns = EWMA_START_NS, now_ns
        if now_ns <= self.ewma_at_ns:
            return self.ewma_ns
        return self.ewma_ns * math.exp(-float(now_ns - self.ewma_at_ns) / EWMA_DECAY_NS)

    def observe(self, round_trip_ns: int, failed: bool, now_ns: int) -> None:
        observed = max(float(round_trip_ns), EWMA_FAILURE_NS) if failed else float(round_trip_ns)
        kept = math.exp(-float(now_ns - self.ewma_at_ns) / EWMA_DECAY_NS) if now_ns > self.ewma_at_ns else 1.0
        peak = observed > self.ewma_ns
        self.ewma_ns = observed if peak else self.ewma_ns * kept + observed * (1.0 - kept)
        self.ewma_at_ns = now_ns


def available(endpoints: Sequence[Endpoint], panic_percent: int) -> tuple[list[int], bool]:
    """The indexes of those that can be chosen, and whether this is panic."""
    eligible = [i for i, endpoint in enumerate(endpoints) if endpoint.weight]
    healthy = [i for i in eligible if endpoints[i].healthy]
    panic = len(healthy) * 100 < panic_percent * len(eligible)
    return (eligible if panic else healthy), panic


@dataclass
class SmoothRotation:
    """nginx: everybody gains the weight, the largest is picked and pays the total. Who is avoided stands aside."""

    endpoints: list[Endpoint]
    current: dict[int, int] = field(default_factory=dict)
    started: bool = False

    def admit(self, usable: list[int], random: Random) -> None:
        self.current = {i: self.current.get(i, 0) for i in usable}
        if not self.started and usable:
            for _ in range(random.below(len(usable))):
                self.pick(None)
        self.started = True

    def pick(self, avoid: int | None) -> int:
        taking = [i for i in self.current if i != avoid] or list(self.current)
        for i in taking:
            self.current[i] += self.endpoints[i].weight
        chosen = max(taking, key=lambda i: (self.current[i], -i))
        self.current[chosen] -= sum(self.endpoints[i].weight for i in taking)
        return chosen


@dataclass
class HeapRotation:
    """Earliest deadline first: endpoint i comes up each STEP / weight."""

    endpoints: list[Endpoint]
    due: dict[int, int] = field(default_factory=dict)
    now: int = 0

    def admit(self, usable: list[int], random: Random) -> None:
        due = {}
        for i in usable:
            due[i] = self.due[i] if i in self.due else self.now + random.below(STEP // self.endpoints[i].weight)
        self.due = due

    def pick(self, avoid: int | None) -> int:
        taking = [(due, i) for i, due in self.due.items() if i != avoid or len(self.due) == 1]
        self.now, chosen = heapq.nsmallest(1, taking)[0]
        self.due[chosen] += STEP // self.endpoints[chosen].weight
        if avoid in self.due and avoid != chosen:
            self.due[avoid] = max(self.due[avoid], self.now)
        return chosen


def alias_columns(weights: Sequence[int]) -> list[tuple[int, int]]:
    """Vose: for each column the share of its own (of the total weight), and who has the rest."""
    total = sum(weights)
    share = [weight * len(weights) for weight in weights]
    columns = [(total, i) for i in range(len(weights))]
    poor = [i for i in range(len(weights)) if share[i] < total]
    rich = [i for i in range(len(weights)) if share[i] >= total]
    while poor and rich:
        small, large = poor.pop(), rich[-1]
        columns[small] = (share[small], large)
        share[large] -= total - share[small]
        if share[large] < total:
            poor.append(rich.pop())
    return columns


def draw(endpoints: list[Endpoint], usable: list[int], random: Random) -> int:
    """An index into `usable`, by weight, from one random number."""
    weights = [endpoints[i].weight for i in usable]
    product = random.next() * len(usable)
    column = product >> 64
    if len(set(weights)) == 1:
        return column
    own, other = alias_columns(weights)[column]
    return column if (product & MASK) * sum(weights) >> 64 < own else other


def draw_two(endpoints: list[Endpoint], usable: list[int], random: Random) -> tuple[int, int]:
    first = second = draw(endpoints, usable, random)
    if len(usable) == 2:
        second = 1 - first
    elif len(usable) > 2:
        second = draw(endpoints, usable, random)
        if second == first:
            others = [i for i in range(len(usable)) if i != first]
            second = others[random.below(len(others))]
    return usable[first], usable[second]


def random_choice(endpoints: list[Endpoint], usable: list[int], random: Random, avoid: int | None) -> int:
    chosen = draw(endpoints, usable, random)
    tries = 0
    while usable[chosen] == avoid and len(usable) > 1:
        chosen = draw(endpoints, usable, random) if tries < 8 else (chosen + 1) % len(usable)
        tries += 1
    return usable[chosen]


def better_of_two(
    endpoints: list[Endpoint], usable: list[int], random: Random, avoid: int | None, now_ns: int | None
) -> int:
    """least_request when `now_ns` is None, else peak_ewma."""
    first, second = draw_two(endpoints, usable, random)
    if avoid in (first, second):
        return second if first == avoid else first
    one, two = endpoints[first], endpoints[second]
    if now_ns is None:
        return first if one.active * two.weight <= two.active * one.weight else second
    costs = [endpoint.expected_ns(now_ns) * (endpoint.active / endpoint.weight + 1.0) for endpoint in (one, two)]
    return first if costs[0] <= costs[1] else second


def ring(endpoints: Sequence[Endpoint]) -> list[tuple[int, int]]:
    """(hash, endpoint) in order: 160 points for a unit of weight, within bounds."""
    weights = [endpoint.weight for endpoint in endpoints if endpoint.weight]
    if not weights:
        return []
    units = sum(weights) // reduce(math.gcd, weights)
    wanted = 65536 if units >= 65536 // 160 else max(160 * units, 1024)
    points = []
    for index, endpoint in enumerate(endpoints):
        if endpoint.weight:
            count = max(endpoint.weight * wanted // sum(weights), 1)
            points += [(xxh64_number(i, endpoint.identity), index) for i in range(count)]
    return sorted(points, key=lambda point: (point[0], endpoints[point[1]].identity))


def maglev(endpoints: Sequence[Endpoint]) -> list[tuple[int, int]]:
    """(slot, endpoint): in turns, each takes the first free slot of its own permutation."""
    order = sorted((i for i, endpoint in enumerate(endpoints) if endpoint.weight), key=lambda i: endpoints[i].identity)
    slots = [-1] * MAGLEV_SLOTS
    credit = dict.fromkeys(order, 0)

    def permutation(identity: int) -> Iterator[int]:
        offset = xxh64_number(identity, 0) % MAGLEV_SLOTS
        skip = xxh64_number(identity, 1) % (MAGLEV_SLOTS - 1) + 1
        return ((offset + i * skip) % MAGLEV_SLOTS for i in range(MAGLEV_SLOTS))

    walks = {i: permutation(endpoints[i].identity) for i in order}
    weight_max = max((endpoints[i].weight for i in order), default=0)
    left = MAGLEV_SLOTS if order else 0
    while left:
        for i in order:
            credit[i] += endpoints[i].weight
            if credit[i] >= weight_max and left:
                credit[i] -= weight_max
                slots[next(slot for slot in walks[i] if slots[slot] < 0)] = i
                left -= 1
    return list(enumerate(slots)) if order else []


def walk(owners: Sequence[int], start: int, usable: list[int], avoid: int | None) -> int:
    """The first owner from `start` on that can be chosen."""
    allowed = [i for i in usable if i != avoid] or usable
    return next(owner for owner in [*owners[start:], *owners[:start]] if owner in allowed)
