"""The exchange behind the server: takes orders, matches them by price and time, keeps accounts.

No I/O and no clock: two times come in as arguments, the market's (prices, time stamps) and the wall's
(how long acceptance takes). Everything random is seeded.
"""

from __future__ import annotations

import heapq
import random
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from sandbox.accounts import Account, Moved
from sandbox.days import Days
from sandbox.intake import ORDER_TYPES, Intake, Refusal, Wanted, check_terms, rupees, whole
from sandbox.market_clock import OPEN_S, Instant, open_us
from sandbox.matching import Matching
from sandbox.orders import WAITING, Amendment, Order, yymmdd
from sandbox.prices import Prices
from sandbox.risk import Risk
from sandbox.switches import Switches
from shared.instruments import Instruments

CLOSED = "Adapter is Logged Off"
DAY_IS_OVER = "Order cancelled by the exchange at the end of the day"
AFTER_SQUARE_OFF = "RMS:Rule: Intraday orders are blocked after the auto square off"


@dataclass(frozen=True, slots=True)
class Placed:
    """The front end took the request; what the exchange says comes later."""

    script: str
    orderid: str
    uniqueid: str


class Exchange:
    """All orders of all clients.

    Args:
        prices: The market.
        instruments: What is listed.
        accounts: Who may trade.
        switches: Looked at with each step.
        seed: Of latencies, queues and ids.
        days: Whether each market day has books of its own.
        on_update: Called with each order that changed, in order.
        on_pending: Called with each order whose amendments changed, of which nobody is told.
    """

    def __init__(
        self,
        prices: Prices,
        instruments: Instruments,
        accounts: Iterable[Account],
        switches: Switches,
        *,
        seed: int = 7,
        days: bool = True,
        on_update: Callable[[Order], None] = lambda order: None,
        on_pending: Callable[[Order], None] = lambda order: None,
    ) -> None:
        self.prices = prices
        self.instruments = instruments
        self.accounts = {account.client: account for account in accounts}
        self.orders: dict[str, dict[str, Order]] = {client: {} for client in self.accounts}
        self.days = Days(self.accounts, apart=days)
        self.intake = Intake(instruments, switches)
        self.switches = switches
        self.on_update, self.on_pending = on_update, on_pending
        self.order_no = 0
        self._random = random.Random(f"exchange/{seed}")
        self._due: list[tuple[int, int, Callable[[Instant], None]]] = []
        self._due_no = 0
        self._seed = seed
        self._matching = Matching(prices, self._filled, self._woken)
        self._risk = Risk(prices, switches)
        self._squared_day = 0
        self._session: int | None = None

    # -- requests --------------------------------------------------------------------------------

    def place(self, client: str, body: Mapping[str, object], now: Instant, wall_us: int) -> Placed | Refusal:
        """Take an order from the front end's point of view."""
        wanted = self.intake.read(body)
        if isinstance(wanted, Refusal):
            return wanted
        allowed = self._risk.allowed(wanted, now)
        if isinstance(allowed, Refusal):
            return allowed
        order = self._new(client, allowed, now)
        if order.variety == "AMO":
            order.move("after market order req received", now.us)
            self.on_update(order)
        else:
            self._tell(order, "validation pending", now)
            self._later(wall_us, partial(self._arrive, order))
        return _placed(order)

    def trigger(self, client: str, wanted: Wanted, now: Instant, wall_us: int) -> None:
        """Take the order of a rule in an open market; what the front end refuses shows as rejected."""
        allowed = check_terms(wanted) or self._risk.allowed(wanted, now)
        order = self._new(client, wanted, now)
        if isinstance(allowed, Refusal):
            self._tell(order, "rejected", now, allowed.message)
            return
        self._tell(order, "validation pending", now)
        self._later(wall_us, partial(self._arrive, order))

    def modify(self, client: str, body: Mapping[str, object], now: Instant, wall_us: int) -> Placed | Refusal:
        """Take a change of price, trigger, quantity or type."""
        order = self.orders[client].get(str(body.get("orderid") or ""))
        if order is None or order.done:
            return Refusal("AB1013", "Order not found")
        quantity = whole(body.get("quantity") or order.quantity)
        price = rupees(body.get("price") or order.price / 100)
        trigger = rupees(body.get("triggerprice") or order.trigger / 100)
        kind = str(body.get("ordertype") or order.order_type)
        if quantity is None or price is None or trigger is None or not quantity or kind not in ORDER_TYPES:
            return Refusal("AB1007", "Invalid parameters passed")
        if str(body.get("variety") or "") != order.variety:
            return Refusal("AB1008", "Invalid Order Variety")
        if self.switches.modify_quantity == "remaining":
            quantity += order.filled
        becomes_limit = order.variety == "STOPLOSS" and kind == "LIMIT"
        if becomes_limit and self.switches.stop_to_limit == "refuse":
            return Refusal("AB1008", "Invalid Order Variety")
        variety = "NORMAL" if becomes_limit else order.variety
        wanted = Wanted(
            order.instrument, variety, order.side, kind, order.product, order.duration, price,
            trigger, quantity, order.disclosed, order.tag,
        )  # fmt: skip
        allowed = check_terms(wanted) or self._risk.allowed(wanted, now)
        if isinstance(allowed, Refusal):
            return allowed
        if allowed.quantity <= order.filled:
            return Refusal("AB1007", f"Quantity must be above the {order.filled} that have been filled")
        change = Amendment(allowed.order_type, allowed.price, allowed.trigger, allowed.quantity)
        return self._take_amendment(order, change, wall_us)

    def cancel(self, client: str, body: Mapping[str, object], wall_us: int) -> Placed | Refusal:
        """Take a cancellation; a fill may overtake it."""
        order = self.orders[client].get(str(body.get("orderid") or ""))
        if order is None or order.done:
            return Refusal("AB1013", "Order not found")
        if str(body.get("variety") or "") != order.variety:
            return Refusal("AB1008", "Invalid Order Variety")
        return self._take_amendment(order, Amendment(), wall_us)

    # -- time ------------------------------------------------------------------------------------

    def advance(self, now: Instant, wall_us: int) -> None:
        """Do what is due: sessions, fills of what rests, arrivals and changes, the square-off."""
        self.reach(now, wall_us)
        # Who rested at the new price comes before who arrives at it.
        self._matching.step(now)
        while self._due and self._due[0][0] <= wall_us:
            heapq.heappop(self._due)[2](now)
        self._square_off(now)

    def reach(self, now: Instant, wall_us: int) -> None:
        """Begin the day and the session of *now*: end what was good for those before, send on what waited."""
        self.days.reach(now.day)
        session = now.day if now.open else None
        if session == self._session:
            return
        self._session = session
        begin_us = open_us(now.day) if now.open else now.us
        for orders in self.orders.values():
            for order in [each for each in orders.values() if not each.done]:
                if order.exchange_id and order.exchange_us < begin_us:
                    self._end(order, "cancelled", now, DAY_IS_OVER)
                elif now.open and order.status in WAITING and order.at_us < begin_us:
                    self._later(wall_us, partial(self._arrive, order))

    @property
    def next_due_us(self) -> int | None:
        """Wall time of the next arrival, or None."""
        return self._due[0][0] if self._due else None

    @property
    def idle(self) -> bool:
        """Whether no order waits for a price or for its arrival."""
        return not self._due and self._matching.empty

    # -- books -----------------------------------------------------------------------------------

    def order_book(self, client: str) -> list[dict[str, Any]]:
        """Return the client's order objects of the day, oldest first."""
        return [order.row() for order in self.days.shown(self.orders[client].values())]

    def trade_book(self, client: str) -> list[dict[str, Any]]:
        """Return the client's trade objects of the day."""
        orders, since_us = self.days.shown(self.orders[client].values()), self.days.begin_us
        return [row for order in orders for row in order.trade_rows(since_us)]

    def details(self, client: str, uniqueid: str) -> dict[str, Any] | None:
        """Return one order object of the day by its unique id."""
        for order in self.days.shown(self.orders[client].values()):
            if order.uniqueid == uniqueid:
                return order.row()
        return None

    def positions(self, client: str, now: Instant) -> list[dict[str, Any]]:
        """Return the client's position objects."""
        return self.accounts[client].position_rows(*self._marks(client, now))

    def holdings(self, client: str, now: Instant) -> list[dict[str, Any]]:
        """Return the client's holding objects."""
        total = self.switches.holding_quantity == "total"
        return self.accounts[client].holding_rows(*self._marks(client, now), total=total)

    def rms(self, client: str, now: Instant) -> dict[str, Any]:
        """Return the client's funds."""
        account = self.accounts[client]
        prices = self._marks(client, now)[0]
        open_profit = 0
        for each in account.positions.values():
            sign = 1 if each.net > 0 else -1
            open_profit += each.net * prices[each.instrument.symbol] - sign * each.cost()
        return account.rms(open_profit)

    def ledger(self) -> list[dict[str, Any]]:
        """Return everything that was ever accepted, whatever became of the reply."""
        return [
            {"client_code": client, **order.row()}
            for client, orders in self.orders.items()
            for order in orders.values()
        ]

    # -- inside ----------------------------------------------------------------------------------

    def restore(self, orders: Iterable[Order], moves: Iterable[Moved], order_no: int) -> None:
        """Take orders and conversions of earlier lives; all goes on where it was.

        Args:
            orders: Oldest first.
            moves: Conversions of positions.
            order_no: How many there ever were, others' and unlisted ones, too: no id comes twice.
        """
        self.order_no = order_no
        self._random.seed(f"exchange/{self._seed}/{order_no}")
        known = [order for order in orders if order.client in self.accounts]
        for order in known:
            self.orders[order.client][order.orderid] = order
            self._matching.know(order)
        self.days.replay(known, moves, self.instruments)
        for order in known:
            if order.status in ("open", "trigger pending", "modified"):
                self._reserve(order)
                self._matching.add(order)
            elif not order.done and order.status not in WAITING:
                self._later(0, partial(self._arrive, order))
            for change in order.pending:
                self._later(0, partial(self._amended, order, change))

    def _new(self, client: str, wanted: Wanted, now: Instant) -> Order:
        self.order_no += 1
        when = now.us
        after_hours = not now.open
        orderid = f"{yymmdd(when)}{self.order_no:09d}"
        if after_hours or wanted.variety == "AMO":
            orderid = f"{self._random.getrandbits(48):012x}AO"
        order = self.orders[client][orderid] = Order(
            client,
            wanted.instrument,
            orderid,
            str(uuid.UUID(int=self._random.getrandbits(128), version=4)),
            "AMO" if after_hours else wanted.variety,
            wanted.side,
            wanted.order_type,
            wanted.product,
            wanted.duration,
            wanted.price,
            wanted.trigger,
            wanted.quantity,
            wanted.disclosed,
            wanted.tag,
            when,
            updated_us=when,
            active=not wanted.order_type.startswith("STOPLOSS"),
        )
        return order

    def _arrive(self, order: Order, now: Instant) -> None:
        """The exchange's word on a new order."""
        if order.done:
            return
        if not now.open:
            self._tell(order, "rejected", now, CLOSED)
            return
        why = self._no(order, now)
        if why:
            self._tell(order, "rejected", now, why)
            return
        order.exchange_id = f"11{self._random.getrandbits(44):014d}"
        order.exchange_us = now.us
        self._reserve(order)
        self._tell(order, "open" if order.active else "trigger pending", now)
        self._matching.add(order)
        self._matching.take(order, now)
        if order.duration == "IOC" and not order.done:
            self._end(order, "cancelled", now)

    def _no(self, order: Order, now: Instant) -> str:
        """Return why the exchange or the risk system rejects *order*, or nothing."""
        if order.product == "INTRADAY" and self._squared_day == now.day:
            return AFTER_SQUARE_OFF
        resting = self._matching.working(order.instrument.symbol)
        return self._risk.rejection(order, self.accounts[order.client], resting, now)

    def _take_amendment(self, order: Order, change: Amendment, wall_us: int) -> Placed:
        order.pending.append(change)
        self.on_pending(order)
        self._later(wall_us, partial(self._amended, order, change))
        return _placed(order)

    def _amended(self, order: Order, change: Amendment, now: Instant) -> None:
        """The exchange's word on a modify or a cancel."""
        order.pending.remove(change)
        if order.done:
            return
        if change.order_type:
            self._modified(order, change, now)
            self.on_pending(order)
        else:
            self._end(order, "cancelled after market order" if order.status in WAITING else "cancelled", now)

    def _modified(self, order: Order, wanted: Amendment, now: Instant) -> None:
        if wanted.quantity <= order.filled:
            return  # overtaken by a fill
        before = order.price, order.quantity, order.trigger, order.order_type, order.active
        behind = wanted.price != order.price or wanted.quantity > order.quantity
        order.price, order.quantity, order.trigger = wanted.price, wanted.quantity, wanted.trigger
        if order.order_type != wanted.order_type and not wanted.order_type.startswith("STOPLOSS"):
            order.active = True
        order.order_type = wanted.order_type
        order.touch()
        if order.status in WAITING:
            self._tell(order, "modify after market order req received", now)
        if order.status not in ("open", "trigger pending"):
            return  # not at the exchange yet: it arrives with its new terms
        self.accounts[order.client].reserved.pop(order.orderid, None)
        why = self._no(order, now)
        if why:
            order.price, order.quantity, order.trigger, order.order_type, order.active = before
        self._reserve(order)
        if why:
            self._tell(order, order.status, now, f"Not modified: {why}")
            return
        if behind:
            self._matching.lose_priority(order)
        self._tell(order, "modified", now)
        self._tell(order, "open" if order.active else "trigger pending", now)
        self._matching.take(order, now, fresh=behind)

    def _end(self, order: Order, status: str, now: Instant, text: str = "") -> None:
        order.cancelled = order.remaining
        self.accounts[order.client].reserved.pop(order.orderid, None)
        self._matching.remove(order)
        self._tell(order, status, now, text)

    def _filled(self, order: Order, now: Instant) -> None:
        """Called by the matching after each execution."""
        account = self.accounts[order.client]
        account.book(order, order.trades[-1])
        if order.remaining:
            self._reserve(order)
            self.on_update(order)
        else:
            account.reserved.pop(order.orderid, None)
            self._tell(order, "complete", now)

    def _woken(self, order: Order, now: Instant) -> None:
        """Called by the matching when a trigger was reached."""
        if order.order_type == "STOPLOSS_MARKET":
            convert = self.switches.market_policy == "convert"
            order.price = self._risk.protected(order.instrument, order.side, now) if convert else 0
        self._tell(order, "open", now)

    def _reserve(self, order: Order) -> None:
        account = self.accounts[order.client]
        account.reserved.pop(order.orderid, None)
        account.reserved[order.orderid] = account.needed(order, order.price or order.trigger)

    def _tell(self, order: Order, status: str, now: Instant, text: str = "") -> None:
        order.blank = status == "rejected" and self.switches.rejected_orderstatus == "empty"
        order.move(status, now.us, text)
        self.on_update(order)

    def _later(self, wall_us: int, action: Callable[[Instant], None]) -> None:
        low, high = self.switches.latency_low_ms, self.switches.latency_high_ms
        due = wall_us + round(self._random.uniform(low, max(low, high)) * 1000)
        self._due_no += 1
        heapq.heappush(self._due, (due, self._due_no, action))

    def _marks(self, client: str, now: Instant) -> tuple[dict[str, int], dict[str, int]]:
        account = self.accounts[client]
        named = {each.instrument.symbol: each.instrument for each in account.positions.values()}
        named |= {symbol: held.instrument for symbol, held in account.holdings.items()}
        prices = {symbol: self.prices.last(each, now) for symbol, each in named.items()}
        return prices, {symbol: self.prices.previous_close(each, now) for symbol, each in named.items()}

    def _square_off(self, now: Instant) -> None:
        """Close INTRADAY positions at the set time, as the broker does, once a day."""
        at = self.switches.square_off
        if not at or self._squared_day == now.day or not now.open:
            return
        hours, _, minutes = at.partition(":")
        if now.second < int(hours) * 3600 + int(minutes) * 60 - OPEN_S:
            return
        self._squared_day = now.day
        for client, account in self.accounts.items():
            for order in self.orders[client].values():
                if order.product == "INTRADAY" and not order.done:
                    self._end(order, "cancelled", now, "Square off")
            for position in list(account.positions.values()):
                if position.product == "INTRADAY" and position.net:
                    self._close(client, position.instrument.token, position.net, now)

    def _close(self, client: str, token: str, net: int, now: Instant) -> None:
        instrument = self.intake.by_token[token]
        order = self._new(
            client,
            Wanted(
                instrument, "NORMAL", "SELL" if net > 0 else "BUY", "MARKET", "INTRADAY", "DAY", 0, 0,
                abs(net), 0, "",
            ),
            now,
        )  # fmt: skip
        order.text = "auto square off"
        self._matching.fill_now(order, self.prices.last(instrument, now), now)
        order.move("complete", now.us, "auto square off")
        self.on_update(order)


def _placed(order: Order) -> Placed:
    return Placed(order.instrument.trading_symbol, order.orderid, order.uniqueid)
