"""Stops, targets and trailing stops of positions; exits that go by way of a resting stop.

Only the stop rests at the venue; target and trail are ours, because a second resting exit can fill as well
and turn the position. An exit on a position with a live stop waits, and the stop becomes it: the same order,
so that nothing can double. Where the broker does not take that, the stop is cancelled, and once that is
confirmed the exit sends what is left. So no exit leaves while a stop may still fill.
"""

from __future__ import annotations

import structlog

from broker.base import ChangeOutcome, Rejected, VenueFill
from order import chase, stops
from order.amend import Amendment
from order.books import Book, BookKey
from order.guards import STOP_LEG, Guard, Plan, book_key
from order.leaving import Leaving
from order.lifecycle import Event
from order.orders import Order, Purpose, Taken
from order.requests import MAX_QUANTITY
from order.risk import Refused
from order.slippage import slippage_bps
from shared.models import AT_VENUE_STATES, DONE_STATES, OrderState, OrderType, Product, Quote, Side, rupees

BARE_US = 5_000_000
"""Shares that have had no accepted stop for so long are sold."""

RESTOP_US = 1_000_000
TRAIL_STEP_BPS = 5
"""A trailing stop moves in steps of at least so much, 1/100 of a percent of the price: each is a request."""

CARRIED_OUT = "carried out by the stop"

log = structlog.get_logger(__name__)


class Protection(Leaving):
    """Keeps each position's stop as large as the position, and gets out where it is due."""

    def guard(self, order: Order, plan: Plan | None, price_paise: int) -> Refused | None:
        """Protect what the entry *order* will bring; return what forbids it, or None.

        Args:
            order: About to be sent.
            plan: None: unprotected.
            price_paise: At hand.
        """
        book = order.book
        known = self.guards.get(book.key)
        side = Side.SELL if order.side is Side.BUY else Side.BUY
        if plan is None:
            if known is not None and not book.quantity:
                known.stop_paise = known.target_paise = known.trail_bps = 0
                known.side = side
                self._write_guard(known)
            return None
        stop = plan.stop_paise
        if plan.trail_bps:
            level = stops.trailed(side, price_paise, plan.trail_bps, order.instrument.tick_paise)
            stop = stops.nearer(side, stop or level, level)
        if stop and stops.passed(side, price_paise, stop):
            return Refused("stop", f"a stop at {rupees(stop)} is hit at {rupees(price_paise)}")
        if plan.target_paise and stops.gained(side, price_paise, plan.target_paise):
            return Refused("target", f"a target of {rupees(plan.target_paise)} is reached already")
        made = Guard(
            book, order.account, order.instrument, order.run, side, order.signal_no, order.signal_id,
            stop, plan.target_paise, plan.trail_bps, price_paise,
        )  # fmt: skip
        if known is not None:
            made.stopped_us, made.orders, made.exit = known.stopped_us, known.orders, known.exit
        self._know_guard(made)
        self._write_guard(made)
        return None

    def know_guard(self, row: tuple[int | str | None, ...]) -> None:
        """Take a stored guard, at start; users and books are known."""
        key = book_key(row)
        run, symbol = self._names[key[0]], self._names[key[2]]
        guard = Guard(
            self.book(key), self.account(self.users[key[4]], key[0]), self.instruments.get(symbol), run,
            Side(str(row[5])), int(row[6] or 0), str(row[7]), int(row[8] or 0), int(row[9] or 0),
            int(row[10] or 0), int(row[11] or 0), int(row[12] or 0), int(row[13] or 0),
        )  # fmt: skip
        self._know_guard(guard)
        self.touched[key] = guard

    def know_order(self, order: Order) -> None:
        """Take a stored order that is not done, at start."""
        super().know_order(order)
        guard = self.guards.get(order.book.key)
        if guard is None:
            return
        if order.purpose is Purpose.STOP:
            guard.orders.append(order)
        elif order.purpose is Purpose.EXIT and order.state is OrderState.NEW and not order.quantity:
            guard.exit = order

    def watch_levels(self, quote: Quote, run: str, now_us: int) -> None:
        """Hold a new price against the levels of all positions in it."""
        for key, guard in list(self.guarded.get((run, quote.symbol), {}).items()):
            held = guard.book.quantity
            if held and guard.exit is None and (held > 0) is (guard.side is Side.SELL):
                self._watch(guard, quote, now_us)
            if guard.exit is not None or guard.on_the_way:
                self.touched[key] = guard
            self._tend_all({key}, quote, now_us)

    def steps(self, user_no: int, now_us: int, *, closing: bool = False) -> tuple[list[Amendment], int]:
        """See `Steps.steps`; looks after the stops first."""
        bare = 0
        if not closing:
            self.ring_all(user_no, now_us)
        for guard in self.guards_of.get(user_no, {}).values():
            if not closing and guard.account.user.broker not in self.venues:
                bare += self._bare(guard, now_us)
        self.journal_moves("steps", now_us, [user_no])
        due, working = super().steps(user_no, now_us, closing=closing)
        return due, working + bare

    def answer_amendment(
        self, user_no: int, tag: str, number: int, outcome: ChangeOutcome, now_us: int
    ) -> None:
        """See `Amending.answer_amendment`; a stop that must not become an exit is cancelled."""
        order, wire, amendment = self._asked(user_no, tag, number)
        super().answer_amendment(user_no, tag, number, outcome, now_us)
        if order is None or wire is None or amendment is None or amendment.cancel:
            return
        if order.taken and isinstance(outcome, Rejected):
            wire.cancel = True

    def moved(self, order: Order, event: Event, now_us: int) -> None:
        """See `Execution.moved`; a stop that did not come to rest is not sent anew at once."""
        super().moved(order, event, now_us)
        if order.purpose is not Purpose.STOP or order.wire is None:
            return
        if event is Event.NOT_SENT:
            super().moved(order, Event.WITHDRAW, now_us)
        guard = self.guards.get(order.book.key)
        if guard is not None and order.state in DONE_STATES:
            guard.not_before_us = now_us + RESTOP_US

    def ring_all(self, user_no: int, now_us: int) -> None:
        """Do what the clock demands of a user's positions; see `order.bells`."""

    def look_after(self, now_us: int) -> None:
        """See to the stops of all books that something has happened to."""
        self._tend_all(None, None, now_us)

    # -- inside ----------------------------------------------------------------------------------

    def _know_guard(self, guard: Guard) -> None:
        key = guard.book.key
        self.guards[key] = guard
        self.guards_of.setdefault(key[4], {})[key] = guard
        self.guarded.setdefault((guard.run, guard.instrument.symbol), {})[key] = guard

    def _write_guard(self, guard: Guard) -> None:
        self.changes.guards[guard.book.key] = guard

    def _shown_after_all(self, order: Order, now_us: int) -> None:
        super()._shown_after_all(order, now_us)
        guard = self.guards.get(order.book.key)
        if order.purpose is not Purpose.STOP or order.wire is None:
            return
        if guard is not None and all(stop.state in DONE_STATES for stop in guard.orders):
            guard.orders = [order]
        else:
            order.wire.cancel = True  # another has taken its place

    def _record(self, order: Order, fill: VenueFill, now_us: int) -> None:
        super()._record(order, fill, now_us)
        if order.purpose is Purpose.STOP and order.taken is not Taken.EXIT:
            self._stopped_out(order.book, fill.at_us, now_us)

    def _stopped_out(self, book: Book, at_us: int, now_us: int) -> None:
        guard = self.guards.get(book.key)
        if guard is not None:
            guard.stopped_us = at_us
            self._write_guard(guard)
        if book.entering:
            self.withdraw_entries(book, now_us)

    def _watch(self, guard: Guard, quote: Quote, now_us: int) -> None:
        price, side, tick = quote.price_paise, guard.side, guard.instrument.tick_paise
        if guard.trail_bps and stops.gained(side, price, guard.best_paise):
            guard.best_paise = price
            level = stops.trailed(side, price, guard.trail_bps, tick)
            if stops.gained(side, level, guard.stop_paise) and (
                abs(level - guard.stop_paise) * 10_000 >= TRAIL_STEP_BPS * price
            ):
                guard.stop_paise = level
                self._write_guard(guard)
                self.touched[guard.book.key] = guard
        if guard.target_paise and stops.gained(side, price, guard.target_paise):
            self.leave(guard.book, f"target {rupees(guard.target_paise)} reached", quote, now_us)
        elif guard.stop_paise:
            # A stop that rests does its work until the price is beyond its limit; without one we do it.
            level = stops.stop_limit(side, guard.stop_paise, tick) if guard.orders else guard.stop_paise
            if stops.passed(side, price, level) and not (guard.orders and price == level):
                self._pass(guard, quote, now_us)

    def _pass(self, guard: Guard, quote: Quote | None, now_us: int) -> None:
        at_us = quote.at_us if quote is not None else now_us
        self.leave(guard.book, f"stop {rupees(guard.stop_paise)} passed", quote, now_us)
        self._stopped_out(guard.book, at_us, now_us)

    def _bare(self, guard: Guard, now_us: int) -> bool:
        """Leave a position that has had no accepted stop for too long; return whether it has none now."""
        held = guard.book.quantity
        self.touched[guard.book.key] = guard
        if not held or not guard.stop_paise or guard.exit is not None or guard.book.exiting:
            guard.bare_us = 0
            return False
        resting = sum(stop.state in AT_VENUE_STATES for stop in guard.orders)
        if resting and resting >= -(-self._to_protect(guard, now_us) // self._most(guard)):
            guard.bare_us = 0
            return False
        if guard.on_the_way or not self._open(guard, None, now_us):
            guard.bare_us = 0
            return False  # no stop can be had: shares on the way, a closed market
        guard.bare_us = guard.bare_us or now_us
        if now_us - guard.bare_us > BARE_US:
            log.error("a position without a stop", symbol=guard.instrument.symbol, shares=held)
            self.leave(guard.book, "no accepted stop within 5 s", None, now_us)
        return True

    def _tend_all(self, keys: set[BookKey] | None, quote: Quote | None, now_us: int) -> None:
        while True:
            key = next((key for key in self.touched if keys is None or key in keys), None)
            if key is None:
                return
            self._tend(self.touched.pop(key), quote, now_us)

    def _tend(self, guard: Guard, quote: Quote | None, now_us: int) -> None:
        """Bring stops, position and wish together; doing it twice does nothing more."""
        book = guard.book
        for stop in guard.orders:
            if stop.state is OrderState.NEW and not stop.queued:
                stop.rule = "it was not sent"
                self.moved(stop, Event.WITHDRAW, now_us)
        guard.orders = [stop for stop in guard.orders if stop.state not in DONE_STATES]
        held, quote = book.quantity, quote or self.latest(guard.run, guard.instrument.symbol)
        if guard.orders:
            need = self._to_protect(guard, now_us) if guard.stop_paise or guard.exit is not None else 0
            if guard.exit is None:
                self._spread(guard, need, quote, now_us)
            elif self._open(guard, quote, now_us):
                self._take_over(guard, need, quote, now_us)
        elif guard.exit is not None:
            self._finish(guard, guard.exit, quote, now_us)
        elif abs(held) > book.exiting and (held > 0) is not (guard.side is Side.SELL):
            log.error("over_exit", symbol=guard.instrument.symbol, shares=held)
            self.leave(book, "over_exit", quote, now_us)
        elif held and guard.stop_paise:
            self._put_stops(guard, self._to_protect(guard, now_us), quote, now_us)
        elif not held and not book.entering:
            self.guarded.get((guard.run, guard.instrument.symbol), {}).pop(book.key, None)

    def _open(self, guard: Guard, quote: Quote | None, now_us: int) -> bool:
        if guard.run.startswith("replay"):
            return True  # where the data has a price, there is a market
        at_us = now_us if guard.run == "live" or quote is None else quote.at_us
        return self.sends_open(guard.run, at_us, guard.instrument, Product(guard.book.key[3]))

    def _put_stops(self, guard: Guard, shares: int, quote: Quote | None, now_us: int) -> None:
        if shares <= 0 or now_us < guard.not_before_us or not self._open(guard, quote, now_us):
            return
        if quote is not None and stops.passed(guard.side, quote.price_paise, guard.stop_paise):
            self._pass(guard, quote, now_us)
            return
        while shares > 0:
            part = min(shares, self._most(guard))
            shares -= part
            self._put_stop(guard, part, quote, now_us)

    def _put_stop(self, guard: Guard, shares: int, quote: Quote | None, now_us: int) -> None:
        order = Order(
            guard.signal_no, guard.signal_id, guard.account, STOP_LEG, guard.book, guard.instrument,
            guard.run, Purpose.STOP, guard.side, Product(guard.book.key[3]), OrderType.SL_LIMIT, shares,
            stops.stop_limit(guard.side, guard.stop_paise, guard.instrument.tick_paise),
            quote.at_us if quote is not None else now_us,
        )  # fmt: skip
        guard.on_the_way = bool(self.deliveries.held_back(order, order.placed_us))
        if guard.on_the_way:
            return  # shares on the way are not sold, by a stop neither
        order.attempt = guard.stops
        guard.stops += 1
        guard.orders.append(order)
        self._write_guard(guard)
        self.set_trigger(order, guard.stop_paise)
        self.send(order, quote, now_us)

    def _most(self, guard: Guard) -> int:
        """Return how many shares one stop may be for, those filled included."""
        freeze, lot = guard.instrument.freeze_quantity, guard.instrument.lot
        return MAX_QUANTITY if freeze is None else max((freeze - 1) // lot, 1) * lot

    def _to_protect(self, guard: Guard, now_us: int) -> int:
        """Return for how many shares stops may rest: what is held and, by two comparisons, shown."""
        book = guard.book
        shares = abs(book.quantity) - book.exiting
        key = guard.instrument.symbol, book.key[3]
        if guard.account.user.broker in self.venues or not self.line(book.key[4]).cover.steady(key):
            return shares
        shown = self.cover(guard.account, book, guard.side, now_us, guard.orders)
        return shares if shown is None else min(shares, shown)

    def _spread(self, guard: Guard, need: int, quote: Quote | None, now_us: int) -> None:
        """Let stops cover *need* shares, each below the freeze quantity; put what lacks."""
        for stop in list(guard.orders):
            part = min(need, self._most(guard) - stop.filled)
            need -= max(part, 0)
            if part > 0:
                self._fit(guard, stop, part)
            else:
                self._drop(stop, now_us)
        if need > 0 and guard.exit is None:
            self._put_stops(guard, need, quote, now_us)

    def _fit(self, guard: Guard, stop: Order, shares: int) -> None:
        """Give a stop *shares* to cover, and the level of its guard."""
        total = stop.filled + shares
        if stop.wire is not None:
            stop.wire.want_quantity = total
        elif stop.quantity != total:
            self._reserve(stop, total - stop.quantity)
            stop.quantity = total
            self._note(stop)
        if not stop.taken and stop.trigger_paise not in (0, guard.stop_paise):
            tick = guard.instrument.tick_paise
            stop.price_paise = stops.stop_limit(guard.side, guard.stop_paise, tick)
            self.set_trigger(stop, guard.stop_paise)

    def _drop(self, stop: Order, now_us: int) -> None:
        if stop.wire is None or stop.state is OrderState.NEW:
            stop.rule = "nothing is left to protect"
            new = stop.state is OrderState.NEW
            self.moved(stop, Event.WITHDRAW if new else Event.CANCEL, now_us)
        else:
            stop.wire.cancel = True

    def _take_over(self, guard: Guard, need: int, quote: Quote | None, now_us: int) -> None:
        """Let stops become the exit that waits for them."""
        self._spread(guard, need, quote, now_us)
        for stop in list(guard.orders):
            if stop.state is OrderState.NEW:
                self._drop(stop, now_us)
            elif stop.state not in DONE_STATES and not stop.taken:
                self._take(guard, stop, quote, now_us)

    def _take(self, guard: Guard, stop: Order, quote: Quote | None, now_us: int) -> None:
        passed = guard.exit is not None and guard.exit.rule.startswith("stop")
        stop.taken = Taken.PASSED if passed else Taken.EXIT
        wire, price = stop.wire, stop.price_paise
        if wire is not None:
            touch = price if quote is None else chase.touch(stop.side, quote)
            wire.chased_us = wire.anchored_us = now_us
            wire.arrival_paise = wire.anchor_paise = touch
            wire.limit_paise = 0
            wire.cancel = wire.cancel or not self.stop_becomes_exit
            return
        venue = self.venues[stop.user.broker]
        self.set_trigger(stop, 0)
        if quote is not None and not passed:
            stop.placed_us = quote.at_us
        terms = stop.terms(slippage_bps(stop.instrument))
        # A price beyond the stop is there already: the way out is at the open after a gap.
        answer = venue.match(terms, quote) if passed and quote is not None else venue.place(terms, quote)
        if isinstance(answer, VenueFill):
            self._record(stop, answer, now_us)

    def _finish(self, guard: Guard, leaving: Order, quote: Quote | None, now_us: int) -> None:
        """Send an exit that has waited for its stop, or end it where the stop has done it all."""
        book = guard.book
        if leaving.state is not OrderState.NEW or leaving.quantity:
            guard.exit = None
        elif book.entering or book.stopping:
            return
        elif abs(book.quantity) <= book.exiting:
            guard.exit = None
            if guard.stops:
                leaving.rule = f"{leaving.rule}; {CARRIED_OUT}" if leaving.rule else CARRIED_OUT
                self.moved(leaving, Event.WITHDRAW, now_us)
            else:
                self._send_exit(leaving, self._own_quote(leaving, quote), now_us)
        elif self._open(guard, quote, now_us):
            guard.exit = None
            self._send_exit(leaving, self._own_quote(leaving, quote), now_us)
