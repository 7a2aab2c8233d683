"""Positions closed by the clock: of the data, of the wall, of a rehearsal that was told to."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import msgspec
import pytest

from broker.base import Accepted, Unknown, VenueOrder, VenueState
from order.bells import SQUARE_OFF
from order.day_plan import DayPlans
from shared.calendar import Calendar, at_ist, day_of
from shared.models import Product, Side
from tests.order.venue import RUN as FAR_RUN
from tests.order.venue import book, carry_out, price, report, row, send

if TYPE_CHECKING:
    from collections.abc import Callable

    from order.orders import Order
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


# -- live: nothing meets a market that is closed -------------------------------------------------------


class Live:
    """Ten shares at a broker, in the live market, on the wall's clock."""

    def __init__(self, room: Room, product: Product = Product.INTRADAY) -> None:
        self.room = room
        room.board.run = "live"
        if product is not Product.INTRADAY:
            room.user(broker="wire", product=product)
        price(room)
        (self.entry,) = room.take(room.received(room.signal("BUY", run="live")))
        assert room.books.claim(self.entry)
        room.books.answer(self.entry, Accepted("v1"))
        self.read()

    def at(self, clock: str, seconds: float = 0) -> list[Order]:
        """Let the day come to a time; return what goes out then."""
        here_us = at_ist(day_of(self.room.at_us), clock) + round(seconds * 1e6)
        self.room.later((here_us - self.room.at_us) / 1e6)
        price(self.room)
        self.due, _, sends = self.room.books.steps(1)
        return sends

    def read(self, *rows: VenueOrder) -> list[Order]:
        shown = [msgspec.structs.replace(each, product=self.entry.product) for each in rows]
        bought = row(self.entry.tag, VenueState.COMPLETE, filled=10)
        bought = msgspec.structs.replace(bought, product=self.entry.product)
        rows = tuple({each.tag: each for each in (bought, *shown)}.values())
        return report(self.room, book(self.room.clock.now_us(), *rows))

    def rests(self, clock: str) -> Order:
        """Let the exit of that time rest at the broker."""
        (order,) = self.at(clock)
        assert self.room.books.claim(order)
        self.room.books.answer(order, Accepted("v2"))
        self.read(row(order.tag, side=Side.SELL, order_id="v2"))
        return order


def test_exit_that_is_cancelled_at_the_end_is_not_sent_again_before_the_next_session(far: Room) -> None:
    live = Live(far)
    order = live.rests("15:00")
    live.at("15:24", 59)
    assert not any(each.cancel for each in live.due)
    live.read(row(order.tag, side=Side.SELL, order_id="v2"))
    assert live.at("15:25") == []
    (cancel,) = live.due
    assert cancel.cancel
    carry_out(far, cancel)
    assert live.read(row(order.tag, VenueState.CANCELLED, side=Side.SELL, order_id="v2")) == []
    for clock in ("15:26", "15:29", "15:31", "18:00", "23:00"):
        assert live.at(clock) == [], clock
    assert [each.state for each in far.rows() if each.purpose == "EXIT"] == ["CANCELLED", "NEW"]
    far.later(86_400)
    assert live.at("09:14") == []
    (again,) = live.at("09:15", 2)
    assert far.books.claim(again)
    assert far.audit().clean


def test_position_that_stays_open_is_told_each_minute_until_the_close(
    far: Room, capsys: pytest.CaptureFixture[str]
) -> None:
    live = Live(far)
    live.rests("15:00")
    capsys.readouterr()
    told = {}
    for clock, words in (
        ("15:10", "not closed yet"), ("15:11", "not closed yet"), ("15:20", "left to the human"),
        ("15:21", "left to the human"), ("15:25", "the session ends"), ("15:29", "the session ends"),
    ):  # fmt: skip
        live.at(clock)
        told[clock] = capsys.readouterr().out.count(words)
    assert set(told.values()) == {1}, told
    live.at("15:31")
    assert "session ends" not in capsys.readouterr().out


def test_order_that_shows_after_the_end_is_cancelled(far: Room) -> None:
    live = Live(far)
    (order,) = live.at("15:00")
    assert far.books.claim(order)
    far.books.answer(order, Unknown("time-out"))
    live.at("15:25", 1)
    assert live.due == [], "nobody knows it yet"
    live.read(row(order.tag, side=Side.SELL, order_id="v2"))
    live.at("15:25", 3)
    assert [each.cancel for each in live.due] == [True]


@pytest.mark.parametrize(
    ("clock", "seconds", "goes"),
    [
        ("09:15", 0, False),
        ("09:15", 1, True),
        ("15:29", 57.9, True),
        ("15:29", 58.1, False),
        ("15:30", 0, False),
    ],
)
def test_claim_meets_the_exchanges_phase_whatever_was_open_when_it_was_queued(
    far: Room, clock: str, seconds: float, goes: bool
) -> None:
    live = Live(far, Product.DELIVERY)
    far.user(broker="wire", product=Product.DELIVERY, allow_btst=True)
    (order,) = far.take(far.received(far.signal("SELL", run="live")))
    far.later(86_400)
    live.at(clock, seconds)
    assert far.books.claim(order) is goes
    assert order.state == ("SENDING" if goes else "NEW")


def test_entry_whose_turn_comes_after_the_close_is_refused(far: Room) -> None:
    live = Live(far)
    (order,) = far.take(far.received(far.signal("BUY", "TCS", run="live", valid_s=86_400)))
    live.at("15:30", 1)
    assert not far.books.claim(order)
    assert far.rows()[-1].rule.startswith("session: the market had closed")


def test_nothing_is_modified_while_the_market_is_closed(far: Room) -> None:
    live = Live(far, Product.DELIVERY)
    far.user(broker="wire", product=Product.DELIVERY, allow_btst=True)
    live.at("15:29", 50)
    (order,) = far.take(far.received(far.signal("SELL", run="live")))
    assert far.books.claim(order)
    far.books.answer(order, Accepted("v2"))
    live.read(row(order.tag, side=Side.SELL, order_id="v2", price=order.price_paise))
    live.at("15:29", 53)
    assert len(live.due) == 1, "it is followed as long as there is a market"
    carry_out(far, live.due[0])
    live.read(row(order.tag, side=Side.SELL, order_id="v2", price=live.due[0].terms.price_paise))
    for clock in ("15:30", "15:40", "20:00"):
        live.at(clock)
        assert live.due == [], clock
