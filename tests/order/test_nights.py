"""Stops for the night: rules at the broker, which carry no tag."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from broker.base import Accepted, NotSent, Rejected, RuleState, VenueOrder, VenueRule, VenueState, VenueTrade
from order.night import Night, NightState
from order.nights import RuleStep
from order.orders import Order, Purpose
from order.reading import Reader
from shared.calendar import at_ist, day_of
from shared.models import Product, Quote, Side
from tests.order.conftest import MONDAY_US, Room
from tests.order.test_rerun import again
from tests.order.venue import LOST, book, row

LIVE = "live"
STOP, LIMIT = 240_000, 238_800
R, N, S = RuleState, NightState, VenueState


class Overnight:
    """A DELIVERY position of 10 at a broker with a stop at 2400, and the hours of its days."""

    def __init__(self, room: Room, **limits: Any) -> None:
        self.room = room
        room.user(broker="wire", product=Product.DELIVERY, **limits)
        room.armed[1] = True
        room.board.run = LIVE
        self.shown: dict[str, VenueOrder] = {}
        self.price()
        (entry,) = room.take(room.received(room.signal("BUY", run=LIVE, stop=Decimal(2400))))
        self.send(entry, "v1")
        self.shown["v1"] = self.row(entry.tag, S.COMPLETE, filled=10, at_us=room.at_us)
        (stop,) = self.read()
        self.send(stop, "v2")
        self.tag = stop.tag
        assert self.held == 10

    def close(self) -> None:
        """End Monday: the stop of the day ends with it."""
        self.at("15:45")
        self.shown["v2"] = self.row(self.tag, S.CANCELLED, order_id="v2", side=Side.SELL, price=LIMIT)
        self.read()

    def row(self, tag: str, state: VenueState, **more: Any) -> VenueOrder:
        return msgspec.structs.replace(row(tag, state, **more), product=Product.DELIVERY)

    def send(self, order: Order, venue_id: str) -> None:
        assert self.room.books.claim(order)
        self.room.books.answer(order, Accepted(venue_id))

    def price(self, paise: int = 250_000) -> None:
        now_us = self.room.clock.now_us()
        self.room.at_us = now_us
        self.room.board.update([Quote("RELIANCE", paise, now_us, 1000, now_us)])

    def read(self) -> list[Order]:
        self.room.later(0.01)
        return self.room.books.report(1, book(self.room.clock.now_us(), *self.shown.values()))

    def at(self, clock: str, days: int = 0) -> None:
        """Go on to a time of a day after Monday; the broker's books are a new day's."""
        day = day_of(MONDAY_US) + timedelta(days=days)
        now_us = self.room.clock.now_us()
        self.room.later((at_ist(day, clock) - now_us) / 1e6)

    def rules(self, *rules: VenueRule) -> list[RuleStep]:
        """Give a list of all rules; return what is to be asked for."""
        self.room.later(1)
        return self.room.books.rule_steps(1, list(rules))[0]

    def rule(self, state: RuleState = R.WAITING, rule_id: str = "r1", quantity: int = 10) -> VenueRule:
        sell, product = Side.SELL, Product.DELIVERY
        return VenueRule(rule_id, state, "RELIANCE", sell, product, quantity, LIMIT, STOP)

    def put(self) -> RuleStep:
        """Go to Tuesday's evening, when the shares have arrived for Wednesday, and ask for the rule."""
        self.close()
        self.at("16:00", 1)
        assert self.room.books.rules_due(1)
        (step,) = self.rules()
        return step

    def rest(self) -> None:
        self.room.books.answer_rule(self.put().book, Accepted("r1"))

    def drop(self) -> None:
        """Go to Wednesday's open: the rule is taken off."""
        self.at("09:15", 2)
        self.price()
        (step,) = self.rules(self.rule())
        assert (step.terms, step.rule_id) == (None, "r1")
        self.room.books.answer_rule(step.book, Accepted("r1"))

    @property
    def where(self) -> str:
        return self.night.state.value

    @property
    def night(self) -> Night:
        found = self.room.query("SELECT value FROM account_marks WHERE kind = 'night'")
        return msgspec.json.decode(found[0][0], type=Night)

    @property
    def held(self) -> int:
        return self.room.held(run=LIVE, product="DELIVERY")

    def told(self) -> str:
        (position,) = Reader(self.room.home).positions(run=LIVE)
        return position.protection


@pytest.fixture
def room(make_room: Callable[..., Room]) -> Room:
    return make_room(venues={})


def test_no_rule_is_put_for_shares_that_the_broker_does_not_have(room: Room) -> None:
    at = Overnight(room)
    at.close()
    at.at("16:00", 1)
    at.shown.clear()
    at.read()
    assert not room.books.reconcile(1, "minute", [], {}, 0, True).clean
    assert not room.books.rules_due(1)
    assert at.rules() == []
    assert room.books.reconcile(1, "minute", [], {"RELIANCE": 10}, 0, True).clean
    assert room.books.rules_due(1)
    (step,) = at.rules()
    assert step.terms is not None


def test_rule_is_put_at_night_for_shares_that_have_arrived_by_the_morning(room: Room) -> None:
    at = Overnight(room)
    assert not room.books.rules_due(1)
    at.close()
    assert not room.books.rules_due(1), "bought today: a sale tomorrow would be BTST"
    assert at.rules() == []
    assert at.told() == "stop 2400.00, UNPROTECTED OVERNIGHT"
    at.at("15:35", 1)
    assert at.rules() == [], "the closing auction may be on"
    terms = at.put().terms
    assert terms is not None
    assert (terms.symbol, terms.side, terms.quantity) == ("RELIANCE", Side.SELL, 10)
    assert (terms.product, terms.trigger_paise, terms.price_paise) == (Product.DELIVERY, STOP, LIMIT)
    room.books.answer_rule(at.night.book, Accepted("r1"))
    assert (at.night.state, at.night.rule_id) == (N.RESTING, "r1")
    assert at.told() == "stop 2400.00, overnight 10 by GTT r1"
    assert at.rules(at.rule()) == []
    assert not room.books.rules_due(1), "looked at just now"
    room.later(61)
    assert room.books.rules_due(1)
    assert room.audit().clean


def test_who_may_sell_shares_on_the_way_has_a_rule_the_first_night(room: Room) -> None:
    at = Overnight(room, allow_btst=True)
    at.close()
    assert len(at.rules()) == 1


def test_rule_waits_for_the_end_of_the_stop_of_the_day(room: Room) -> None:
    at = Overnight(room, allow_btst=True)
    at.at("16:00")
    assert at.rules() == []


def test_rule_for_more_than_is_held_or_at_another_level_is_taken_off(room: Room) -> None:
    at = Overnight(room)
    at.rest()
    guard = room.books.desk.guards[at.night.book]
    guard.book.quantity = 6
    assert [step.rule_id for step in at.rules(at.rule())] == ["r1"]
    (step,) = at.rules(at.rule(R.ENDED))
    assert step.terms is not None
    assert step.terms.quantity == 6


def test_rule_whose_answer_is_lost_is_settled_by_the_list_and_never_put_again(room: Room) -> None:
    at = Overnight(room)
    room.books.answer_rule(at.put().book, LOST)
    assert at.where == "UNKNOWN"
    assert at.told() == "stop 2400.00, UNPROTECTED OVERNIGHT"
    assert at.rules() == []
    assert at.rules(at.rule(quantity=9), at.rule(rule_id="r7")) == []
    assert (at.night.state, at.night.rule_id) == (N.RESTING, "r7")


def test_equal_rule_that_stood_before_is_not_taken_for_ours(room: Room) -> None:
    at = Overnight(room)
    at.close()
    at.at("16:00", 1)
    (step,) = at.rules(at.rule(rule_id="his own"))
    room.books.answer_rule(step.book, LOST)
    at.rules(at.rule(rule_id="his own"))
    assert at.where == "UNKNOWN"
    at.rules(at.rule(rule_id="his own"), at.rule(rule_id="ours"))
    assert at.night.rule_id == "ours"


def test_rule_that_three_lists_do_not_show_was_never_made_and_is_told(room: Room) -> None:
    at = Overnight(room)
    room.books.answer_rule(at.put().book, LOST)
    at.rules()
    room.later(60)
    for _ in range(2):
        at.rules()
    assert at.where == "UNKNOWN"
    at.rules()
    assert at.where == "ENDED"
    assert "never made" in at.night.reason
    assert at.rules() == [], "not again in this night"
    assert at.told() == "stop 2400.00, UNPROTECTED OVERNIGHT"
    at.at("16:00", 2)
    assert len(at.rules()) == 1


def test_rule_asked_for_when_the_process_ends_is_unknown_then(room: Room) -> None:
    at = Overnight(room)
    at.put()
    assert at.where == "ASKED"
    room.open()
    assert at.rules() == []
    assert at.where == "UNKNOWN"
    at.rules(at.rule())
    assert at.where == "RESTING"


def test_rule_that_rests_survives_a_restart_and_still_holds_up_what_would_sell_beside_it(room: Room) -> None:
    at = Overnight(room)
    at.rest()
    room.open()
    assert at.rules(at.rule()) == []
    at.at("09:15", 2)
    at.price()
    assert room.books.steps(1)[2] == [], "no stop of the day beside the rule"
    assert room.take(room.received(room.signal("EXIT_LONG", run=LIVE))) == [], "no exit either"
    assert len(at.rules(at.rule())) == 1


def test_refused_rule_is_told_and_one_that_did_not_leave_us_is_tried_again(room: Room) -> None:
    at = Overnight(room)
    room.books.answer_rule(at.put().book, NotSent("no network"))
    (step,) = at.rules()
    room.books.answer_rule(step.book, Rejected("AG7002"))
    assert (at.night.state, at.night.reason) == (N.ENDED, "AG7002")
    assert at.rules() == []


def test_in_the_morning_the_rule_goes_and_a_stop_of_the_day_takes_over(room: Room) -> None:
    at = Overnight(room)
    at.rest()
    at.drop()
    assert at.where == "DROPPING"
    assert room.books.steps(1)[2] == []
    assert at.rules(at.rule()) == [], "asked for a moment ago"
    room.later(5)
    assert len(at.rules(at.rule())) == 1
    for _ in range(3):
        room.later(3)
        at.price()
        assert room.books.steps(1)[2] == [], "the rule still protects"
    steps, sends = room.books.rule_steps(1, [at.rule(R.ENDED)])
    (stop,) = sends
    assert (steps, stop.purpose, stop.quantity) == ([], Purpose.STOP, 10)
    assert at.where == "ENDED"
    assert at.rules(at.rule(R.ENDED)) == [], "a stop of the day is there"


def test_exit_waits_until_the_rule_is_gone(room: Room) -> None:
    at = Overnight(room)
    at.rest()
    at.at("09:20", 2)
    at.price()
    assert room.take(room.received(room.signal("EXIT_LONG", run=LIVE))) == []
    (step,) = at.rules(at.rule())
    room.books.answer_rule(step.book, Accepted("r1"))
    at.price()
    assert room.books.steps(1)[2] == []
    at.price()
    (leaving,) = room.books.rule_steps(1, [at.rule(R.ENDED)])[1]
    assert (leaving.purpose, leaving.quantity) == (Purpose.EXIT, 10)


def triggered(at: Overnight, filled: int, state: VenueState = S.COMPLETE) -> list[Order]:
    """Open on Wednesday below the stop: the rule becomes an order without a tag."""
    at.at("09:15", 2)
    at.price(239_500)
    trades = (VenueTrade("t1", filled, 239_000, at.room.at_us),) if filled else ()
    at.shown = {
        "g1": at.row("", state, order_id="g1", side=Side.SELL, filled=filled, price=LIMIT, trades=trades)
    }
    at.read()
    at.room.later(1)
    at.price(239_500)
    return at.room.books.rule_steps(1, [at.rule(R.SENT)])[1]


def test_order_that_a_rule_became_is_booked_as_ours(room: Room) -> None:
    at = Overnight(room)
    at.rest()
    assert triggered(at, 10) == []
    assert at.held == 0
    last = room.rows()[-1]
    assert (last.purpose, last.state, last.filled, last.value_paise) == ("EXIT", "FILLED", 10, 2_390_000)
    assert last.rule == "stop for the night 2400.00: order g1"
    assert at.where == "ENDED"
    found = room.books.reconcile(1, "minute", [], {}, 0)
    assert (found.clean, found.findings, found.foreign) == (True, (), 1)
    assert room.query("SELECT count(*) FROM account_marks WHERE kind = 'paused'") == [(0,)]
    assert room.audit().clean
    # A next rule of the same numbers, on the same day, has not become that order again.
    room.books.desk.nights[at.night.book].state = N.RESTING
    assert room.books.reconcile(1, "minute", [], {}, 0).foreign == 1


def test_fill_seen_before_the_list_is_neither_by_hand_nor_anothers(room: Room) -> None:
    at = Overnight(room)
    at.rest()
    at.at("09:15", 2)
    at.price(239_500)
    trades = (VenueTrade("t1", 10, 239_000, room.at_us),)
    sold = at.row("", S.COMPLETE, order_id="g1", side=Side.SELL, filled=10, price=LIMIT, trades=trades)
    at.shown = {"g1": sold}
    at.read()
    for _ in range(3):
        room.later(5)
        assert not room.books.reconcile(1, "minute", [], {}, 0).clean
    assert at.held == 10
    assert room.books.rule_steps(1, [at.rule(R.SENT)]) == ([], [])
    assert at.held == 0


def test_what_a_triggered_rule_did_not_sell_has_a_stop_again(room: Room) -> None:
    at = Overnight(room)
    at.rest()
    (leaving,) = triggered(at, 4, S.CANCELLED)
    assert at.held == 6
    # The price is beyond the stop: we get out by ourselves.
    assert (leaving.purpose, leaving.quantity) == (Purpose.EXIT, 6)
    assert room.audit().clean


def test_order_of_a_rule_that_is_still_working_holds_everything_up(room: Room) -> None:
    at = Overnight(room)
    at.rest()
    assert triggered(at, 4, S.WORKING) == []
    assert at.where == "TRIGGERED"
    assert at.held == 10
    room.open()
    at.price(239_500)
    assert room.books.steps(1)[2] == []


def test_triggered_rule_whose_order_never_shows_ends_with_an_alarm(room: Room) -> None:
    at = Overnight(room)
    at.rest()
    at.at("09:15", 2)
    at.rules(at.rule(R.SENT))
    for _ in range(4):
        room.later(60)
        at.read()
        at.price()
        at.rules(at.rule(R.SENT))
    assert at.where == "ENDED"
    assert "no book shows" in at.night.reason


def test_night_is_decided_alike_out_of_the_journal(room: Room, tmp_path: Path) -> None:
    at = Overnight(room)
    at.rest()
    triggered(at, 10)
    for days in range(3):
        day = day_of(MONDAY_US).toordinal() - 719_163 + days
        found = again(room, tmp_path / f"x{days}", day)
        assert (found.first, found.differences) == ("", 0)
