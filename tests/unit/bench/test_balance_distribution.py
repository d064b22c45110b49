"""The committed pictures are what the balancers do."""

from collections.abc import Callable

import pytest

from bench.balance_distribution import IMAGES, PICTURES


@pytest.mark.parametrize(("name", "draw"), PICTURES.items(), ids=list(PICTURES))
def test_the_picture_is_up_to_date(name: str, draw: Callable[[], str]) -> None:
    assert draw() == (IMAGES / name).read_text("utf-8"), "run python -m bench.balance_distribution"
