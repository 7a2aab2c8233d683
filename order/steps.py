"""What is due on orders that rest at a broker: new prices, cancels, alarms. The chase, applied."""

from __future__ import annotations

from collections.abc import Iterable

import structlog

from broker.base import OrderTerms
from order import chase
from order.amend import Amendment
from order.amending import Amending
from order.orders import Order, Purpose
from order.risk import exit_open, quote_age_us
from order.switches import Level, book_scope
from order.wire import Line, Wire
from shared.clock import ist_day
from shared.instruments import Instrument
from shared.models import DONE_STATES, OrderState, OrderType, Product, Quote, Side, is_rehearsal, rupees

SECOND_US = 1_000_000
CHANGE_PAUSE_US = SECOND_US
NEVER_US = 1 << 62
LATE_US, EARLY_US = 2 * SECOND_US, SECOND_US
"""What is sent so shortly before a close or after an open may reach a market that is closed."""

_AT_VENUE = (OrderState.ACCEPTED, OrderState.PARTIALLY_FILLED)

log = structlog.get_logger(__name__)


class Steps(Amending):
    """Follows what rests at a broker."""

    def line(self, user_no: int) -> Line:
        """Return what is remembered of a user's orders at a broker."""
        return self.lines.setdefault(user_no, Line())

    def steps(self, user_no: int, now_us: int, *, closing: bool = False) -> tuple[list[Amendment], int]:
        """Return what is due on a user's orders at the broker, and how many of them are not done.

        Args:
            user_no: Whose.
            now_us: Wall time.
            closing: We are about to end: entries shall not be left alone at the exchange.
        """
        due: list[Amendment] = []
        working, line = 0, self.line(user_no)
        line.blind = set()
        for order in line.orders.values():
            wire = order.wire
            if wire is None or order.state in DONE_STATES or order.state is OrderState.NEW:
                continue
            if closing and order.purpose is Purpose.STOP and not order.taken:
                continue  # protective stops stay
            working += 1
            if order.state not in _AT_VENUE or not wire.venue_order_id:
                continue
            at_us = self.market_us(order.run, order.instrument, now_us)
            if order.purpose is Purpose.ENTRY and (closing or self.killed(order, at_us)):
                wire.cancel = True
            if not self.sends_open(order.run, at_us, order.instrument, order.product):
                wire.cancel = wire.cancel or self._day_over(order.run, at_us, order.instrument, order.product)
                if not wire.cancel:
                    continue  # where nothing trades, a new price helps nobody
            cancel = self._move_on(order, wire, now_us)
            if cancel is False and self._may_fill(order) and not self._reads_total(user_no):
                wire.cancel = cancel = True  # shares filled on its way would come on top
            if cancel is not None:
                asked = self.ask(order, order.limit_terms(), cancel=cancel, now_us=now_us)
                if asked is not None:
                    due.append(asked)
        return due, working

    def killed(self, order: Order, at_us: int) -> bool:
        """Whether a switch, or silence, takes entries like *order* off its venue at market time *at_us*."""
        if order.run in self.silent:
            return True
        if not self.switches:
            return False
        found = self.switches.strongest(*book_scope(order.book.key, self._names), ist_day(at_us))
        return self.switches.latched or (found is not None and found.level.rank >= Level.KILL.rank)

    def market_us(self, run: str, instrument: Instrument, now_us: int) -> int:
        """Return the market time of now: the wall's where it is live or no price has come."""
        quote = None if run == "live" else self.latest(run, instrument.symbol)
        return now_us if quote is None else quote.at_us

    def sends_open(
        self, run: str, at_us: int, instrument: Instrument, product: Product, *, daily: bool = False
    ) -> bool:
        """Whether an exit or a stop may be sent at market time *at_us*, by session and by the day's plan.

        Args:
            run: The market.
            at_us: Market time.
            instrument: What of.
            product: INTRADAY ends before its market does.
            daily: The price is that of a day's bar.
        """
        if not exit_open(run, at_us, daily, instrument, self.calendar):
            return False
        return daily or not self._day_over(run, at_us, instrument, product)

    def stuck(self, user_no: int) -> list[str]:
        """Return a user's exits that were alarmed and are not done, a line each."""
        return [
            f"EXIT_STUCK: {order.remaining} {order.instrument.symbol} are not closed, "
            f"order {order.tag} rests at {rupees(order.wire.seen_paise or order.wire.limit_paise)}"
            for order in list(self.line(user_no).orders.values())
            if order.wire is not None and order.wire.alarmed_us and order.state not in DONE_STATES
        ]

    def account_prices(self, user_no: int, quotes: Iterable[Quote]) -> None:
        """Take prices that an account's own connection told."""
        self.line(user_no).prices.update({quote.symbol: quote for quote in quotes})

    def exit_price_now(self, order: Order, now_us: int) -> tuple[Quote | None, bool]:
        """Return the newest price for an exit, the feed's or the account's own, and whether it is fresh."""
        symbol = order.instrument.symbol
        quote, told = self.latest(order.run, symbol), self.line(order.user.user_no).prices.get(symbol)
        age_us = NEVER_US if quote is None else quote_age_us(order.run, quote, now_us)
        if told is not None and now_us - told.received_us < age_us:
            quote, age_us = told, now_us - told.received_us
        return quote, age_us <= chase.FRESH_S * SECOND_US

    # -- inside ----------------------------------------------------------------------------------

    def _anchor(self, order: Order, wire: Wire, elapsed_s: float, now_us: int) -> None:
        """Let an exit follow the touch; where nobody tells it, go on in the dark up to the most."""
        due = now_us - wire.anchored_us >= chase.EXIT_ANCHOR_S * SECOND_US
        quote, fresh = self.exit_price_now(order, now_us)
        if fresh and quote is not None and (due or wire.blind):
            wire.anchored_us, wire.anchor_paise = now_us, chase.touch(order.side, quote)
            if wire.blind:
                wire.arrival_paise, wire.blind = wire.anchor_paise, False
        elif due and not fresh and elapsed_s >= chase.EXIT_BPS[-1][0] + chase.EXIT_ANCHOR_S:
            wire.anchored_us = now_us
            wire.anchor_paise = chase.onward(order.side, wire.anchor_paise, order.instrument.tick_paise)

    def _day_over(self, run: str, at_us: int, instrument: Instrument, product: Product) -> bool:
        if product is not Product.INTRADAY or run.startswith("replay"):
            return False
        if is_rehearsal(run) and self.latest(run, instrument.symbol) is None:
            return False  # only its prices tell a rehearsal's time; the wall's would take its stops off
        return self.plans.over(run, at_us, instrument)

    def _reaches_open_market(self, order: Order, now_us: int) -> bool:
        """Whether what is sent now meets an open market: the broker keeps a late order for the next day."""
        run, instrument = order.run, order.instrument
        at_us = self.market_us(run, instrument, now_us)
        moments = (at_us - EARLY_US, at_us + LATE_US) if run == "live" else (at_us,)
        return all(self.sends_open(run, each, instrument, order.product) for each in moments)

    def _reads_total(self, user_no: int) -> bool:
        """Whether the quantity of a modify is the total at the broker: only that is the same at any time."""
        line = self.line(user_no)
        return self.modify_is_total and not (line.day and line.misread_day == line.day)

    @staticmethod
    def _may_fill(order: Order) -> bool:
        return bool(order.filled or order.taken) or order.order_type is OrderType.MARKET

    def _move_on(self, order: Order, wire: Wire, now_us: int) -> bool | None:
        """Return True to cancel *order*, False to modify it, None to leave it."""
        since_us = now_us - wire.changed_us
        elapsed_s = (now_us - (wire.chased_us or wire.sent_us)) / SECOND_US
        if (order.order_type is OrderType.MARKET or order.taken) and not wire.cancel:
            quote = self.latest(order.run, order.instrument.symbol)
            if order.purpose is not Purpose.ENTRY:
                self._alarm_stuck(order, wire, now_us)
                quote, fresh = self.exit_price_now(order, now_us)
                if not fresh:
                    self.line(order.user.user_no).blind.add(order.instrument.symbol)
            if not wire.arrival_paise:  # adopted after a restart
                wire.arrival_paise = chase.touch(order.side, quote) if quote else order.price_paise
                wire.anchor_paise = wire.arrival_paise
            price = self._limit(order, wire, quote, elapsed_s, now_us)
            if price is None:
                wire.cancel = True
            else:
                wire.limit_paise = price
        if wire.amended_us and wire.read_us <= wire.amended_us:
            return None  # what the last request came to shows in the books first
        if since_us < CHANGE_PAUSE_US:
            return None
        if wire.cancel:
            return True
        if wire.wish is not None:
            return None if not wire.read_us or shown_as(order.limit_terms(), wire) else False
        if order.purpose is Purpose.STOP:
            fits = wire.converted or not order.taken
            return None if not wire.read_us or (fits and shown_as(order.limit_terms(), wire)) else False
        shown = wire.seen_paise or wire.first_paise
        return False if wire.limit_paise and shown and shown != wire.limit_paise else None

    def _limit(
        self, order: Order, wire: Wire, quote: Quote | None, elapsed_s: float, now_us: int
    ) -> int | None:
        tick = order.instrument.tick_paise
        if order.purpose is Purpose.ENTRY:
            return chase.entry_price(order.side, wire.arrival_paise, tick, elapsed_s)
        self._anchor(order, wire, elapsed_s, now_us)
        price = chase.exit_price(
            order.side, wire.arrival_paise, wire.anchor_paise, tick, elapsed_s, quote
        )
        # An exit never takes a step back: a modify that makes it worse to fill helps nobody.
        if not wire.limit_paise:
            return price
        return min(price, wire.limit_paise) if order.side is Side.SELL else max(price, wire.limit_paise)

    def _alarm_stuck(self, order: Order, wire: Wire, now_us: int) -> None:
        elapsed_s = (now_us - (wire.chased_us or wire.stuck_us or wire.sent_us)) / SECOND_US
        again_s = (now_us - wire.alarmed_us) / SECOND_US
        if elapsed_s >= chase.STUCK_S and again_s >= chase.STUCK_AGAIN_S:
            wire.alarmed_us = now_us
            log.error("EXIT_STUCK", tag=order.tag, seconds=round(elapsed_s), shares=order.remaining)


def shown_as(terms: OrderTerms, wire: Wire) -> bool:
    """Return whether the latest reading shows an order as *terms* want it."""
    if (wire.seen_paise, wire.seen_quantity) != (terms.price_paise, terms.quantity):
        return False
    return terms.order_type is not OrderType.SL_LIMIT or wire.seen_trigger_paise == terms.trigger_paise
