"""Changes of direct orders: whoever gave one may cancel it, or change its price and make it smaller.

On paper that is done at once. At a broker it is a wish: a request goes out for it, and only the books say
whether it holds; one that the broker refuses is no wish any more.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from order.bells import Bells
from order.lifecycle import Event
from order.orders import MANUAL, Order, Purpose
from order.requests import read_price
from order.resolver import BY_OWNER
from order.risk import Refused
from order.wire import Wish
from shared.errors import ConfigurationError, RefusedBySafety
from shared.models import AT_VENUE_STATES, OrderState, OrderType, Side, rupees

_LOOK = "`trading orders` lists orders and where they are."
_FIELDS = {"order_id", "price", "quantity", "trigger_price"}


class Change(msgspec.Struct, frozen=True):
    """What is asked of a direct order; 0 leaves a value as it is.

    Attributes:
        quantity: Total shares, those filled included.
    """

    order_id: str
    cancel: bool = False
    quantity: int = 0
    price_paise: int = 0
    trigger_paise: int = 0


def parse_change(order_id: str, given: Mapping[str, object]) -> Change:
    """Return the modify that *given* asks for: `price`, `trigger_price` (rupees), `quantity` (total shares).

    Raises:
        ConfigurationError: With every finding, each with its field and value.
    """
    found = [f"{key}: unknown field" for key in sorted(set(given) - _FIELDS)]
    quantity = given.get("quantity")
    if quantity is not None and (isinstance(quantity, bool) or not isinstance(quantity, int) or quantity < 1):
        found.append(f"quantity {quantity!r} must be a whole number of shares above 0")
    price, trigger = read_price(given, "price", found), read_price(given, "trigger_price", found)
    if not found and not (quantity or price or trigger):
        found.append("nothing is to be changed: give price, trigger_price or quantity")
    if found:
        raise ConfigurationError("The change is refused as it is written: " + "; ".join(found) + ".")
    return Change(order_id, False, int(str(quantity or 0)), price, trigger)


class ByHand(Bells):
    """Takes such changes."""

    def change(self, wish: Change, now_us: int) -> Order:
        """Cancel or modify a direct order, or ask its broker to; return it.

        Raises:
            ConfigurationError: There is no such order, or it cannot be changed like that (now).
            RefusedBySafety: A rule forbids what it would become.
        """
        order = self._open_direct(wish.order_id)
        if wish.cancel:
            self._cancel(order, now_us)
        else:
            self._modify(order, wish, now_us)
        self.journal_moves("change", now_us, [order.tag])
        return order

    def recheck(self, order: Order, price_paise: int, quantity: int, now_us: int) -> Refused | None:
        """Return the rule that forbids an entry's rest at another price; the desk knows them."""
        raise NotImplementedError

    # -- inside ----------------------------------------------------------------------------------

    def _open_direct(self, order_id: str) -> Order:
        for orders in self.at_work.values():
            for order in orders.values():
                if order.tag != order_id:
                    continue
                owner = self.name_of(order.book.key[1])
                if owner != MANUAL or order.purpose is Purpose.STOP:
                    raise ConfigurationError(
                        f"Order {order_id} belongs to {owner}.",
                        remedy="Only direct orders are changed by hand.",
                    )
                return order
        ended = (line.orders[order_id] for line in self.lines.values() if order_id in line.orders)
        state = next((f"is {order.state} already" for order in ended), "is not open, or there was never one")
        raise ConfigurationError(f"Order {order_id} {state}.", remedy=_LOOK)

    def _cancel(self, order: Order, now_us: int) -> None:
        self._require_known_fate(order)
        order.rule = BY_OWNER
        if order.state is OrderState.NEW:
            if not order.queued and order.purpose is Purpose.EXIT:
                order.book.exiting -= order.quantity
                order.account.note(order.book)
            self.moved(order, Event.WITHDRAW, now_us)
        elif order.wire is None:
            self.moved(order, Event.CANCEL, now_us)
        else:
            order.wire.cancel = True
            self._note(order)

    def _modify(self, order: Order, wish: Change, now_us: int) -> None:
        self._require_known_fate(order)
        if order.state not in AT_VENUE_STATES or (order.wire is not None and order.wire.cancel):
            raise ConfigurationError(
                f"Order {order.tag} does not rest at its venue: it is {order.state}.",
                remedy="Cancel it instead, or try again in a moment.",
            )
        if order.order_type is OrderType.MARKET:
            raise ConfigurationError(
                f"Order {order.tag} follows the price by itself.", remedy="Cancel it and give a LIMIT order."
            )
        quantity, price = wish.quantity or order.quantity, wish.price_paise or order.price_paise
        trigger = wish.trigger_paise or order.trigger_paise
        found = self._findings(order, wish, quantity, price, trigger)
        if found:
            raise ConfigurationError(f"Order {order.tag} cannot be changed like that: {'; '.join(found)}.")
        if order.purpose is Purpose.ENTRY:
            self._reserve(order, -order.remaining)
            refused = self.recheck(order, price, quantity, now_us)
            self._reserve(order, order.remaining)
            if refused is not None:
                raise RefusedBySafety(f"Order {order.tag} stays as it is: {refused}.")
        if order.wire is None:
            self._reserve(order, -order.remaining)
            order.quantity, order.price_paise = quantity, price
            self._reserve(order, order.remaining)
            if trigger != order.trigger_paise:
                self.set_trigger(order, trigger)
            self._note(order)
        else:
            order.wire.wish, order.wire.refusal = Wish(quantity, price, trigger), ""

    def _findings(self, order: Order, wish: Change, quantity: int, price: int, trigger: int) -> list[str]:
        tick, found = order.instrument.tick_paise, []
        if quantity > order.quantity:
            found.append(f"quantity {quantity} is more than its {order.quantity}; give another order")
        if quantity <= order.filled:
            found.append(f"quantity {quantity} is not above the {order.filled} filled; cancel the rest")
        if quantity % order.instrument.lot:
            found.append(f"quantity {quantity} is no multiple of {order.instrument.lot}")
        for name, value in (("price", wish.price_paise), ("trigger_price", wish.trigger_paise)):
            if value % tick:
                found.append(f"{name} {rupees(value)} is off the tick of {tick} paise")
        if wish.trigger_paise and not order.trigger_paise:
            found.append("trigger_price: only an SL_LIMIT order that has not been triggered has one")
        if trigger and (price < trigger if order.side is Side.BUY else price > trigger):
            found.append("price: the limit of a stop must not be before its trigger_price")
        return found

    @staticmethod
    def _require_known_fate(order: Order) -> None:
        if order.state in (OrderState.UNKNOWN, OrderState.REVIEW):
            raise ConfigurationError(
                f"The fate of order {order.tag} is not known: it is {order.state}.",
                remedy="The broker's books settle it; `trading orders review` shows what waits for you.",
            )
