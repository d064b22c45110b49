"""Quantities: what is read, what is refused, and that what is written reads the same."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastmesh.config.problem import InvalidText
from fastmesh.config.quantities import (
    DURATION_MAX_MS,
    SIZE_MAX_BYTES,
    read_duration,
    read_percent,
    read_rate,
    read_share,
    read_size,
    write_duration,
    write_rate,
    write_size,
)


@pytest.mark.parametrize(
    ("read", "text", "value"),
    [
        (read_duration, "250ms", 250),
        (read_duration, "1s", 1000),
        (read_duration, "1.5s", 1500),
        (read_duration, "5m", 300_000),
        (read_duration, "1h", 3_600_000),
        (read_duration, "0s", 0),
        (read_duration, "720h", DURATION_MAX_MS),
        (read_size, "64KiB", 65536),
        (read_size, "1MiB", 1 << 20),
        (read_size, "1.5GiB", 3 << 29),
        (read_size, "12B", 12),
        (read_size, "4096", 4096),
        (read_size, "0", 0),
        (read_rate, "100/s", 10_000_000),
        (read_rate, "5000/m", 12_000_000),
        (read_rate, "10/h", 360_000_000_000),
        (read_percent, "0%", 0),
        (read_percent, "100%", 100),
        (read_share, "0.1%", 1000),
        (read_share, "0.0001%", 1),
        (read_share, "100%", 1_000_000),
    ],
)
def test_read(read: Callable[[str], int], text: str, value: int) -> None:
    assert read(text) == value


@pytest.mark.parametrize(
    ("read", "texts"),
    [
        (read_duration, ["", "s", "1", "-1s", "1 s s", "1e3s", "0.1ms", "721h", "١s", "1S", "9" * 30 + "s", "1s1ms"]),
        (read_size, ["", "-1", "1kb", "1K", "0.3B", "1TiB", "9" * 30, "1_000"]),
        (read_rate, ["", "1", "0/s", "1/d", "/s", "1/", "1.5/s", "-1/s", "99999999/s", "1/s/s"]),
        (read_percent, ["", "50", "101%", "-1%", "1.5%", "%"]),
        (read_share, ["", "50", "100.1%", "0.00001%", "-1%"]),
    ],
)
def test_refused(read: Callable[[str], int], texts: list[str]) -> None:
    for text in texts:
        with pytest.raises(InvalidText):
            read(text)


@given(st.integers(0, DURATION_MAX_MS))
def test_durations_read_as_written(value: int) -> None:
    assert read_duration(write_duration(value)) == value


@given(st.integers(0, SIZE_MAX_BYTES))
def test_sizes_read_as_written(value: int) -> None:
    assert read_size(write_size(value)) == value


@pytest.mark.parametrize("text", ["100/s", "1/s", "50/m", "7/m", "10/h"])
def test_rates_are_written_as_read(text: str) -> None:
    assert write_rate(read_rate(text)) == text
