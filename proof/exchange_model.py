"""A broker and its exchange as a simulation has them: late, lossy, forgetful; its orders are the truth."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from broker.base import (
    Accepted,
    NotSent,
    OrderTerms,
    PlaceOutcome,
    Rejected,
    Unknown,
    VenueBook,
    VenueOrder,
    VenuePosition,
    VenueState,
    VenueTrade,
)
from shared.models import OrderType, Product, Side


@dataclass
class Resting:
    """One order at the exchange."""

    tag: str
    order_id: str
    symbol: str
    side: Side
    quantity: int
    limit: int
    trigger: int
    appears_us: int
    state: VenueState = VenueState.WORKING
    trades: list[VenueTrade] = field(default_factory=list)

    @property
    def filled(self) -> int:
        """Shares filled so far."""
        return sum(trade.quantity for trade in self.trades)


@dataclass(frozen=True, slots=True)
class Chances:
    """Of each mishap; all 0 is calm.

    Attributes:
        late_s: An order that is accepted late shows at most so many seconds after its send.
    """

    lost_before: float = 0.0
    lost_after: float = 0.0
    refused: float = 0.0
    not_sent: float = 0.0
    late: float = 0.0
    late_s: float = 15.0
    book_bad: float = 0.0
    change_lost: float = 0.0
    fill: float = 0.6
    partial: float = 0.4


class Exchange:
    """Orders by tag; time and chance come from outside.

    Args:
        dice: Draws of the seed.
    """

    def __init__(self, dice: random.Random) -> None:
        self.orders: list[Resting] = []
        self._dice = dice
        self._readings: list[tuple[VenueOrder, ...]] = [()]

    def place(self, tag: str, terms: OrderTerms, now_us: int, chances: Chances) -> PlaceOutcome:
        """Take one send, or not; the answer may be lost either way."""
        dice = self._dice
        if dice.random() < chances.not_sent:
            return NotSent("no connection")
        if dice.random() < chances.lost_before:
            return Unknown("time-out")
        if dice.random() < chances.refused:
            return Rejected("RMS: margin")
        late = dice.random() < chances.late
        appears_us = now_us + round(dice.uniform(0.5, chances.late_s) * 1e6) if late else now_us
        made = Resting(
            tag, f"v{len(self.orders) + 1}", terms.symbol, terms.side, terms.quantity, terms.price_paise,
            terms.trigger_paise if terms.order_type is OrderType.SL_LIMIT else 0, appears_us,
        )  # fmt: skip
        self.orders.append(made)
        if late or dice.random() < chances.lost_after:
            return Unknown("reset")
        return Accepted(made.order_id)

    def by_hand(self, symbol: str, shares: int, now_us: int, price: int) -> None:
        """Let the owner buy *shares* by hand; nothing where 0."""
        if shares:
            order_id = f"h{len(self.orders) + 1}"
            made = Resting("", order_id, symbol, Side.BUY, shares, price, 0, now_us, VenueState.COMPLETE)
            made.trades.append(VenueTrade(f"{order_id}-1", shares, price, now_us))
            self.orders.append(made)

    def modify(self, order_id: str, terms: OrderTerms, chances: Chances) -> PlaceOutcome:
        """Change price and quantity of what still works."""
        order = self._find(order_id)
        if self._dice.random() < chances.change_lost / 2:
            return Unknown("time-out")
        if order is None or order.state is not VenueState.WORKING:
            return Rejected("order is not open")
        order.limit = terms.price_paise
        order.quantity = max(terms.quantity, order.filled)
        order.trigger = terms.trigger_paise if terms.order_type is OrderType.SL_LIMIT else 0
        if order.filled == order.quantity:
            order.state = VenueState.COMPLETE
        return Unknown("reset") if self._dice.random() < chances.change_lost else Accepted(order_id)

    def cancel(self, order_id: str, chances: Chances) -> PlaceOutcome:
        """Cancel what still works."""
        order = self._find(order_id)
        if self._dice.random() < chances.change_lost / 2:
            return Unknown("time-out")
        if order is None or order.state is not VenueState.WORKING:
            return Rejected("order is not open")
        order.state = VenueState.CANCELLED
        return Unknown("reset") if self._dice.random() < chances.change_lost else Accepted(order_id)

    def trade(self, prices: dict[str, int], now_us: int, chances: Chances) -> None:
        """Fill what is marketable, some of it, some of the time."""
        for order in self.orders:
            if order.state is not VenueState.WORKING or now_us < order.appears_us:
                continue
            price = prices[order.symbol]
            buys = order.side is Side.BUY
            if order.trigger:
                if (price < order.trigger) if buys else (price > order.trigger):
                    continue
                order.trigger = 0
            if (price > order.limit) if buys else (price < order.limit):
                continue
            if self._dice.random() >= chances.fill:
                continue
            left = order.quantity - order.filled
            shares = self._part(left) if self._dice.random() < chances.partial else left
            number = f"{order.order_id}-{len(order.trades) + 1}"
            order.trades.append(VenueTrade(number, shares, price, now_us))
            if order.filled == order.quantity:
                order.state = VenueState.COMPLETE

    def read(self, now_us: int, chances: Chances) -> VenueBook | None:
        """Return one reading: whole, stale, cut, empty; None where it fails."""
        whole = tuple(_row(order) for order in self.orders if order.appears_us <= now_us)
        self._readings.append(whole)
        if self._dice.random() >= chances.book_bad:
            return VenueBook(now_us, whole)
        kind = self._dice.choice(("fails", "stale", "cut", "empty", "unread"))
        if kind == "fails":
            return None
        if kind == "stale":
            return VenueBook(now_us, self._dice.choice(self._readings))
        if kind == "cut":
            return VenueBook(now_us, whole[: self._dice.randint(0, len(whole))])
        if kind == "unread":
            return VenueBook(now_us, whole[1:], ("a row of another kind",))
        return VenueBook(now_us, ())

    def net(self) -> dict[str, int]:
        """Return net shares by symbol; what is flat is left out."""
        found: dict[str, int] = {}
        for order in self.orders:
            signed = order.filled if order.side is Side.BUY else -order.filled
            found[order.symbol] = found.get(order.symbol, 0) + signed
        return {symbol: shares for symbol, shares in found.items() if shares}

    def positions(self) -> list[VenuePosition]:
        """Return the net positions."""
        return [VenuePosition(symbol, Product.INTRADAY, shares) for symbol, shares in self.net().items()]

    def _part(self, left: int) -> int:
        """Return how many of the shares that are left a partial fill takes."""
        return self._dice.randint(1, left)

    def _find(self, order_id: str) -> Resting | None:
        return next((order for order in self.orders if order.order_id == order_id), None)


def _row(order: Resting) -> VenueOrder:
    return VenueOrder(
        order.tag, order.order_id, order.symbol, order.side, Product.INTRADAY, order.state, order.quantity,
        order.filled, order.limit, order.appears_us, tuple(order.trades), order.trigger,
    )  # fmt: skip
