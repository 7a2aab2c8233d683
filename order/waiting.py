"""Orders that wait: exits for their market or their stop, a reversal's entry for its exit."""

from __future__ import annotations

import structlog

from order.deliveries import BTST
from order.lifecycle import Event
from order.orders import Order, Purpose
from order.outside import Outside
from order.risk import Market, Refused, check_signal
from order.users import Terms
from shared.clock import ist_day
from shared.models import OrderState, Product, Quote

ENTRY_VALID_US = 60_000_000
"""How long a reversal's entry may wait for its exit in a replay, market time."""


log = structlog.get_logger(__name__)

_DELIVERY = Product.DELIVERY
_ALSO = "; wanted by: "


class Waiting(Outside):
    """Sends what has waited once its time has come."""

    def retry_exits(self, user_no: int, now_us: int) -> None:
        """Send a user's latched exits whose time has come, whether prices come or not."""
        for (run, symbol), orders in list(self.at_work.items()):
            for order in list(orders.values()):
                wire = order.wire
                if order.user.user_no != user_no or order.state is not OrderState.NEW:
                    continue
                waits = wire is not None and (wire.queued or now_us < wire.not_before_us)
                if order.purpose is Purpose.EXIT and not waits:
                    own = Quote(symbol, order.price_paise, order.placed_us)
                    self._try_again(order, self.latest(run, symbol) or own, now_us)
        self.journal_moves("retry", now_us, [user_no])

    def wake_exits(self, user_no: int, now_us: int) -> bool:
        """Send a user's exits that could not leave, before their pause is over; False where none waits so."""
        found = False
        for orders in self.at_work.values():
            for order in orders.values():
                wire = order.wire
                if order.user.user_no != user_no or wire is None or not wire.held or wire.queued:
                    continue
                if order.purpose is Purpose.EXIT and order.state is OrderState.NEW:
                    wire.not_before_us = wire.failures = 0
                    found = True
        if found:
            self.retry_exits(user_no, now_us)
        return found

    def latched(self, user_no: int) -> list[str]:
        """Return a user's exits that wait, a line each; on any thread."""
        return [
            f"EXIT_WAITS: {order.quantity or 'all'} {order.instrument.symbol}, "
            f"order {order.tag}: {_why(order)}"
            for orders in list(self.at_work.values())
            for order in list(orders.values())
            if order.user.user_no == user_no
            and order.purpose is Purpose.EXIT
            and order.state is OrderState.NEW
        ]

    def send_exit(self, order: Order, quote: Quote | None, now_us: int) -> None:
        """Send an exit; one whose DELIVERY shares are on the way is never refused, it stays latched."""
        if order.product is not _DELIVERY:
            self.send(order, quote, now_us)
            return
        own = order.rule.partition(_ALSO)[2] if order.rule.startswith(BTST) else order.rule
        held = self.deliveries.held_back(order, order.placed_us)
        order.rule = f"{held}{_ALSO}{own}" if held and own else held or own
        if held:
            log.error("an exit waits for its shares", tag=order.tag, why=held)
            self._latch(order)
        else:
            self.send(order, quote, now_us)

    # -- inside ----------------------------------------------------------------------------------

    def _latch(self, order: Order) -> None:
        """Keep an exit, with its shares reserved, until its market is open."""
        order.book.exiting += order.quantity
        self.wait(order)

    def _try_again(self, order: Order, quote: Quote, now_us: int) -> None:
        """Send a latched exit once the session is open, or a reversal's entry once the book is flat."""
        account = order.account
        daily = False
        if order.purpose is Purpose.EXIT:
            at_us = now_us if order.run == "live" else quote.at_us
            if order.quantity and self.deliveries.held_back(order, at_us, latched=True):
                return
            if self.sends_open(order.run, at_us, order.instrument, order.product):
                self._send_exit(order, quote, now_us)
            return
        if order.purpose is not Purpose.ENTRY:
            return  # a stop goes out by its guard
        # A replay at any speed must end alike, so there the market's clock judges what waits.
        replayed = order.run.startswith("replay")
        if quote.at_us > order.placed_us + ENTRY_VALID_US if replayed else now_us > order.valid_until_us:
            self.moved(order, Event.EXPIRE, now_us)
        elif not (order.book.quantity or order.book.exiting or order.book.stopping):
            strategy_id = self.name_of(order.book.key[1])
            terms = order.user.subscriptions.get(strategy_id)
            market = Market(
                order.run,
                daily,
                order.instrument,
                quote,
                order.price_paise,
                quote.at_us,
                now_us,
                ist_day(quote.at_us),
            )
            refused = check_signal(market, self.calendar)
            if terms is None:
                refused = Refused("unsubscribed", f"the user left {strategy_id}")
            if refused is not None or terms is None:
                self.refuse(order, refused or Refused("unsubscribed"), now_us)
            else:
                account.open_day(market.day)
                order.book.open_day(market.day)
                order.placed_us = quote.at_us
                self.unlist(order)
                self._enter_again(order, market, strategy_id, terms)

    def _enter_again(self, order: Order, market: Market, strategy_id: str, terms: Terms) -> None:
        """Size, check and send an entry that has waited; the desk knows how."""
        raise NotImplementedError

    def _send_exit(self, order: Order, quote: Quote, now_us: int) -> None:
        book = order.book
        if not order.quantity:
            if book.entering or book.stopping:
                return
            order.quantity = abs(book.quantity) - book.exiting
            if order.quantity <= 0:
                order.quantity = 0
                self.refuse(
                    order, Refused("nothing_to_exit", "the entry that it waited for bought nothing"), now_us
                )
                return
        else:
            book.exiting -= order.quantity
        order.placed_us = quote.at_us
        self.unlist(order)
        self.send_exit(order, quote, now_us)


def _why(order: Order) -> str:
    wire = order.wire
    if wire is not None and wire.held:
        return f"not sent, {wire.held}"
    waits = "for its account" if order.queued else "for its stop, its shares or an open market"
    return order.rule or f"it waits {waits}"
