from __future__ import annotations

from datetime import date

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from order.delivery import Lots, Quantities, free_from
from shared.calendar import Calendar
from shared.models import Side

BUY, SELL = Side.BUY, Side.SELL
CALENDAR = Calendar.load()


def number(text: str) -> int:
    return (date.fromisoformat(text) - date(1970, 1, 1)).days


@pytest.mark.parametrize(
    ("bought", "free"),
    [
        ("2026-07-06", "2026-07-08"),  # Monday arrives on Tuesday
        ("2026-07-10", "2026-07-14"),  # Friday arrives on Monday
        ("2026-02-18", "2026-02-21"),  # the 19th is a settlement holiday, arrives on Friday the 20th
        ("2026-02-19", "2026-02-21"),  # traded on the settlement holiday itself
        ("2026-01-23", "2026-01-28"),  # Monday the 26th is a trading holiday
        ("2026-02-01", "2026-02-03"),  # budget Sunday
    ],
)
def test_shares_can_be_sold_after_they_have_settled(bought: str, free: str) -> None:
    assert free_from(number(bought), CALENDAR) == number(free)


def test_shares_come_in_steps() -> None:
    lots = Lots()
    day = number("2026-07-06")
    lots.fill(BUY, 10, day)
    assert [lots.quantities(day + n, CALENDAR) for n in range(3)] == [
        Quantities(bought_today=10),
        Quantities(t1=10),
        Quantities(free=10),
    ]


def test_sale_takes_the_days_own_shares_first_and_the_oldest_next() -> None:
    lots = Lots()
    day = number("2026-07-06")
    lots.fill(BUY, 10, day)
    lots.fill(BUY, 5, day + 1)
    lots.fill(BUY, 7, day + 2)
    lots.fill(SELL, 9, day + 2)
    assert lots.quantities(day + 2, CALENDAR) == Quantities(t1=5, free=8)


def test_trade_to_trade_sale_takes_the_oldest() -> None:
    lots = Lots()
    day = number("2026-07-06")
    lots.fill(BUY, 10, day)
    lots.fill(BUY, 7, day + 2)
    lots.fill(SELL, 9, day + 2, trade_to_trade=True)
    assert lots.quantities(day + 2, CALENDAR) == Quantities(bought_today=7, free=1)


def test_authorised_and_pledged_are_parts_of_what_has_arrived() -> None:
    lots = Lots()
    day = number("2026-07-06")
    lots.fill(BUY, 10, day)
    have = lots.quantities(day + 2, CALENDAR, authorised=8, pledged=4)
    assert have == Quantities(free=0, authorised=6, pledged=4)
    assert have.sellable() == 6


@pytest.mark.parametrize(
    ("trade_to_trade", "btst", "sellable"),
    [(False, False, 1 + 4 + 8), (False, True, 1 + 2 + 4 + 8), (True, False, 12), (True, True, 12)],
)
def test_what_may_be_sold(trade_to_trade: bool, btst: bool, sellable: int) -> None:
    have = Quantities(bought_today=1, t1=2, free=4, authorised=8, pledged=16)
    assert have.sellable(trade_to_trade=trade_to_trade, btst=btst) == sellable


fills = st.lists(st.tuples(st.booleans(), st.integers(1, 50), st.integers(0, 3)), max_size=30)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(fills, st.booleans())
def test_lots_are_the_position_whatever_is_traded(
    trades: list[tuple[bool, int, int]], trade_to_trade: bool
) -> None:
    lots, held, day = Lots(), 0, number("2026-07-06")
    for buying, quantity, later in trades:
        day += later
        quantity = quantity if buying else min(quantity, held)
        if quantity:
            lots.fill(BUY if buying else SELL, quantity, day, trade_to_trade=trade_to_trade)
            held += quantity if buying else -quantity
        have = lots.quantities(day, CALENDAR)
        assert have.bought_today + have.t1 + have.free == held
