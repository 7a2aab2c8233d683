"""What is done about orders that rest at a broker."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from broker.base import Accepted, VenueState
from order.policy import Policy
from order.switches import Level, TurnRequest
from shared.calendar import at_ist, day_of
from shared.models import Quote, Side
from shared.quotes import QuoteBoard
from tests.order.venue import RUN, amendments, book, carry_out, claim, hold, price, report, row, send

if TYPE_CHECKING:
    from tests.order.conftest import Room


def test_entry_is_repriced_then_cancelled(far: Room) -> None:
    order = send(far)
    far.books.answer(order, Accepted("v1"))
    seen = []
    limit = 250_125
    for _ in range(14):
        far.later(1)
        steps, working, _ = far.books.steps(1)
        assert working == 1
        for step in steps:
            carry_out(far, step)
            seen.append("cancel" if step.cancel else step.terms.price_paise)
            limit = step.terms.price_paise
        report(far, book(far.clock.now_us(), row(order.tag, price=limit)))
    assert seen == [250_375, 250_750, 251_250, "cancel", "cancel"], "a cancel without effect is asked again"
    assert amendments(far) == ["MODIFY DONE"] * 3 + ["CANCEL LAPSED", "CANCEL TAKEN"]


def test_modify_that_the_books_do_not_show_is_asked_for_again(far: Room) -> None:
    order = send(far)
    far.books.answer(order, Accepted("v1"))
    far.later(2)
    ((step,), _, _) = far.books.steps(1)
    carry_out(far, step)
    old = row(order.tag, price=250_125)
    report(far, book(far.clock.now_us(), old))
    far.later(1)
    assert far.books.steps(1)[0] == []
    far.later(1)
    report(far, book(far.clock.now_us(), old))
    far.later(1)
    assert far.books.steps(1)[0][0].terms.price_paise >= step.terms.price_paise


def test_exit_signal_cancels_an_entry_at_the_broker_first(far: Room) -> None:
    order = send(far)
    far.books.answer(order, Accepted("v1"))
    far.later(1.5)
    far.take(far.received(far.signal("SELL", run=RUN)))
    (step,), _, _ = far.books.steps(1)
    assert step.cancel
    report(far, book(far.clock.now_us(), row(order.tag, VenueState.CANCELLED, filled=4)))
    price(far)
    (leaving,) = far.books.steps(1)[2] or far.books.quotes(
        RUN, [Quote("RELIANCE", 250_000, far.at_us, 1000, far.clock.now_us())]
    )
    assert leaving.quantity == 4


def test_closing_takes_entries_off_and_leaves_exits(far: Room) -> None:
    order = send(far)
    far.books.answer(order, Accepted("v1"))
    far.later(1.5)
    (step,), _, _ = far.books.steps(1, closing=True)
    assert step.cancel


# -- exits: a silent feed, a circuit, an alarm ---------------------------------------------------------


class Leaving:
    """An exit of ten that rests at the broker and is not filled."""

    def __init__(self, room: Room, quote: Quote | None = None) -> None:
        self.room = room
        hold(room)
        if quote is not None:
            self.bring(quote)
        self.order = send(room, "SELL")
        assert self.order.wire is not None
        self.limit = self.order.wire.limit_paise
        room.books.answer(self.order, Accepted("v2"))
        self.read()
        self.line = room.books.desk.line(1)

    def read(self) -> None:
        shown = row(self.order.tag, side=Side.SELL, order_id="v2", price=self.limit)
        report(self.room, book(self.room.clock.now_us(), shown))

    def bring(self, quote: Quote) -> None:
        now_us = self.room.clock.now_us()
        self.room.board.update([msgspec.structs.replace(quote, at_us=self.room.at_us, received_us=now_us)])

    def follow(self, seconds: int, bring: Quote | None = None, told: Quote | None = None) -> list[int]:
        """Let seconds pass, with prices of the feed or of the account; return the limits asked for."""
        asked = []
        for _ in range(seconds):
            self.room.later(1)
            if bring is not None:
                self.bring(bring)
            if told is not None:
                now_us = self.room.clock.now_us()
                quotes = [msgspec.structs.replace(told, at_us=self.room.at_us, received_us=now_us)]
                self.room.books.account_prices(1, quotes)
            for step in self.room.books.steps(1)[0]:
                assert not step.cancel
                asked.append(step.terms.price_paise)
                self.limit = step.terms.price_paise
                carry_out(self.room, step)
            self.read()
        return asked


def q(paise: int, lower: int = 0, upper: int = 0) -> Quote:
    return Quote("RELIANCE", paise, 0, 1000, 0, 0, 0, lower, upper)


def test_exit_goes_on_in_the_dark_up_to_three_percent_and_no_further(far: Room) -> None:
    leaving = Leaving(far)
    asked = leaving.follow(60)
    assert asked == sorted(asked, reverse=True)
    assert asked[-1] == 250_000 * 97 // 100
    assert leaving.line.blind == {"RELIANCE"}


def test_exit_follows_the_price_that_its_account_tells_while_the_feed_is_silent(far: Room) -> None:
    leaving = Leaving(far)
    asked = leaving.follow(20, told=q(245_000))
    assert asked[-1] == 243_775, "50 bps below the touch that the account told"
    assert leaving.line.blind == set()
    assert leaving.follow(10, bring=q(244_000), told=None)[-1] == 242_780, "the feed is back"
    assert far.audit().clean


def test_dead_price_is_no_anchor(far: Room) -> None:
    """The last price of a feed that died says nothing of where the market is."""
    leaving = Leaving(far)
    alive = leaving.follow(9, bring=q(250_000))
    leaving.follow(4)
    assert leaving.follow(4)[-1] < alive[-1], "it does not wait at a price of long ago"


def test_exit_sent_without_a_fresh_price_begins_anew_at_the_first_one(far: Room) -> None:
    hold(far)
    far.later(600)
    order = send(far, "SELL")
    assert order.wire is not None
    assert order.wire.blind
    far.books.answer(order, Accepted("v2"))
    report(far, book(far.clock.now_us(), row(order.tag, side=Side.SELL, order_id="v2", price=249_750)))
    far.later(1.2)
    now_us = far.clock.now_us()
    far.books.account_prices(1, [Quote("RELIANCE", 230_000, far.at_us, 0, now_us)])
    (step,) = far.books.steps(1)[0]
    assert step.terms.price_paise == 229_770, "10 bps below the market of now, 8 % below the dead one"
    assert not order.wire.blind


def test_exit_rests_at_the_circuit_and_spends_no_more_requests(far: Room) -> None:
    locked = q(225_000, 225_000, 275_000)
    leaving = Leaving(far, locked)
    assert leaving.limit == 225_000
    assert leaving.follow(40, bring=locked) == []
    assert leaving.follow(40) == [], "nor when the feed ends"


def test_exit_that_is_stuck_is_told_after_thirty_seconds_and_every_ten(
    far: Room, capsys: pytest.CaptureFixture[str]
) -> None:
    locked = q(225_000, 225_000, 275_000)
    leaving = Leaving(far, locked)
    capsys.readouterr()
    told = []
    for second in range(1, 56):
        leaving.follow(1, bring=locked)
        if "EXIT_STUCK" in capsys.readouterr().out:
            told.append(second)
    assert told == [30, 40, 50]


def test_exit_that_is_sent_anew_is_stuck_since_it_was_first_sent(
    far: Room, capsys: pytest.CaptureFixture[str]
) -> None:
    leaving = Leaving(far)
    leaving.follow(25, bring=q(250_000))
    gone = row(leaving.order.tag, VenueState.CANCELLED, side=Side.SELL, order_id="v2")
    report(far, book(far.clock.now_us(), gone))
    far.later(2)
    price(far)
    (again,) = far.books.steps(1)[2]
    assert far.books.claim(again)
    far.books.answer(again, Accepted("v3"))
    report(far, book(far.clock.now_us(), gone, row(again.tag, side=Side.SELL, order_id="v3")))
    capsys.readouterr()
    far.later(4)
    far.books.steps(1)
    assert "EXIT_STUCK" in capsys.readouterr().out


def test_kill_cancels_an_entry_at_the_broker_also_after_a_restart_and_leaves_the_stop(far: Room) -> None:
    order = send(far)
    far.books.answer(order, Accepted("v1"))
    far.books.turn(TurnRequest(Level.KILL, why="a test"))
    far.open()
    report(far, book(far.clock.now_us(), row(order.tag)))
    far.later(1.5)
    (step,), _, _ = far.books.steps(1)
    assert step.cancel


def test_modify_of_an_entry_that_waits_for_its_turn_does_not_leave_after_kill(far: Room) -> None:
    order = send(far)
    far.books.answer(order, Accepted("v1"))
    report(far, book(far.clock.now_us(), row(order.tag, price=250_125)))
    far.later(2)
    (step,), _, _ = far.books.steps(1)
    assert not step.cancel
    far.books.turn(TurnRequest(Level.KILL, why="a test"))
    assert not claim(far, step)
    far.later(1.5)
    (step,), _, _ = far.books.steps(1)
    assert step.cancel


def test_fill_that_beats_the_cancel_of_a_flatten_is_closed_as_well(far: Room) -> None:
    order = send(far)
    far.books.answer(order, Accepted("v1"))
    far.books.turn(TurnRequest(Level.FLATTEN, why="a test"))
    report(far, book(far.clock.now_us(), row(order.tag, VenueState.COMPLETE, filled=10)))
    for _ in range(3):
        price(far)
        far.later(1)
        far.books.steps(1)
    exits = [each for each in far.rows() if each.purpose == "EXIT"]
    assert [each.quantity for each in exits] == [10]


def test_walls_evening_takes_nothing_off_in_a_rehearsal_that_has_told_no_price_yet(far: Room) -> None:
    hold(far)
    leaving = send(far, "SELL")
    far.books.answer(leaving, Accepted("v2"))
    far.later((at_ist(day_of(far.clock.now_us()), "15:40") - far.clock.now_us()) / 1e6)
    far.board = QuoteBoard(far.board.run)  # as after a start: its market may be in the morning
    far.policy = Policy(square_off="15:10")
    far.open()
    steps, working, _ = far.books.steps(1)
    assert (working, [step for step in steps if step.cancel]) == (1, [])
