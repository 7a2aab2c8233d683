from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from broker.registry import store_venues
from shared.models import Disposition, OrderState, Quote

if TYPE_CHECKING:
    from tests.order.conftest import Room

LONG, SHORT = 10, -10
RUN = "replay-1"


def stand(room: Room, position: int) -> None:
    """Bring the one user of *room* to a position."""
    room.user()
    if position:
        room.give("ENTER_LONG" if position > 0 else "ENTER_SHORT")
    assert room.held() == position
    room.later(60)


def test_exit_with_the_session_closed_is_latched_and_goes_out_in_session(room: Room) -> None:
    stand(room, LONG)
    room.ist("16:00")
    (row,) = room.give("SELL", price="2400")
    assert (row.state, row.quantity, room.held()) == ("NEW", 10, 10)
    room.later(60)
    room.quote("2390")
    assert room.held() == 10
    room.later(17 * 3600 + 16 * 60)  # 09:17 of the next day
    room.quote("2380")
    assert room.held() == 0
    assert room.rows()[-1].state == "FILLED"
    assert room.audit().clean


def test_latched_exit_once_filled_meets_no_further_price(room: Room) -> None:
    stand(room, LONG)
    room.ist("16:00")
    room.give("SELL", price="2400")
    room.later(17 * 3600 + 16 * 60)
    room.quote("2380")
    for _ in range(3):
        room.later(60)
        room.quote("2370")
    assert room.held() == 0
    assert not room.books.desk.at_work


def test_latched_exit_survives_a_restart(room: Room) -> None:
    stand(room, LONG)
    room.ist("16:00")
    room.give("SELL", price="2400")
    room.open()
    room.later(17 * 3600 + 16 * 60)
    room.quote("2380")
    assert room.held() == 0


def test_second_exit_while_one_is_latched_is_already_there(room: Room) -> None:
    stand(room, LONG)
    room.ist("16:00")
    room.give("SELL")
    assert room.give("SELL")[0].ended is Disposition.ALREADY_THERE
    room.later(17 * 3600 + 16 * 60)
    room.quote("2500")
    assert room.held() == 0


def test_orders_within_a_second_are_counted_over_all_symbols(room: Room) -> None:
    room.user(max_orders_second=2)
    assert room.give("BUY")[0].state == "FILLED"
    assert room.give("SELL")[0].state == "FILLED"
    assert room.give("BUY", "TCS", "3000")[0].rule.startswith("orders_second")
    room.later(1)
    assert room.give("BUY", "TCS", "3000")[0].state == "FILLED"


@pytest.mark.parametrize("restart", [False, True])
def test_entry_at_work_counts_in_the_gross_exposure_until_it_is_gone(
    make_room: Callable[..., Room], restart: bool
) -> None:
    room = make_room("realistic")
    room.user(capital_inr=Decimal(50_000), max_gross=Decimal(1))
    room.give("BUY")
    if restart:
        room.open()
    assert room.give("BUY", "TCS", "3000")[0].rule.startswith("gross_exposure")
    room.give("SELL")  # takes the entry back
    assert room.give("BUY", "TCS", "3000")[0].state == "ACCEPTED"


def test_reversals_entry_waits_for_a_slow_exit_and_is_checked_anew(make_room: Callable[..., Room]) -> None:
    room = make_room("realistic")
    room.user()
    room.give("BUY")
    room.later(1)
    room.quote("2500")
    room.later(1)
    room.give("REVERSE")
    room.later(1)
    room.quote("2500", volume=50)  # half of the exit
    assert (room.held(), room.rows()[-1].state) == (5, "NEW")
    room.later(1)
    room.quote("2500", volume=50)  # the rest; the entry goes out now and meets its price later
    assert (room.held(), room.rows()[-1].state) == (0, "ACCEPTED")
    room.later(1)
    room.quote("2500")
    assert room.held() == SHORT
    assert room.audit().clean


def test_reversals_entry_is_refused_when_the_price_ran_away_meanwhile(make_room: Callable[..., Room]) -> None:
    room = make_room("realistic")
    room.user()
    room.give("BUY")
    room.later(1)
    room.quote("2500")
    room.later(1)
    room.give("REVERSE")
    room.later(1)
    room.quote("2470")
    assert room.rows()[-1].rule.startswith("deviation")
    assert room.held() == 0


@pytest.mark.parametrize("restart", [False, True])
def test_reversals_entry_that_waited_too_long_is_expired(
    make_room: Callable[..., Room], restart: bool
) -> None:
    room = make_room("realistic")
    room.user()
    room.give("BUY")
    room.later(1)
    room.quote("2500")
    room.later(1)
    room.give("REVERSE")
    if restart:
        room.open()
    room.later(61)
    room.quote("2500")
    assert (room.rows()[-1].ended, room.held()) == (Disposition.EXPIRED, 0)


@pytest.mark.parametrize(("waited_s", "state"), [(59, "ACCEPTED"), (61, "EXPIRED")])
@pytest.mark.parametrize("restart", [False, True])
def test_reversals_entry_outside_a_replay_waits_by_the_wall(
    make_room: Callable[..., Room], restart: bool, waited_s: int, state: str
) -> None:
    room = make_room("realistic")
    room.user()
    room.give("BUY", run="sim")
    room.later(1)
    room.quote("2500", run="sim")
    room.later(1)
    room.give("REVERSE", run="sim")
    if restart:
        room.open()
    room.later(waited_s)
    room.quote("2500", run="sim")
    assert (room.rows()[-1].state, room.held(run="sim")) == (state, 0)


def test_waiting_entry_filled_on_a_later_price_meets_no_further_one(room: Room) -> None:
    stand(room, LONG)
    room.ist("16:00")
    room.give("SELL")  # latched, so that a reversal has to wait for it
    room.ist("10:30")
    room.give("REVERSE")
    assert room.rows()[-1].state == "NEW"
    room.later(5)
    room.quote("2500")
    assert room.held() == SHORT
    for _ in range(3):
        room.later(20)
        room.quote("2500")
    assert room.held() == SHORT
    assert not room.books.desk.at_work
    assert room.audit().clean


def test_exit_withdraws_the_entry_at_work_and_sells_what_it_bought(make_room: Callable[..., Room]) -> None:
    room = make_room("realistic")
    room.user()
    room.give("BUY")
    room.later(1)
    room.quote("2500", volume=40)
    assert room.held() == 4
    (row,) = room.give("SELL")
    entry = room.rows()[0]
    assert (entry.state, entry.filled, entry.rule) == ("CANCELLED", 4, "an exit came first")
    assert row.quantity == 4
    room.later(1)
    room.quote("2500")
    assert room.held() == 0
    assert room.audit().clean


def test_order_at_work_meets_prices_of_its_own_market_only(make_room: Callable[..., Room]) -> None:
    room = make_room("realistic")
    room.user()
    room.give("BUY", run="replay-1")
    room.later(1)
    room.quote("2500", run="replay-2")
    assert room.held() == 0
    room.quote("2500", run="replay-1")
    assert room.held() == 10


def test_stop_order_sleeps_over_a_restart_and_fills_once_its_price_has_come(room: Room) -> None:
    room.user()
    room.board.run = RUN
    room.board.update([Quote("RELIANCE", 250_000, room.at_us)])
    stop = room.direct(order_type="SL_LIMIT", side="BUY", price=2510.0, trigger_price=2505.0)
    assert stop.state is OrderState.ACCEPTED
    room.open()
    room.later(1)
    room.quote("2504.95")
    assert room.rows()[0].state == "ACCEPTED"
    room.quote("2520")
    assert room.rows()[0].state == "ACCEPTED", "woken, and beyond its limit"
    room.open()
    room.later(1)
    room.quote("2504")
    assert room.rows()[0].state == "FILLED", "a stop that has woken stays awake"
    assert room.audit().clean


def test_shadow_decides_everything_and_holds_nothing(make_room: Callable[..., Room]) -> None:
    room = make_room(venues=store_venues("instant"))
    room.user(broker="shadow", max_order_inr=Decimal(30_000))
    (order,) = room.give("BUY")
    assert (order.state, order.quantity, order.filled) == ("CANCELLED", 10, 0)
    assert order.rule == (
        "shadow: BUY 10 RELIANCE INTRADAY as a LIMIT with protection near 2500.00 would have been sent"
    )
    assert (room.held(), room.books.engaged(1)) == (0, False)
    room.later(60)
    (refused,) = room.give("BUY", price="3500")
    assert refused.rule.startswith("order_value"), "rules hold as they will"
    assert room.direct().state == "CANCELLED"
    room.open()
    assert room.audit().clean
