"""Price-time matching of clients' orders with the synthetic book and with each other.

What the market offers is finite: within one step of the market each level of the book and each traded
share is given away once, however many orders want it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from sandbox.book import Level
from sandbox.market_clock import Instant
from sandbox.orders import Order, Trade
from sandbox.prices import Prices
from sandbox.tape import STEP_S

QUEUE_SHARE = 2
"""A resting order stands behind one part in … of what is shown at its price."""


class Matching:
    """Holds the working orders of one exchange.

    Args:
        prices: The market.
        filled: Called after each execution.
        woken: Called after the trigger of a stop was reached, before it takes anything.
    """

    def __init__(
        self,
        prices: Prices,
        filled: Callable[[Order, Instant], None],
        woken: Callable[[Order, Instant], None] = lambda order, now: None,
    ) -> None:
        self._prices = prices
        self._filled = filled
        self._woken = woken
        self._working: dict[str, dict[str, Order]] = {}
        self._taken: dict[tuple[str, str, int], int] = {}
        self._flow: dict[tuple[str, str], int] = {}
        self._moment = (0, 0)
        self._fill_no = 0

    @property
    def empty(self) -> bool:
        """Whether nothing rests."""
        return not any(self._working.values())

    def working(self, symbol: str) -> Iterator[Order]:
        """Yield the working orders of *symbol*, oldest first."""
        yield from self._working.get(symbol, {}).values()

    def add(self, order: Order) -> None:
        """Put *order* behind all others at its price."""
        self._working.setdefault(order.instrument.symbol, {})[order.orderid] = order

    def know(self, order: Order) -> None:
        """Go on with the numbers of an earlier life's executions."""
        self._fill_no = max(self._fill_no, *(int(trade.fill_id) for trade in order.trades), 0)

    def remove(self, order: Order) -> None:
        """Take *order* out."""
        self._working.get(order.instrument.symbol, {}).pop(order.orderid, None)

    def lose_priority(self, order: Order) -> None:
        """Move *order* behind the others: its price changed, or its quantity grew."""
        orders = self._working.get(order.instrument.symbol, {})
        if orders.pop(order.orderid, None) is not None:
            orders[order.orderid] = order

    def step(self, now: Instant) -> None:
        """Hold every working order against the present price, best and oldest first; once a market step."""
        moment = (now.day, now.second // STEP_S)
        if moment == self._moment or not now.open:
            return
        self._moment = moment
        self._taken.clear()
        self._flow.clear()
        for orders in list(self._working.values()):
            for order in [each for each in orders.values() if not each.active]:
                self._wake(order, now)
            for order in sorted((each for each in orders.values() if each.active), key=_priority):
                if order.orderid in orders:
                    self._hold(order, now)

    def take(self, order: Order, now: Instant, *, fresh: bool = True) -> None:
        """Let a new or changed order take what it can at once; what rests gets its place in the queue.

        Args:
            order: Has been added before.
            now: The market's time.
            fresh: It stands behind what is shown at its price; else it keeps its place.
        """
        if not order.active:
            self._wake(order, now)
            return
        if not now.open:
            return
        self._aggress(order, now)
        if fresh and order.remaining and not order.done:
            depth = self._prices.depth(order.instrument, now)
            same = depth.bids if order.side == "BUY" else depth.asks
            order.queue = sum(each.quantity for each in same if each.price == order.price) // QUEUE_SHARE

    def fill_now(self, order: Order, price: int, now: Instant) -> None:
        """Fill all of *order* at *price*, whatever the book says."""
        self._fill(order, order.remaining, price, now)

    # -- inside ----------------------------------------------------------------------------------

    def _hold(self, order: Order, now: Instant) -> None:
        for level in self._levels(order, now):
            if not order.remaining or not _within(order, level.price):
                break
            # The market came through its price: it was there first, so it fills at its own.
            self._take_level(order, level, order.price or level.price, now)
        last, traded = self._prices.last(order.instrument, now), self._prices.traded(order.instrument, now)
        if order.remaining and traded and last == order.price:
            key = (order.instrument.symbol, order.side)
            used = self._flow.get(key, 0)
            quantity = min(order.remaining, traded - used - order.queue)
            order.queue = max(order.queue - traded, 0)
            if quantity > 0:
                self._flow[key] = used + quantity
                self._fill(order, quantity, order.price, now)

    def _wake(self, order: Order, now: Instant) -> None:
        """Activate a stop whose trigger has been traded."""
        if order.active or order.done or not now.open:
            return
        last = self._prices.last(order.instrument, now)
        if last >= order.trigger if order.side == "BUY" else last <= order.trigger:
            order.active = True
            self._woken(order, now)
            self.take(order, now)

    def _aggress(self, order: Order, now: Instant) -> None:
        """Take the best price first, wherever it stands; clients before the made-up book at one price."""
        sign = 1 if order.side == "BUY" else -1
        offers: list[tuple[int, int, Order | Level]] = [
            (sign * other.price, 0, other)
            for other in self.working(order.instrument.symbol)
            if other.side != order.side and other.client != order.client and other.active and other.price
        ]
        offers += [(sign * level.price, 1, level) for level in self._levels(order, now)]
        offers.sort(key=lambda offer: offer[:2])  # stable: the oldest of one price stays first
        for _, _, offer in offers:
            if not order.remaining or not _within(order, offer.price):
                return
            if isinstance(offer, Level):
                self._take_level(order, offer, offer.price, now)
            elif offer.remaining and not offer.done:
                quantity = min(order.remaining, offer.remaining)
                self._fill(offer, quantity, offer.price, now)
                self._fill(order, quantity, offer.price, now)

    def _levels(self, order: Order, now: Instant) -> tuple[Level, ...]:
        """Return the synthetic side that *order* can meet, best first."""
        depth = self._prices.depth(order.instrument, now)
        return depth.asks if order.side == "BUY" else depth.bids

    def _take_level(self, order: Order, level: Level, price: int, now: Instant) -> None:
        """Take what is left at *level*; what is taken is gone until the next step."""
        key = (order.instrument.symbol, order.side, level.price)
        taken = self._taken.get(key, 0)
        quantity = min(order.remaining, level.quantity - taken)
        if quantity > 0:
            self._taken[key] = taken + quantity
            self._fill(order, quantity, price, now)

    def _fill(self, order: Order, quantity: int, price: int, now: Instant) -> None:
        self._fill_no += 1
        order.fill(Trade(f"{self._fill_no}", quantity, price, now.us))
        if not order.remaining:
            self.remove(order)
        self._filled(order, now)


def _within(order: Order, price: int) -> bool:
    """Return whether *order* may trade at *price*; without a limit it may at any."""
    return not order.price or (price <= order.price if order.side == "BUY" else price >= order.price)


def _priority(order: Order) -> tuple[bool, int]:
    """Sort orders without a limit first, then the best price; sorting keeps the oldest of one price first."""
    return bool(order.price), -order.price if order.side == "BUY" else order.price
