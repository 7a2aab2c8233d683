"""All DELIVERY books with their shares by how far they have come, and what holds a sale back."""

from __future__ import annotations

from order.books import BookKey
from order.delivery import Lots, Quantities
from order.orders import Order
from shared.calendar import Calendar
from shared.clock import ist_day
from shared.instruments import Instrument
from shared.models import Side

BTST = "btst"
"""The rule that holds an exit back: buy today, sell tomorrow."""

_NOTHING = Lots()


class Deliveries:
    """See above; folded from fills like the books themselves."""

    def __init__(self, calendar: Calendar) -> None:
        self._calendar = calendar
        self._lots: dict[BookKey, Lots] = {}

    def fill(self, key: BookKey, instrument: Instrument, side: Side, quantity: int, day: int) -> None:
        """Take a fill of the book at *key* in; *day* in days since the epoch, IST."""
        lots = self._lots.get(key)
        if lots is None:
            lots = self._lots[key] = Lots()
        lots.fill(side, quantity, day, trade_to_trade=instrument.trade_to_trade)

    def quantities(self, key: BookKey, day: int) -> Quantities:
        """Return the shares of one book on *day*."""
        return self._lots.get(key, _NOTHING).quantities(day, self._calendar)

    def oldest(self, key: BookKey) -> int:
        """Return the day on which the oldest shares of a book were bought; 0 where it holds none."""
        return self._lots.get(key, _NOTHING).oldest

    def held_back(self, order: Order, at_us: int, *, latched: bool = False) -> str:
        """Return why the shares of a DELIVERY exit cannot be sold at *at_us*, or nothing.

        Args:
            order: The exit.
            at_us: Market time.
            latched: Its shares are among the book's that are being sold already.
        """
        if order.side is not Side.SELL or order.book.key not in self._lots:
            return ""
        settled_only = order.instrument.trade_to_trade
        have = self.quantities(order.book.key, ist_day(at_us))
        exiting = order.book.exiting - (order.quantity if latched else 0)
        most = have.sellable(trade_to_trade=settled_only, btst=order.user.limits.allow_btst) - exiting
        if order.quantity <= most:
            return ""
        why = "every share has to arrive first" if settled_only else "limits.allow_btst is off"
        return f"{BTST}: {order.quantity} to be sold, {max(most, 0)} can be, {have.t1} are on the way; {why}"
