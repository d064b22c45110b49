import pytest

from fastmesh._core.shared import SharedMemory
from fastmesh.telemetry.ids import CAPACITIES, OVERFLOW_ID, IdRegistry, Kind


class Slots:
    def __init__(self):
        self.zeroed = []

    def reset_id(self, kind, id):
        self.zeroed.append((kind, id))


@pytest.fixture
def slots():
    return Slots()


@pytest.fixture
def registry(slots):
    return IdRegistry(slots, quarantine_s=10.0, capacities={Kind.SERVICE: 4})


def test_ids_begin_at_one_and_stay(registry):
    assert [registry.id_of(Kind.ROUTE, name) for name in "abab"] == [1, 2, 1, 2]
    assert registry.id_of(Kind.LIMIT, "a") == 1
    assert registry.find(Kind.ROUTE, "b") == 2
    assert registry.find(Kind.ROUTE, "c") is None


def test_kinds_may_be_given_as_text(registry):
    assert registry.id_of("endpoint", ("hello", "127.0.0.1:9001")) == 1
    assert registry.items(Kind.ENDPOINT) == [(("hello", "127.0.0.1:9001"), 1)]


def test_what_exceeds_the_capacity_has_id_zero_and_is_counted(registry):
    assert [registry.id_of(Kind.SERVICE, name) for name in "abcde"] == [1, 2, 3, OVERFLOW_ID, OVERFLOW_ID]
    assert registry.overflows(Kind.SERVICE) == 2
    assert registry.overflows(Kind.LISTENER) == 0
    assert registry.find(Kind.SERVICE, "d") is None


def test_an_id_rests_before_it_is_given_away(registry, slots):
    for name in "abc":
        registry.id_of(Kind.SERVICE, name)
    registry.retain(Kind.SERVICE, ["a", "c"], 100.0)
    assert registry.recycle(109.9) == 0
    assert registry.id_of(Kind.SERVICE, "d") == OVERFLOW_ID
    assert ("b", 2) in registry.items(Kind.SERVICE)
    assert registry.recycle(110.0) == 1
    assert slots.zeroed == [("service", 2)]
    assert registry.items(Kind.SERVICE) == [("a", 1), ("c", 3)]
    assert registry.id_of(Kind.SERVICE, "d") == 2


def test_a_name_that_comes_back_in_time_keeps_its_id(registry, slots):
    registry.id_of(Kind.SERVICE, "a")
    registry.retain(Kind.SERVICE, [], 100.0)
    assert registry.id_of(Kind.SERVICE, "a") == 1
    assert registry.recycle(1000.0) == 0
    registry.retain(Kind.SERVICE, [], 1000.0)
    registry.retain(Kind.SERVICE, ["a"], 1005.0)
    assert registry.recycle(2000.0) == 0
    assert slots.zeroed == []


def test_rest_counts_from_when_a_name_went_first(registry):
    registry.id_of(Kind.SERVICE, "a")
    registry.retain(Kind.SERVICE, [], 100.0)
    registry.retain(Kind.SERVICE, [], 109.0)
    assert registry.recycle(110.0) == 1


def test_release_lets_one_name_go(registry, slots):
    for name in "ab":
        registry.id_of(Kind.ENDPOINT, ("hello", name))
    registry.release(Kind.ENDPOINT, ("hello", "a"), 5.0)
    registry.release(Kind.ENDPOINT, ("hello", "unknown"), 5.0)
    assert registry.recycle(15.0) == 1
    assert slots.zeroed == [("endpoint", 1)]


def test_routes_and_limits_have_no_slots_to_zero(registry, slots):
    for kind in (Kind.ROUTE, Kind.LIMIT):
        registry.id_of(kind, "a")
        registry.retain(kind, [], 0.0)
    assert registry.recycle(10.0) == 2
    assert slots.zeroed == []


def test_the_capacities_fit_shared_memory():
    memory = SharedMemory.create(1)
    registry = IdRegistry(memory, quarantine_s=0.0)
    for number in range(CAPACITIES[Kind.LISTENER]):
        registry.id_of(Kind.LISTENER, str(number))
    assert registry.overflows(Kind.LISTENER) == 1
    last = registry.find(Kind.LISTENER, str(CAPACITIES[Kind.LISTENER] - 2))
    memory.add("listener", 0, last, 0, 5)
    registry.retain(Kind.LISTENER, [], 1.0)
    assert registry.recycle(1.0) == CAPACITIES[Kind.LISTENER] - 1
    assert memory.listener(last).accepted == 0
