"""Stops, targets and trailing stops, on paper and at a broker."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from broker.base import Accepted, Rejected, Unknown, VenueOrder, VenuePosition, VenueState, VenueTrade
from order.orders import Purpose
from order.reading import Reader
from shared.models import OrderType, Product, Quote, Side
from tests.order.venue import RUN as FAR_RUN
from tests.order.venue import amendments, book, carry_out, price, report, row

if TYPE_CHECKING:
    from collections.abc import Callable

    from order.amend import Amendment
    from order.orders import Order
    from tests.order.conftest import Room

STOP: dict[str, Any] = {"stop": Decimal(2490), "target": Decimal(2520)}


def stops(room: Room) -> list[tuple[str, int, int]]:
    """Return state, quantity and filled shares of each stored stop order."""
    return [(each.state, each.quantity, each.filled) for each in room.rows() if each.purpose == "STOP"]


def enter(room: Room, kind: str = "ENTER_LONG", **more: Any) -> None:
    room.user()
    room.give(kind, **{**STOP, **more})
    assert abs(room.held()) == 10


def tick(room: Room, to: str, seconds: float = 1) -> None:
    room.later(seconds)
    room.quote(to)


# -- paper -------------------------------------------------------------------------------------------


def test_entry_with_a_stop_has_it_resting_for_what_was_filled(room: Room) -> None:
    enter(room)
    assert stops(room) == [("ACCEPTED", 10, 0)]
    assert room.query("SELECT trigger_paise FROM triggers") == [(249_000,)]
    assert room.audit().clean


def test_entry_without_a_stop_has_none(room: Room) -> None:
    room.user()
    room.give("ENTER_LONG")
    assert stops(room) == []
    assert room.query("SELECT count(*) FROM guards") == [(0,)]


def test_price_at_the_stop_closes_the_position(room: Room) -> None:
    enter(room)
    tick(room, "2490.05")
    assert room.held() == 10
    tick(room, "2489")
    assert (room.held(), stops(room)) == (0, [("FILLED", 10, 10)])
    tick(room, "2400")
    assert room.held() == 0
    assert room.audit().clean


def test_gap_through_the_stop_fills_at_the_open_with_double_slippage(room: Room) -> None:
    enter(room)
    tick(room, "2400")
    assert room.held() == 0
    (fill,) = room.query("SELECT price_paise FROM fills ORDER BY fill_no DESC LIMIT 1")
    assert fill == (240_000 - 145,), "3 bps doubled, rounded up to the tick"
    assert room.audit().clean


def test_target_takes_the_stop_along(room: Room) -> None:
    enter(room)
    tick(room, "2520")
    assert (room.held(), stops(room)) == (0, [("FILLED", 10, 10)])
    own = room.rows()[-1]
    assert (own.state, own.purpose) == ("CANCELLED", "EXIT")
    assert own.rule == "target 2520.00 reached; carried out by the stop"
    assert room.audit().clean


def test_exit_signal_goes_by_way_of_the_stop_and_is_ordered(room: Room) -> None:
    enter(room)
    room.later(60)
    (leaving,) = room.give("EXIT_LONG")
    assert (room.held(), stops(room)) == (0, [("FILLED", 10, 10)])
    assert (leaving.state, leaving.ended) == ("CANCELLED", "ORDERED")
    assert room.audit().clean


def test_short_position_is_stopped_above(room: Room) -> None:
    enter(room, "ENTER_SHORT", stop=Decimal(2510), target=Decimal(2480))
    tick(room, "2510")
    assert (room.held(), stops(room)) == (0, [("FILLED", 10, 10)])


@pytest.mark.parametrize("level", [{"stop": Decimal(2500)}, {"target": Decimal(2500)}])
def test_entry_whose_level_is_reached_already_is_refused(room: Room, level: dict[str, Any]) -> None:
    room.user()
    (order,) = room.give("ENTER_LONG", **level)
    assert order.ended == "REFUSED"
    assert order.rule.startswith(next(iter(level)))


def test_trailing_stop_follows_the_best_price_and_never_goes_back(room: Room) -> None:
    user = room.user()
    terms = msgspec.structs.replace(user.subscriptions["s"], trail_percent=Decimal(1))
    room.user(subscriptions={"s": terms})
    room.give("ENTER_LONG")
    assert room.query("SELECT trigger_paise FROM triggers") == [(247_500,)]
    for at in ("2550", "2530", "2600"):
        tick(room, at)
    assert room.query("SELECT trigger_paise FROM triggers") == [(257_400,)]
    room.open()
    tick(room, "2575")
    assert room.held() == 10
    tick(room, "2574")
    assert room.held() == 0
    assert room.audit().clean


def test_restart_keeps_stop_target_and_their_levels(room: Room) -> None:
    enter(room)
    room.open()
    tick(room, "2519")
    assert room.held() == 10
    tick(room, "2520")
    assert room.held() == 0
    assert room.audit().clean


def test_no_entry_on_the_bar_of_a_stop_out(room: Room) -> None:
    enter(room)
    tick(room, "2489", 30)
    room.later(30)
    (again,) = room.give("ENTER_LONG")
    assert again.rule.startswith("stopped_out")
    room.later(60)
    (next_bar,) = room.give("ENTER_LONG")
    assert next_bar.state == "FILLED"


def test_reversal_waits_for_the_stop_and_enters_once(room: Room) -> None:
    enter(room)
    room.later(60)
    room.give("REVERSE")
    tick(room, "2500")
    assert room.held() == -10
    assert room.audit().clean


def test_partial_fills_carry_the_stop_along(make_room: Callable[..., Room]) -> None:
    room = make_room("realistic")
    room.user(shares=20)
    room.give("ENTER_LONG", **STOP)
    room.later(1)
    room.quote("2500", volume=40)
    assert stops(room) == [("ACCEPTED", 4, 0)]
    room.later(1)
    room.quote("2500", volume=30)
    assert (room.held(), stops(room)) == (7, [("ACCEPTED", 7, 0)])
    room.later(1)
    room.quote("2489", volume=30)
    assert (room.held(), stops(room)) == (7, [("PARTIALLY_FILLED", 10, 3)]), "the entry met that price, too"
    assert room.rows()[0].state == "CANCELLED", "a stopped position takes its entry off"
    room.later(1)
    room.quote("2489", volume=1000)
    assert room.held() == 0
    assert room.audit().clean


def test_day_order_is_put_anew_the_next_morning(room: Room) -> None:
    enter(room)
    room.later(23 * 3600)
    room.quote("2500")
    assert stops(room) == [("CANCELLED", 10, 0), ("ACCEPTED", 10, 0)]
    assert room.audit().clean


# -- at a broker -------------------------------------------------------------------------------------


def two(order_id: str, paise: int) -> tuple[VenueTrade, ...]:
    """Return the trades of an order that filled in two parts, 4 and 6."""
    return VenueTrade(f"{order_id}-1", 4, paise, 0), VenueTrade(f"{order_id}-2", 6, paise, 1)


class Far:
    """A position of 10 at a broker, with what its books show of the stop."""

    def __init__(self, room: Room, filled: int = 10) -> None:
        self.room = room
        (self.entry,) = room.take(room.received(room.signal("BUY", run=FAR_RUN, **STOP)))
        assert room.books.claim(self.entry)
        room.books.answer(self.entry, Accepted("v1"))
        self.filled = filled
        done = VenueState.COMPLETE if filled == 10 else VenueState.WORKING
        self.shown = {"v1": row(self.entry.tag, done, filled=filled, price=250_125)}
        self.stop = self.claim(self.read())

    def read(self, *more: VenueOrder) -> list[Order]:
        for each in more:
            self.shown[each.venue_order_id] = each
        self.room.later(0.01)
        price(self.room)
        return report(self.room, book(self.room.clock.now_us(), *self.shown.values()))

    def claim(self, sends: list[Order]) -> Order:
        (order,) = sends
        assert order.purpose is Purpose.STOP
        assert self.room.books.claim(order)
        return order

    def rest(self, **more: Any) -> None:
        """Let the stop rest."""
        self.room.books.answer(self.stop, Accepted("v2"))
        self.read(self.row(**more))

    def row(self, state: VenueState = VenueState.WORKING, **more: Any) -> VenueOrder:
        terms = self.stop.limit_terms()
        trigger = more.pop("trigger", terms.trigger_paise)
        plain = {"quantity": self.filled, "price": terms.price_paise, **more}
        made = row(self.stop.tag, state, side=Side.SELL, order_id="v2", **plain)
        return msgspec.structs.replace(made, trigger_paise=trigger)

    def due(self, seconds: float = 1.5) -> list[Amendment]:
        self.room.later(seconds)
        price(self.room)
        return self.room.books.steps(1)[0]

    def target(self) -> None:
        self.room.later(0.1)
        at = Quote("RELIANCE", 252_000, self.room.at_us, 1000, self.room.clock.now_us())
        self.room.board.update([at])
        self.room.books.quotes(FAR_RUN, [at])

    @property
    def held(self) -> int:
        return self.room.held(run=FAR_RUN)


def test_stop_goes_to_the_broker_as_a_stop_limit_under_its_own_tag(far: Room) -> None:
    at = Far(far)
    terms = at.stop.limit_terms()
    assert (terms.order_type, terms.side, terms.quantity) == (OrderType.SL_LIMIT, Side.SELL, 10)
    assert (terms.trigger_paise, terms.price_paise) == (249_000, 247_755)
    assert at.stop.tag != at.entry.tag
    at.rest()
    assert at.due() == []
    assert far.audit().clean


def test_quantity_of_the_stop_follows_the_fills(far: Room) -> None:
    at = Far(far, filled=4)
    assert at.stop.limit_terms().quantity == 4
    at.rest()
    at.read(row(at.entry.tag, VenueState.COMPLETE, filled=10, price=250_125, trades=two("v1", 250_125)))
    (step,) = at.due()
    assert (step.cancel, step.terms.quantity, step.terms.order_type) == (False, 10, OrderType.SL_LIMIT)
    carry_out(far, step)
    at.read(at.row(quantity=10))
    assert at.due() == []
    assert stops(far) == [("ACCEPTED", 10, 0)]


def test_stop_that_is_larger_at_the_broker_than_the_position_is_cancelled_and_put_anew(far: Room) -> None:
    at = Far(far)
    at.rest()
    at.read(at.row(quantity=16))
    (cancel,) = at.due()
    assert cancel.cancel
    carry_out(far, cancel)
    at.read(at.row(VenueState.CANCELLED, quantity=16))
    far.later(1.5)
    price(far)
    again = at.claim(far.books.steps(1)[2])
    assert (again.quantity, again.tag != at.stop.tag) == (10, True)
    assert far.audit().clean


def test_stop_rests_for_no_more_than_the_broker_shows_twice(far: Room) -> None:
    at = Far(far)
    at.rest()
    held = [VenuePosition("RELIANCE", Product.INTRADAY, 4)]
    far.books.reconcile(1, "minute", held, {}, 0)
    at.read()
    assert at.due() == [], "once may be a glance between two fills"
    far.books.reconcile(1, "minute", held, {}, 0)
    (step,) = at.due()
    assert (step.cancel, step.terms.quantity) == (False, 4)
    carry_out(far, step)
    at.read(at.row(quantity=4))
    assert at.due() == []
    far.books.reconcile(1, "minute", [VenuePosition("RELIANCE", Product.INTRADAY, 0)], {}, 0)
    at.read()
    far.books.reconcile(1, "minute", [VenuePosition("RELIANCE", Product.INTRADAY, 0)], {}, 0)
    (step,) = at.due()
    assert step.cancel, "nothing is there to be protected"
    assert far.audit().clean


def test_no_accepted_stop_for_5_seconds_sells(far: Room) -> None:
    at = Far(far)
    far.books.answer(at.stop, Rejected("trigger price is out of range"))
    sends: list[Order] = []
    for _ in range(8):
        far.later(1)
        price(far)
        sends = far.books.steps(1)[2]
        for order in sends:
            if order.purpose is Purpose.STOP:
                assert far.books.claim(order)
                far.books.answer(order, Rejected("again"))
        if any(order.purpose is Purpose.EXIT for order in sends):
            break
    (leaving,) = sends
    assert (leaving.purpose, leaving.quantity) == (Purpose.EXIT, 10)
    assert far.rows()[-1].rule == "no accepted stop within 5 s"


def test_stop_whose_answer_is_lost_holds_the_exit_back_until_its_fate_shows(far: Room) -> None:
    at = Far(far)
    far.books.answer(at.stop, Unknown("time-out"))
    for _ in range(7):
        assert at.due(1) == []
    assert [each.purpose for each in far.rows() if each.state == "NEW"] == ["EXIT"], "it waits"
    at.read(at.row())
    (step,) = at.due()
    assert (step.cancel, step.terms.order_type) == (False, OrderType.LIMIT), "the same order leaves"


def test_target_turns_the_stop_into_the_exit_under_the_same_id(far: Room) -> None:
    at = Far(far)
    at.rest()
    at.target()
    (step,) = at.due()
    assert (step.venue_order_id, step.terms.order_type, step.terms.quantity) == ("v2", OrderType.LIMIT, 10)
    carry_out(far, step)
    at.read(at.row(VenueState.COMPLETE, filled=10, price=251_900))
    assert at.held == 0
    assert [each.state for each in far.rows() if each.purpose == "EXIT"] == ["CANCELLED"]
    assert at.due(5) == []
    assert far.audit().clean


def test_stop_that_must_not_change_its_kind_is_cancelled_then_the_rest_goes_out(far: Room) -> None:
    at = Far(far)
    at.rest()
    at.target()
    (step,) = at.due()
    carry_out(far, step, Rejected("ordertype cannot be modified"))
    at.read(at.row(trigger=249_000))
    (cancel,) = at.due()
    assert cancel.cancel
    carry_out(far, cancel)
    (leaving,) = at.read(at.row(VenueState.CANCELLED, filled=4, price=248_900))
    assert (leaving.purpose, leaving.quantity, at.held) == (Purpose.EXIT, 6, 6)


def test_cancel_first_where_the_switch_says_so(far: Room) -> None:
    far.books.desk.stop_becomes_exit = False
    at = Far(far)
    at.rest()
    at.target()
    (step,) = at.due()
    assert step.cancel


def test_race_of_target_and_stop_with_a_partial_and_a_lost_cancel_ends_flat(far: Room) -> None:
    far.books.desk.stop_becomes_exit = False
    at = Far(far)
    at.rest()
    at.target()
    at.read(at.row(filled=4, price=248_900))
    (cancel,) = at.due()
    carry_out(far, cancel, Rejected("order is complete"))
    done = at.row(VenueState.COMPLETE, filled=10, price=248_900, trades=two("v2", 248_900))
    assert at.read(done) == []
    assert (at.held, at.due(5)) == (0, [])
    assert "CANCEL REFUSED" in amendments(far)
    assert far.audit().clean


def test_kill_in_the_middle_of_a_take_over_goes_on_with_it(far: Room) -> None:
    at = Far(far)
    at.rest()
    at.target()
    (step,) = at.due()
    carry_out(far, step, Unknown("time-out"))
    far.open()
    at.read(at.row(price=step.terms.price_paise, trigger=0))
    assert amendments(far) == ["MODIFY DONE"]
    sends = far.books.steps(1)[2]
    assert sends == []
    at.read(at.row(VenueState.COMPLETE, filled=10, price=251_900))
    assert at.held == 0
    far.later(1)
    assert far.books.steps(1)[2] == []
    assert far.audit().clean


def test_shares_on_the_way_have_no_stop_and_are_not_sold_for_want_of_one(room: Room) -> None:
    room.user(product=Product.DELIVERY)
    room.give("ENTER_LONG", **STOP)
    assert stops(room) == [("ACCEPTED", 10, 0)], "on the day itself they can be sold"
    room.later(24 * 3600)
    room.quote("2500")
    assert stops(room) == [("CANCELLED", 10, 0)]
    room.later(24 * 3600)
    room.quote("2500")
    assert stops(room) == [("CANCELLED", 10, 0), ("ACCEPTED", 10, 0)]
    assert room.held(product="DELIVERY") == 10
    assert room.audit().clean


def test_listing_says_what_protects_a_position_and_what_is_bare_overnight(room: Room) -> None:
    room.user(product=Product.DELIVERY)
    room.give("ENTER_LONG", **STOP)
    (shown,) = Reader(room.home).positions()
    assert shown.protection == "stop 2490.00, target 2520.00, UNPROTECTED OVERNIGHT"
