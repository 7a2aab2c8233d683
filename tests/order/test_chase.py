from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from order.chase import ENTRY_ENDS_S, EXIT_MOST_BPS, entry_price, exit_price, touch
from shared.models import Quote, Side

BUY, SELL = Side.BUY, Side.SELL


def quote(bid: int = 99_990, ask: int = 100_010, lower: int = 0, upper: int = 0) -> Quote:
    return Quote("RELIANCE", 100_000, 1, 1, 1, bid, ask, lower, upper)


def test_touch_is_where_the_order_would_trade() -> None:
    assert (touch(BUY, quote()), touch(SELL, quote())) == (100_010, 99_990)
    assert touch(BUY, quote(ask=0)) == 100_000


@pytest.mark.parametrize(
    ("elapsed_s", "buy", "sell"),
    [
        (0.0, 100_050, 99_950),
        (1.9, 100_050, 99_950),
        (2.0, 100_150, 99_850),
        (4.0, 100_300, 99_700),
        (6.0, 100_500, 99_500),
        (9.9, 100_500, 99_500),
    ],
)
def test_entry_gives_way_step_by_step(elapsed_s: float, buy: int, sell: int) -> None:
    assert entry_price(BUY, 100_000, 5, elapsed_s) == buy
    assert entry_price(SELL, 100_000, 5, elapsed_s) == sell


def test_entry_gives_up_after_ten_seconds() -> None:
    assert entry_price(BUY, 100_000, 5, ENTRY_ENDS_S) is None


@pytest.mark.parametrize(("elapsed_s", "price"), [(0, 99_900), (2, 99_700), (4, 99_500), (6.9, 99_500)])
def test_exit_gives_way_from_where_it_was_sent(elapsed_s: float, price: int) -> None:
    assert exit_price(SELL, 100_000, 90_000, 5, elapsed_s, quote()) == price


def test_exit_then_follows_the_touch_up_to_three_percent() -> None:
    assert exit_price(SELL, 100_000, 99_000, 5, 7, quote()) == 98_505
    assert exit_price(SELL, 100_000, 95_000, 5, 7, quote()) == 97_000
    assert exit_price(BUY, 100_000, 101_000, 5, 7, quote()) == 101_505
    assert exit_price(BUY, 100_000, 108_000, 5, 7, quote()) == 103_000


def test_exit_rests_at_the_circuit() -> None:
    assert exit_price(SELL, 100_000, 99_000, 5, 7, quote(lower=98_800)) == 98_800
    assert exit_price(BUY, 100_000, 101_000, 5, 7, quote(upper=101_100)) == 101_100


@given(
    st.sampled_from([BUY, SELL]),
    st.integers(2_000, 10_000_000),
    st.sampled_from([1, 5, 10]),
    st.floats(0, 60),
    st.integers(-500, 500),
)
def test_limits_lie_on_the_grid_and_within_the_most_for_any_price(
    side: Side, arrival: int, tick: int, elapsed_s: float, moved_bps: int
) -> None:
    anchor = arrival * (10_000 + moved_bps) // 10_000
    entry = entry_price(side, arrival, tick, elapsed_s)
    leaving = exit_price(side, arrival, anchor, tick, elapsed_s, None)
    if entry is not None:
        assert entry % tick == 0
        assert abs(entry - arrival) * 10_000 <= 50 * arrival + tick * 10_000
    assert leaving % tick == 0
    worse = arrival - leaving if side is SELL else leaving - arrival
    assert worse * 10_000 <= EXIT_MOST_BPS * arrival + tick * 10_000
