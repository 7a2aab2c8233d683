"""Exits of DELIVERY positions in a whole order room: what is on the way is not sold, and never forgotten."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from shared.models import Disposition, Product
from tests.order.conftest import RUN, Room

DAY_S = 86_400


def bought(room: Room, *, shares: int = 10, **limits: Any) -> None:
    """Buy for DELIVERY on Monday."""
    room.user(product=Product.DELIVERY, shares=shares, **limits)
    room.give("ENTER_LONG", price="2500")
    assert room.held(product="DELIVERY") == shares


def test_shares_bought_today_can_be_sold_today(room: Room) -> None:
    bought(room)
    room.later(60)
    (row,) = room.give("EXIT_LONG", price="2500")
    assert (row.state, room.held(product="DELIVERY")) == ("FILLED", 0)


def test_exit_of_shares_on_the_way_stays_latched_until_they_have_come(room: Room) -> None:
    bought(room)
    room.later(DAY_S)
    (row,) = room.give("EXIT_LONG", price="2400")
    assert (row.state, row.ended, room.held(product="DELIVERY")) == ("NEW", Disposition.ORDERED, 10)
    assert row.rule.startswith("btst: 10 to be sold, 0 can be, 10 are on the way")
    rows = room.query("SELECT count(*) FROM journal")
    room.later(60)
    room.quote("2390")
    assert room.query("SELECT count(*) FROM journal") == rows  # waiting costs no entry per price
    room.later(DAY_S)
    room.quote("2380")
    assert room.held(product="DELIVERY") == 0
    assert room.rows()[-1].state == "FILLED"
    assert room.rows()[-1].rule == ""
    assert room.audit().findings == []


def test_latched_exit_and_its_shares_survive_a_restart(room: Room) -> None:
    bought(room)
    room.later(DAY_S)
    room.give("EXIT_LONG", price="2400")
    room.open()
    room.later(60)
    room.quote("2390")
    assert room.held(product="DELIVERY") == 10
    room.later(DAY_S)
    room.quote("2380")
    assert room.held(product="DELIVERY") == 0


def test_shares_on_the_way_are_known_after_a_restart(room: Room) -> None:
    bought(room)
    room.open()
    room.later(DAY_S)
    (row,) = room.give("EXIT_LONG", price="2400")
    assert row.state == "NEW"


def test_exit_is_latched_once_however_often_it_is_wanted(room: Room) -> None:
    bought(room)
    room.later(DAY_S)
    room.give("EXIT_LONG", price="2400")
    room.later(60)
    (row,) = room.give("EXIT_LONG", price="2400")
    assert row.ended is Disposition.ALREADY_THERE


def test_user_who_allows_btst_sells_at_once(room: Room) -> None:
    bought(room, allow_btst=True)
    room.later(DAY_S)
    (row,) = room.give("EXIT_LONG", price="2400")
    assert row.state == "FILLED"


def test_sale_by_hand_waits_for_its_shares_as_well(room: Room) -> None:
    room.user()
    room.direct(product="DELIVERY")
    room.later(DAY_S)
    sold = room.direct(product="DELIVERY", side="SELL", quantity=4)
    assert (sold.state, sold.rule.partition(":")[0]) == ("NEW", "btst")


def test_intraday_position_is_never_held_back(room: Room) -> None:
    room.user()
    room.give("ENTER_LONG")
    room.later(DAY_S)
    (row,) = room.give("EXIT_LONG")
    assert (row.state, room.held(run=RUN)) == ("FILLED", 0)


def test_trade_to_trade_share_is_not_sold_on_its_first_day(room: Room) -> None:
    bought(room, allow_btst=True)
    desk = room.books.desk
    held = desk.instruments.get("RELIANCE")
    desk.instruments._by_name["RELIANCE"] = replace(held, series="BE")
    try:
        room.later(60)
        (row,) = room.give("EXIT_LONG", price="2500")
    finally:
        desk.instruments._by_name["RELIANCE"] = held
    assert row.state == "NEW"
    assert "every share has to arrive first" in row.rule


@pytest.mark.parametrize("symbol", ["RELIANCE", "TCS"])
def test_shares_are_counted_per_book(room: Room, symbol: str) -> None:
    room.user(product=Product.DELIVERY)
    room.give("ENTER_LONG", "RELIANCE", "2500")
    room.later(2 * DAY_S)
    room.give("ENTER_LONG", "TCS", "3900")
    (row,) = room.give("EXIT_LONG", symbol, "2500" if symbol == "RELIANCE" else "3900")
    assert row.state == "FILLED"
