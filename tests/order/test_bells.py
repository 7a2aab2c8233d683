"""Positions closed by the clock: of the data, of the wall, of a rehearsal that was told to."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from broker.base import Accepted, VenueState
from order.bells import SQUARE_OFF
from order.day_plan import DayPlans
from shared.calendar import Calendar
from shared.models import Product
from tests.order.venue import RUN as FAR_RUN
from tests.order.venue import book, price, report, row, send

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.order.conftest import Room


def at(room: Room, clock: str, to: str = "2500") -> None:
    """Bring a price at a time of the day."""
    room.ist(clock)
    room.quote(to)


def test_replay_is_closed_by_the_time_of_its_data(room: Room) -> None:
    room.user()
    room.give("ENTER_LONG")
    at(room, "14:59")
    assert room.held() == 10
    at(room, "15:00")
    assert room.held() == 0
    assert (room.rows()[-1].purpose, room.rows()[-1].state) == ("EXIT", "FILLED")
    (rule,) = room.query("SELECT rule FROM orders WHERE purpose = 'EXIT'")
    assert rule == (SQUARE_OFF,)
    assert room.audit().clean


def test_square_off_takes_the_stop_along_and_happens_once(room: Room) -> None:
    room.user()
    room.give("ENTER_LONG", stop=Decimal(2400))
    for clock in ("15:00", "15:01", "15:10", "15:20", "15:26"):
        at(room, clock)
    assert room.held() == 0
    assert [each.purpose for each in room.rows()] == ["ENTRY", "STOP", "EXIT"]
    room.open()
    at(room, "15:27")
    assert len(room.rows()) == 3
    assert room.audit().clean


def test_restart_after_the_time_closes_what_is_open(room: Room) -> None:
    room.user()
    room.give("ENTER_LONG")
    room.open()
    at(room, "15:12")
    assert room.held() == 0


def test_price_at_the_close_of_a_daily_bar_closes_nothing(room: Room) -> None:
    room.user()
    room.ist("15:30")
    room.give("ENTER_LONG", timeframe="1d")
    room.later(86_400)
    room.quote("2500")
    assert room.held() == 10


def test_delivery_stays(room: Room) -> None:
    room.user(product=Product.DELIVERY)
    room.give("ENTER_LONG")
    at(room, "15:05")
    assert room.held(product="DELIVERY") == 10


def test_entry_that_still_rests_is_withdrawn(make_room: Callable[..., Room]) -> None:
    room = make_room("realistic")
    room.user()
    room.give("ENTER_LONG")
    assert room.rows()[0].state == "ACCEPTED"
    at(room, "15:00")
    assert (room.rows()[0].state, room.held()) == ("CANCELLED", 0)


@pytest.mark.parametrize(("told", "held"), [("", 10), ("10:05", 0)])
def test_rehearsal_goes_by_its_own_clock_when_told(far: Room, told: str, held: int) -> None:
    order = send(far)
    far.books.desk.plans = DayPlans(Calendar.load(), told)
    far.books.answer(order, Accepted("v1"))
    done = row(order.tag, VenueState.COMPLETE, filled=10)
    report(far, book(far.clock.now_us(), done))
    far.later(301)
    price(far)
    sends = far.books.steps(1)[2]
    assert [each.quantity for each in sends] == ([10] if not held else [])


def test_rehearsal_that_is_about_to_be_closed_takes_no_entry(far: Room) -> None:
    far.books.desk.plans = DayPlans(Calendar.load(), "10:10")
    far.take(far.received(far.signal("BUY", run=FAR_RUN)))
    assert far.rows()[0].rule.startswith("session")
