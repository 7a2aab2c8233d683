from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from order.stops import gained, passed, stop_limit, trailed
from shared.models import Side

PRICES = st.integers(10_000, 50_000_000)
TICKS = st.sampled_from([1, 5, 10, 50])


@given(PRICES, TICKS)
def test_limit_of_a_stop_is_on_the_grid_beyond_its_trigger_and_bounded(price: int, tick: int) -> None:
    trigger = price // tick * tick
    below, above = stop_limit(Side.SELL, trigger, tick), stop_limit(Side.BUY, trigger, tick)
    assert below % tick == above % tick == 0
    assert trigger * 9950 <= below * 10_000 <= trigger * 10_000 <= above * 10_000 <= trigger * 10_050


@given(PRICES, TICKS, st.integers(1, 2_000))
def test_trailing_stop_is_on_the_grid_and_never_nearer_than_its_distance(
    best: int, tick: int, bps: int
) -> None:
    below, above = trailed(Side.SELL, best, bps, tick), trailed(Side.BUY, best, bps, tick)
    assert below % tick == above % tick == 0
    assert below * 10_000 <= best * (10_000 - bps)
    assert above * 10_000 >= best * (10_000 + bps)


@pytest.mark.parametrize(("side", "worse", "better"), [(Side.SELL, 99, 101), (Side.BUY, 101, 99)])
def test_level_is_reached_at_it_and_on_its_far_side(side: Side, worse: int, better: int) -> None:
    assert passed(side, 100, 100) and passed(side, worse, 100) and not passed(side, better, 100)
    assert gained(side, 100, 100) and gained(side, better, 100) and not gained(side, worse, 100)
