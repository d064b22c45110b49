"""Counts of gRPC calls: rows by name, summed over workers, bounded."""

from fastmesh._core.grpc_calls import count, grpc_calls
from fastmesh._core.shared import SharedMemory


def calls(**by_status: int) -> tuple[int, ...]:
    return tuple(by_status.get(f"s{status}", 0) for status in range(18))


def test_calls_are_summed_over_workers() -> None:
    shared = SharedMemory.create(2)
    count(shared, 0, 7, b"/shop.Orders/Get", True, 0)
    count(shared, 1, 7, b"/shop.Orders/Get", True, 0)
    count(shared, 1, 7, b"/shop.Orders/Get", True, 14)
    count(shared, 1, 8, b"/shop.Orders/Get", True, -1)
    assert grpc_calls(shared) == [
        (7, "/shop.Orders/Get", calls(s0=2, s14=1), 3),
        (8, "/shop.Orders/Get", calls(s17=1), 1),
    ]


def test_what_nobody_has_answered_takes_no_row() -> None:
    shared = SharedMemory.create(1)
    count(shared, 0, 7, b"/made.Up/Name", False, 12)
    assert grpc_calls(shared) == [(0, "", calls(s12=1), 1)]
    count(shared, 0, 7, b"/made.Up/Name", True, 0)
    count(shared, 0, 7, b"/made.Up/Name", False, 14)
    assert grpc_calls(shared)[1] == (7, "/made.Up/Name", calls(s0=1, s14=1), 2)


def test_the_table_is_bounded() -> None:
    shared = SharedMemory.create(1)
    for number in range(3000):
        count(shared, 0, 1, b"/a.B/%d" % number, True, 0)
    found = grpc_calls(shared)
    assert len(found) <= 1024
    assert sum(row[2][0] for row in found) == 3000
    assert found[0][:2] == (0, "")


def test_long_names_and_none_have_no_row() -> None:
    shared = SharedMemory.create(1)
    count(shared, 0, 1, b"/" + b"x" * 127, True, 0)
    count(shared, 0, 1, b"", True, 0)
    count(shared, 0, 1, b"/" + b"y" * 126, True, 0)
    assert [row[1][:2] for row in grpc_calls(shared)] == ["", "/y"]
