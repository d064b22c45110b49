"""ring_hash and maglev: tables equal to the twins', and little disruption."""

from collections import Counter

import pytest

from fastmesh._core.balancer import Subset
from fastmesh.snapshot import Balance
from tests.twins.balancer import MAGLEV_SLOTS, Endpoint, available, maglev, ring, walk, xxh64

WEIGHTS = [(1,), (1, 1, 1), (100, 100), (5, 0, 1, 2), (1, 1000), tuple(range(1, 41)), (1,) * 500]
BOTH = pytest.mark.parametrize("balance", [Balance.RING_HASH, Balance.MAGLEV], ids=lambda balance: balance.name)
KEYS = [b"user-%d" % i for i in range(3000)]


def endpoints_of(*weights: int) -> list[Endpoint]:
    return [Endpoint(f"10.1.{i // 256}.{i % 256}:8080", weight) for i, weight in enumerate(weights)]


def subset_of(balance: Balance, endpoints: list[Endpoint], panic_percent: int = 10) -> Subset:
    return Subset(balance, [(one.address, one.weight) for one in endpoints], panic_percent)


def owners(subset: Subset, endpoints: list[Endpoint]) -> list[str]:
    return [endpoints[subset.pick(key) or 0].address for key in KEYS]


@pytest.mark.parametrize("weights", WEIGHTS, ids=lambda weights: f"{len(weights)}-{sum(weights)}")
@BOTH
def test_the_table_is_the_twin_s(balance: Balance, weights: tuple[int, ...]) -> None:
    endpoints = endpoints_of(*weights)
    twin = ring if balance == Balance.RING_HASH else maglev
    assert subset_of(balance, endpoints).table() == twin(endpoints)


@BOTH
def test_the_pick_is_the_twin_s_whoever_is_well(balance: Balance) -> None:
    endpoints = endpoints_of(*[1, 2, 3, 0] * 5)
    subset = subset_of(balance, endpoints)
    table = subset.table()
    for sick in ((), (0,), (1, 2, 4, 5, 6, 8, 9, 10)):
        for i, endpoint in enumerate(endpoints):
            endpoint.healthy = i not in sick
            subset.set_health(i, i in sick)
        usable, _ = available(endpoints, 10)
        for turn, key in enumerate(KEYS[:60]):
            avoid = turn % len(endpoints) if turn % 3 == 2 else None
            if balance == Balance.RING_HASH:
                start = next((i for i, (point, _) in enumerate(table) if point >= xxh64(key)), 0)
            else:
                start = xxh64(key) % MAGLEV_SLOTS
            assert subset.pick(key, avoid=avoid) == walk([owner for _, owner in table], start, usable, avoid)


@BOTH
def test_the_key_decides_alone(balance: Balance) -> None:
    endpoints = endpoints_of(*[1] * 20)
    one, two = subset_of(balance, endpoints), Subset(balance, [(e.address, 1) for e in endpoints], seed=77)
    assert owners(one, endpoints) == owners(two, endpoints) == owners(one, endpoints)


@BOTH
def test_the_order_of_the_endpoints_does_not_matter(balance: Balance) -> None:
    endpoints = endpoints_of(*[1, 2] * 10)
    turned = endpoints[::-1]
    assert owners(subset_of(balance, endpoints), endpoints) == owners(subset_of(balance, turned), turned)


@BOTH
def test_when_an_endpoint_turns_unhealthy_only_its_keys_move(balance: Balance) -> None:
    endpoints = endpoints_of(*[1] * 10)
    subset = subset_of(balance, endpoints)
    before = owners(subset, endpoints)
    subset.set_health(3, True)
    after = owners(subset, endpoints)
    lost = endpoints[3].address
    assert lost not in after
    moved = [now for was, now in zip(before, after, strict=True) if was == lost]
    assert all(was in (now, lost) for was, now in zip(before, after, strict=True))
    assert len(set(moved)) == 9, "its keys are spread over all the others"
    subset.set_health(3, False)
    assert owners(subset, endpoints) == before


@pytest.mark.parametrize(("balance", "others_moved_max"), [(Balance.RING_HASH, 0.0), (Balance.MAGLEV, 0.04)])
def test_when_an_endpoint_is_removed_few_keys_of_others_move(balance: Balance, others_moved_max: float) -> None:
    endpoints = endpoints_of(*[1] * 20)
    rest = endpoints[:7] + endpoints[8:]
    before = owners(subset_of(balance, endpoints), endpoints)
    after = owners(subset_of(balance, rest), rest)
    lost = endpoints[7].address
    moved = sum(1 for was, now in zip(before, after, strict=True) if was not in (now, lost))
    assert moved <= others_moved_max * len(KEYS)


@pytest.mark.parametrize(
    ("weights", "points"),
    [((1,), 1024), ((100, 100), 1024), ((1,) * 10, 1600), ((10, 20) * 5, 2400), ((1, 0), 1024), ((1,) * 409, 65440)],
    ids=str,
)
def test_a_ring_has_160_points_for_a_unit_of_weight(weights: tuple[int, ...], points: int) -> None:
    assert len(subset_of(Balance.RING_HASH, endpoints_of(*weights)).table()) == points


def test_a_ring_is_bounded_yet_everybody_has_a_point() -> None:
    table = subset_of(Balance.RING_HASH, endpoints_of(*[1] * 1000, 4_000_000_000)).table()
    assert len(table) <= 65536 + 1000
    assert len({owner for _, owner in table}) == 1001


@pytest.mark.parametrize(("balance", "deviation"), [(Balance.RING_HASH, 0.25), (Balance.MAGLEV, 0.002)])
def test_the_table_is_shared_by_weight(balance: Balance, deviation: float) -> None:
    endpoints = endpoints_of(1, 2, 3, 4)
    table = subset_of(balance, endpoints).table()
    if balance == Balance.MAGLEV:
        shares = Counter(owner for _, owner in table)
        whole = float(MAGLEV_SLOTS)
    else:
        shares = Counter()
        for (before, _), (point, owner) in zip([(table[-1][0] - 2**64, 0), *table], table, strict=False):
            shares[owner] += point - before
        whole = 2.0**64
    for i, weight in enumerate((1, 2, 3, 4)):
        assert shares[i] / whole == pytest.approx(weight / 10, rel=deviation)


def test_maglev_refuses_more_endpoints_than_slots() -> None:
    with pytest.raises(MemoryError):
        Subset(Balance.MAGLEV, [(f"h{i}:1", 1) for i in range(65535)])
