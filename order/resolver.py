"""Orders whose fate is not known, and exits that the broker did not carry out: what is done about them.

An entry is never sent again. It is ABSENT only by three good readings of the day of its send, each long
enough after it; an exit may go out again under a new tag, when trades and position have not moved either.
What the readings do not settle goes to a human as REVIEW. An order that shows after all is followed, and
shares that an exit sold beyond the position are bought back at once: a CORRECTION.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import structlog

from broker.base import VenueFill
from order.amending import MISREAD
from order.lifecycle import Event
from order.orders import CORRECTION_LEG, Order, Purpose
from order.steps import SECOND_US, Steps
from order.store import Loaded
from order.wire import Line, Wire
from shared.clock import ist_day
from shared.models import AT_VENUE_STATES, OrderState, OrderType, Side

ENTRY_ABSENT_US = 60 * SECOND_US
EXIT_ABSENT_US = 20 * SECOND_US
EXIT_WITH_STOP_US = 60 * SECOND_US
ABSENT_READS = 3
MOST_ABSENCES = 2
ALARM_US = 5 * SECOND_US
ALARM_AGAIN_US = 60 * SECOND_US
AGAIN_US = (SECOND_US, 2 * SECOND_US, 5 * SECOND_US, 10 * SECOND_US, 30 * SECOND_US, 60 * SECOND_US)
"""Pauses before what did not leave us, or an exit that was refused, goes out again; the last one repeats."""

BY_OWNER = "cancelled by its owner"
"""The rule of a direct order that nobody wants any more: what is left of it is not tried again."""

FATE_UNKNOWN = (OrderState.SENDING, OrderState.UNKNOWN, OrderState.REVIEW)
FROZEN = (OrderState.UNKNOWN, OrderState.REVIEW)
DOUBLED = "doubled"
"""The kind of mark that says that more than one order carried a tag."""

Nets = Mapping[tuple[str, str], int]
"""Net shares at the broker by symbol and product."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one reading is worth for orders that it does not show.

    Attributes:
        asked_us: Wall time just before it was asked for.
        whole: It was understood, is of one day, and holds every order known for that day.
        nets: Positions read just after the books; None where they were not.
    """

    asked_us: int
    whole: bool
    nets: Nets | None


class Resolver(Steps):
    """See above."""

    def know_order(self, order: Order) -> None:
        """Take a stored order that is not done, at start."""
        super().know_order(order)
        line = self.line(order.user.user_no)
        _count(line, order)
        if order.wire is not None and order.wire.sent_us:
            line.orders[order.tag] = order
            order.wire.cancel = order.rule == BY_OWNER

    def know_late(self, order: Order) -> None:
        """Take a stored order that is done and may still show at the broker, at start."""
        order.fresh = False
        order.path = order.state
        self.line(order.user.user_no).orders[order.tag] = order

    def remember(self, loaded: Loaded) -> None:
        """Take what the store remembers of accounts, at start, after the orders."""
        for user_no, tag in loaded.ended:
            self.line(user_no).ended.add(tag)
        for user_no, sent_us, entry in loaded.sends:
            self.line(user_no).sent_before.append((sent_us, entry))
        for user_no, day, order_id in loaded.seen_ids:
            line = self.line(user_no)
            if day > line.day:
                line.day, line.known_ids = day, set()
            if day == line.day:
                line.known_ids.add(order_id)
        for (signal, user_no, leg, part), attempt in loaded.attempts.items():
            attempts = self.line(user_no).attempts
            attempts[signal, leg, part] = max(attempts.get((signal, leg, part), 0), attempt)
        for orders in self.at_work.values():
            for order in orders.values():
                if order.wire is not None:
                    order.wire.absences = loaded.absences.get(order.key()[:4], 0)
        for (user_no, kind, what), value in loaded.marks.items():
            if kind == DOUBLED and "seen" not in value:
                self.line(user_no).doubled.add(what)
            elif kind == MISREAD:
                self.line(user_no).misread_day = int(value)

    def note_account(self, user_no: int, kind: str, what: str, value: str, now_us: int) -> None:
        """Note *value* on an account."""
        self.changes.marks[user_no, kind, what] = (value, now_us)

    def lost(self, order: Order, now_us: int) -> None:
        """Note that the answer to a send is lost."""
        if order.wire is not None:
            order.wire.lost_us = now_us
            self._write(order)
        self.moved(order, Event.LOSE, now_us)

    def frozen(self, user_no: int, symbol: str) -> str | None:
        """Return the tag of an order of that user and symbol whose fate is not known, or None."""
        line = self.lines.get(user_no)
        for tag, order in line.orders.items() if line is not None else ():
            if order.state in FROZEN and order.instrument.symbol == symbol:
                return tag
        return None

    def doubts(self, user_no: int) -> list[Order]:
        """Return a user's orders whose fate is not known, or that wait for a human; on any thread."""
        return [order for order in list(self.line(user_no).orders.values()) if order.state in FROZEN]

    def watch(self, user_no: int, now_us: int) -> None:
        """Raise the alarms that are due: five seconds after a send of unknown fate, and each minute."""
        for order in self.doubts(user_no):
            wire = order.wire
            if wire is None or now_us - wire.sent_us < ALARM_US:
                continue
            if not wire.alarmed_us or now_us - wire.alarmed_us >= ALARM_AGAIN_US:
                wire.alarmed_us = now_us
                seconds = (now_us - wire.sent_us) // SECOND_US
                log.error(
                    "an order's fate is not known; its symbol is frozen",
                    tag=order.tag, state=order.state, purpose=order.purpose, seconds=seconds, why=order.rule,
                )  # fmt: skip

    # -- inside ----------------------------------------------------------------------------------

    def _not_seen(self, order: Order, evidence: Evidence, now_us: int) -> None:
        """Weigh a reading that does not show an order."""
        wire = order.wire
        assert wire is not None, "only claimed orders are at a broker"
        if ist_day(evidence.asked_us) > ist_day(wire.sent_us):
            # Of orders that were seen, too: no DAY order lives on, and nobody saw how this one ended.
            if order.state in (OrderState.UNKNOWN, *AT_VENUE_STATES):
                self.doubt(order, "its day is over and the books did not show how it ended", now_us)
            return
        if order.state is not OrderState.UNKNOWN or not evidence.whole:
            return
        if evidence.asked_us < wire.sent_us + self._patience_us(order):
            return
        leaving = order.purpose is Purpose.EXIT
        if leaving:
            moved = self._position_moved(order, evidence.nets)
            if moved is None:
                return
            if moved:
                wire.absent_reads = 0
                wire.changed_reads += 1
                if wire.changed_reads >= ABSENT_READS:
                    self.doubt(order, "the books do not show it, and yet the position has moved", now_us)
                return
            wire.changed_reads = 0
        wire.absent_reads += 1
        if wire.absent_reads < ABSENT_READS:
            return
        if leaving and wire.absences >= MOST_ABSENCES:
            self.doubt(order, f"absent {wire.absences + 1} times", now_us)
            return
        self.fate_known(order, now_us)
        self.moved(order, Event.CONFIRM_ABSENT, now_us)
        self.try_exit_again(order, now_us, absences=wire.absences + 1)

    def doubt(self, order: Order, why: str, now_us: int) -> None:
        """Leave *order* to a human."""
        order.rule = why
        self.moved(order, Event.DOUBT, now_us)
        log.error("an order needs a human: `trading orders review`", tag=order.tag, why=why)

    def fate_known(self, order: Order, now_us: int) -> None:
        """Note when it was known what became of a send."""
        wire = order.wire
        assert wire is not None, "only claimed orders are at a broker"
        if not wire.settled_us:
            wire.settled_us = now_us
            if wire.lost_us:
                seconds = (now_us - wire.sent_us) / SECOND_US
                log.info("an order's fate is settled", tag=order.tag, seconds=round(seconds, 1))
            self._write(order)

    def try_exit_again(self, order: Order, now_us: int, absences: int = 0) -> Order | None:
        """Keep an exit latched that the broker did not carry out: the rest goes out as a new attempt."""
        if order.purpose is not Purpose.EXIT or order.state is OrderState.FILLED or not order.remaining:
            return None
        if order.rule == BY_OWNER:
            return None
        # What is left to get out of may have changed meanwhile; an exit that turned the position and still
        # works takes no part in getting back.
        at_work = self.at_work.get((order.run, order.instrument.symbol), {}).values()
        exiting = sum(
            other.remaining
            for other in at_work
            if other.book is order.book and other is not order
            and other.purpose is Purpose.EXIT and other.side is order.side
        )  # fmt: skip
        open_quantity = abs(order.book.quantity) - exiting - order.book.stopping
        quantity = min(order.remaining, open_quantity)
        if quantity <= 0 or (order.book.quantity > 0) is (order.side is Side.BUY):
            return None
        before = order.wire or Wire()
        again = self.latch_part(
            order,
            quantity,
            Wire(
                not_before_us=now_us + pause_us(before.failures),
                failures=before.failures + 1,
                absences=absences or before.absences,
                stuck_us=before.stuck_us,
            ),
        )
        again.book.exiting += quantity
        log.error("an exit is tried again", was=order.tag, now=again.tag, shares=quantity, why=order.rule)
        return again

    def latch_part(self, order: Order, quantity: int, wire: Wire) -> Order:
        """Latch *quantity* shares of an exit as an order of its own; the caller reserves them."""
        key = (order.signal_no, order.leg, order.slice_no)
        attempts = self.line(order.user.user_no).attempts
        again = order.sibling(order.slice_no, max(attempts.get(key, 0), order.attempt) + 1, quantity)
        attempts[key] = again.attempt
        again.wire = wire
        self.wait(again)
        return again

    def _shown_after_all(self, order: Order, now_us: int) -> None:
        """Follow an order that was given up and is at the broker."""
        log.error("an order that was given up is at the broker", tag=order.tag, state=order.state)
        self.moved(order, Event.ACCEPT, now_us)
        self._reserve(order, order.remaining)
        self._keep(order)
        book = order.book
        if order.purpose is not Purpose.EXIT or book.exiting <= abs(book.quantity):
            return
        # Two exits for the same shares: what has not gone out never does, what rests is cancelled.
        for other in list(self.at_work.get((order.run, order.instrument.symbol), {}).values()):
            if other.book is book and other.purpose is Purpose.EXIT and other.state is OrderState.NEW:
                if not other.queued:
                    book.exiting -= other.quantity
                other.rule = f"{order.tag} is at the broker after all"
                self.moved(other, Event.WITHDRAW, now_us)
        if book.exiting > abs(book.quantity) and order.wire is not None:
            order.wire.cancel = True

    def _correct(self, order: Order, held: int, fill: VenueFill) -> None:
        """Get back to flat after an exit that sold or bought more than was *held* before its *fill*."""
        signed = held if order.side is Side.SELL else -held
        over = fill.quantity - max(min(fill.quantity, signed), 0)
        if order.purpose is Purpose.ENTRY or not over:
            return
        line, book = self.line(order.user.user_no), order.book
        again = Order(
            order.signal_no, order.signal_id, order.account, CORRECTION_LEG, book, order.instrument,
            order.run, Purpose.EXIT, Side.BUY if order.side is Side.SELL else Side.SELL, order.product,
            OrderType.MARKET, over, fill.price_paise, fill.at_us,
        )  # fmt: skip
        taken = [part for signal, leg, part in line.attempts if (signal, leg) == (again.signal_no, again.leg)]
        again.slice_no = max(taken, default=-1) + 1
        _count(line, again)
        again.wire = Wire()
        book.exiting += over
        self.wait(again)
        order.rule = f"over_exit: {over} beyond the position, corrected by {again.tag}"
        log.critical("over_exit", tag=order.tag, shares=over, correction=again.tag)

    def doubled(self, order: Order, count: int, now_us: int) -> None:
        """Close an account for entries in which more than one order carries a tag."""
        line, user_no = self.line(order.user.user_no), order.user.user_no
        if user_no in self.armed:
            self.armed[user_no] = False
        if order.tag not in line.doubled:
            line.doubled.add(order.tag)
            self.note_account(user_no, DOUBLED, order.tag, str(count), now_us)
            log.critical("more than one order carries a tag; entries are off", tag=order.tag, orders=count)

    def _patience_us(self, order: Order) -> int:
        """Return how long after the send a reading counts."""
        if order.purpose is Purpose.ENTRY:
            return ENTRY_ABSENT_US
        if order.purpose is Purpose.STOP:
            return EXIT_ABSENT_US
        at_work = self.at_work.get((order.run, order.instrument.symbol), {})
        stop = any(
            other.book is order.book
            and other.order_type is OrderType.SL_LIMIT
            and other.purpose is not Purpose.ENTRY
            and other.state in AT_VENUE_STATES
            for other in at_work.values()
        )
        return EXIT_WITH_STOP_US if stop else EXIT_ABSENT_US

    def _position_moved(self, order: Order, nets: Nets | None) -> bool | None:
        """Return whether the broker's position is not what our fills and others' orders make it."""
        if nets is None:
            return None
        key = order.instrument.symbol, order.product.value
        ours = self.positions(order.user.user_no, order.run).get(key, 0)
        return self.line(order.user.user_no).cover.moved(key, nets.get(key, 0), ours)

    def _write(self, order: Order) -> None:
        wire = order.wire
        assert wire is not None, "only claimed orders are at a broker"
        self.changes.wires.append(
            (*order.key(), order.tag, wire.venue_order_id, wire.sent_us, wire.lost_us, wire.settled_us)
        )


def pause_us(failures: int) -> int:
    """Return how long to wait before the next try, after so many."""
    return AGAIN_US[min(failures, len(AGAIN_US) - 1)]


def _count(line: Line, order: Order) -> None:
    """Keep the highest attempt of an order's key, so that no new one takes a key that is taken."""
    key = (order.signal_no, order.leg, order.slice_no)
    if order.attempt or order.leg == CORRECTION_LEG:
        line.attempts[key] = max(line.attempts.get(key, 0), order.attempt)
