"""An exit is taken by the exchange, its answer is lost, and the broker shows it only long after.

The real books on a clock of their own, each second a look as the account's lane has it.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

import msgspec
import pytest

from broker.base import OrderTerms, PlaceOutcome, Unknown, VenueBook, VenueOrder, VenuePosition
from order.orders import CORRECTION_LEG, Order, Purpose
from proof.exchange_model import Chances, Exchange
from shared.models import Product
from tests.order.venue import RUN, price

if TYPE_CHECKING:
    from tests.order.conftest import Room

CALM = Chances(fill=1.0, partial=0.0)
COMPARE_S = 60
STILL_S = 240
"""So long it goes on after the exit; nothing is at work any more at the end."""


class Slow(Exchange):
    """Loses the answer to one sale or one change of a stop, and shows what came of it only later.

    Attributes:
        late_s: How much later.
        taken_late: The exchange itself takes it only then; else it is filled at once and the books lag.
        positions_lag: The positions lag as well.
    """

    def __init__(self, late_s: float, *, taken_late: bool = False, positions_lag: bool = False) -> None:
        super().__init__(random.Random(0))
        self.late_s = late_s
        self.taken_late = taken_late
        self.positions_lag = positions_lag
        self.now_us = 0
        self.slow_id = ""
        self.shows_us = 0
        self._before: VenueOrder | None = None
        self._net_before: dict[str, int] = {}

    def sell(self, tag: str, terms: OrderTerms) -> PlaceOutcome:
        """Take a sale; the first one is the slow one."""
        before = self.net()
        outcome = super().place(tag, terms, self.now_us, CALM)
        if self.slow_id:
            return outcome
        self._slow(self.orders[-1].order_id, None, before)
        if self.taken_late:
            self.orders[-1].appears_us = self.shows_us
        return Unknown("time-out")

    def change(self, order_id: str, terms: OrderTerms) -> PlaceOutcome:
        """Change an order; the first one is the slow one."""
        book = super().read(self.now_us, CALM)
        assert book is not None, "these books can always be read"
        row = next(row for row in book.orders if row.venue_order_id == order_id)
        before = self.net()
        outcome = super().modify(order_id, terms, CALM)
        if self.slow_id:
            return outcome
        self._slow(order_id, row, before)
        return Unknown("time-out")

    def read(self, now_us: int, chances: Chances) -> VenueBook:
        """Return the books as the broker shows them."""
        book = super().read(now_us, chances)
        assert book is not None, "these books can always be read"
        if now_us >= self.shows_us:
            return book
        rows = [row if row.venue_order_id != self.slow_id else self._before for row in book.orders]
        return msgspec.structs.replace(book, orders=tuple(row for row in rows if row is not None))

    def positions(self) -> list[VenuePosition]:
        """Return the net positions as the broker shows them."""
        if not self.positions_lag or self.now_us >= self.shows_us:
            return super().positions()
        return [VenuePosition(s, Product.INTRADAY, shares) for s, shares in self._net_before.items()]

    def _slow(self, order_id: str, before: VenueOrder | None, net: dict[str, int]) -> None:
        self.slow_id, self._before, self._net_before = order_id, before, net
        self.shows_us = self.now_us + round(self.late_s * 1e6)


@dataclass
class Play:
    """Plays an account's lane, second by second.

    Attributes:
        lowest: The least that the exchange ever had of the share.
    """

    room: Room
    exchange: Slow
    lowest: int = 0
    sent: list[Order] = field(default_factory=list)

    def second(self, number: int) -> None:
        room, exchange = self.room, self.exchange
        room.later(1)
        exchange.now_us = room.clock.now_us()
        price(room, bid=249_995, ask=250_005)
        self._trade()
        steps, _, sends = room.books.steps(1)
        for step in steps:
            claimed = room.books.claim_amendment(1, step.tag, step.number)
            if claimed is not None:
                if claimed.cancel:
                    outcome = exchange.cancel(claimed.venue_order_id, CALM)
                else:
                    outcome = exchange.change(claimed.venue_order_id, claimed.terms)
                room.books.answer_amendment(1, step.tag, step.number, outcome)
        self.send(sends)
        self._trade()
        book = exchange.read(exchange.now_us, CALM)
        held = exchange.positions() if room.books.needs_positions(1) else None
        self.send(room.books.report(1, book, held))
        if number % COMPARE_S == 0:
            room.books.reconcile(1, "minute", exchange.positions(), {}, 0)

    def send(self, orders: Iterable[Order]) -> None:
        for order in orders:
            if not self.room.books.claim(order):
                continue
            self.sent.append(order)
            if order.purpose is Purpose.EXIT and order.side == "SELL":
                outcome = self.exchange.sell(order.tag, order.limit_terms())
            else:
                outcome = self.exchange.place(order.tag, order.limit_terms(), self.exchange.now_us, CALM)
            self._trade()
            self.send(self.room.books.answer(order, outcome))

    def _trade(self) -> None:
        self.exchange.trade({"RELIANCE": 250_000}, self.exchange.now_us, CALM)
        self.lowest = min(self.lowest, self.exchange.net().get("RELIANCE", 0))


def play(room: Room, exchange: Slow, *, stop: Decimal | None = None, restart_s: int = 0) -> Play:
    """Buy ten, exit, and go on until all is still."""
    made = Play(room, exchange)
    exchange.now_us = room.clock.now_us()
    price(room, bid=249_995, ask=250_005)
    made.send(room.take(room.received(room.signal("BUY", run=RUN, stop=stop))))
    for number in range(5):
        made.second(number)
    assert room.held(run=RUN) == 10
    made.send(room.take(room.received(room.signal("SELL", run=RUN))))
    for number in range(1, STILL_S):
        if number == restart_s:
            room.open()
            room.board.run = RUN
        made.second(number)
    return made


def judge(made: Play, *, doubled: bool) -> None:
    """See that all is flat, and that a double was corrected and told, if there was one."""
    room, exchange = made.room, made.exchange
    assert exchange.net() == {}
    assert room.held(run=RUN) == 0
    assert not room.books.desk.at_work
    found = room.audit()
    assert (found.clean, found.duplicate, found.over_exit) == (True, 0, int(doubled)), found.findings
    assert made.lowest == (-10 if doubled else 0)
    corrections = [order for order in made.sent if order.leg == CORRECTION_LEG]
    assert [(order.side, order.quantity) for order in corrections] == [("BUY", 10)] * doubled
    rules = [row.rule for row in room.rows() if row.rule.startswith("over_exit: 10 beyond the position")]
    assert len(rules) == doubled


@pytest.mark.parametrize("restart_s", [0, 15, 30])
@pytest.mark.parametrize("late_s", [45, 90])
def test_exit_taken_late_is_tried_again_and_its_double_is_corrected(
    far: Room, late_s: int, restart_s: int
) -> None:
    judge(play(far, Slow(late_s, taken_late=True), restart_s=restart_s), doubled=True)


@pytest.mark.parametrize("restart_s", [0, 15, 30])
@pytest.mark.parametrize("late_s", [45, 90])
def test_exit_filled_and_shown_late_by_books_and_positions_is_corrected(
    far: Room, late_s: int, restart_s: int
) -> None:
    judge(play(far, Slow(late_s, positions_lag=True), restart_s=restart_s), doubled=True)


@pytest.mark.parametrize("restart_s", [0, 15, 30])
@pytest.mark.parametrize("late_s", [45, 90])
def test_exit_that_the_position_shows_is_not_tried_again(far: Room, late_s: int, restart_s: int) -> None:
    made = play(far, Slow(late_s), restart_s=restart_s)
    judge(made, doubled=False)
    assert len(made.sent) == 2, "one entry, one exit"


@pytest.mark.parametrize("positions_lag", [True, False])
@pytest.mark.parametrize("late_s", [45, 90])
def test_exit_by_way_of_its_stop_cannot_double(far: Room, late_s: int, positions_lag: bool) -> None:
    made = play(far, Slow(late_s, positions_lag=positions_lag), stop=Decimal(2400))
    judge(made, doubled=False)
    assert made.exchange.slow_id == "v2", "the stop is the order that was changed"


@pytest.mark.parametrize("late_s", [45, 90])
def test_exit_after_its_stop_was_cancelled_is_corrected_as_well(far: Room, late_s: int) -> None:
    far.books.desk.stop_becomes_exit = False
    judge(play(far, Slow(late_s, taken_late=True), stop=Decimal(2400)), doubled=True)
