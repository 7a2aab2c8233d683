"""One seed, one race: target, stop, exit signal and a broker that loses, refuses and comes late.

The deciding core alone, without a store, so that thousands of seeds take a minute. Whatever happens, the
position is flat at the end, and it never was short; where the broker takes the quantity of a modify for
something else, it may be for a moment.
"""

from __future__ import annotations

import random
from decimal import Decimal
from functools import cache

import msgspec

from broker.base import OrderTerms, PlaceOutcome, Rejected, VenueState
from order.charges import Charges
from order.desk import Desk, Received
from order.guards import Guard
from order.journal import Journal
from order.orders import Order
from order.users import Limits, Sizing, SizingMethod, Terms, User
from proof.exchange_model import Chances, Exchange
from shared.calendar import Calendar
from shared.ids import signal_id
from shared.instruments import Instruments
from shared.models import OrderType, Quote, Side, Signal, SignalType, instant
from shared.quotes import QuoteBoard

RUN = "sandbox-race"
SYMBOL = "RELIANCE"
START_US = 1_719_808_200_000_000  # 2024-07-01 10:00 IST
START = 250_000
STORM, CALM = 80, 400
LARGE = Decimal(100_000_000)
LIMITS = Limits(
    capital_inr=LARGE, max_order_inr=LARGE, max_gross=Decimal(10), day_loss_percent=Decimal(100),
    strategy_loss_percent=Decimal(100), max_entries_day=1000, max_entries_symbol_day=1000,
    max_orders_second=1000, max_orders_minute=1000, max_deviation_percent=Decimal(50),
)  # fmt: skip


class Market(Exchange):
    """An exchange that may refuse to let a stop change its kind, or take a quantity for what remains.

    Attributes:
        forty: Partial fills are of 40 % of what is left, not of a random part.
        partials: Sales filled in part.
        too_late: Cancels refused because the order had been filled.
    """

    converts = True
    remaining = told = forty = False
    partials = too_late = 0

    def modify(self, order_id: str, terms: OrderTerms, chances: Chances) -> PlaceOutcome:
        """See `Exchange.modify`."""
        if not self.converts and terms.stop and terms.order_type is OrderType.LIMIT:
            return Rejected("ordertype cannot be modified")
        order = self._find(order_id)
        if self.remaining and order is not None:
            sent = terms.quantity - (terms.filled if self.told else 0)
            terms = msgspec.structs.replace(terms, quantity=sent + order.filled)
        return super().modify(order_id, terms, chances)

    def cancel(self, order_id: str, chances: Chances) -> PlaceOutcome:
        """See `Exchange.cancel`."""
        order = self._find(order_id)
        outcome = super().cancel(order_id, chances)
        filled = order is not None and order.state is VenueState.COMPLETE
        self.too_late += filled and isinstance(outcome, Rejected)
        return outcome

    def trade(self, prices: dict[str, int], now_us: int, chances: Chances) -> None:
        """See `Exchange.trade`."""
        before = {order.order_id: order.filled for order in self.orders}
        super().trade(prices, now_us, chances)
        for order in self.orders:
            more = order.filled > before[order.order_id]
            self.partials += more and order.side is Side.SELL and order.filled < order.quantity

    def _part(self, left: int) -> int:
        return max(left * 4 // 10, 1) if self.forty else super()._part(left)


class SlicedDesk(Desk):
    """A desk at which a stop is for four shares at most."""

    def _most(self, guard: Guard) -> int:
        return 4


class Race:
    """Plays one seed; `wrong` says what is not as promised."""

    def __init__(self, seed: int) -> None:
        self.dice = dice = random.Random(seed)
        self.now_us = START_US
        self.price = START
        self.board = QuoteBoard(RUN)
        self.market = Market(dice)
        self.market.converts = dice.random() < 0.7
        meaning = random.Random(f"meaning {seed}")
        self.market.forty = seed % 2 == 0
        self.market.remaining, self.market.told = meaning.random() < 0.2, meaning.random() < 0.5
        self.queue: list[Order] = []
        self.signals = 0
        self.wrong: list[str] = []
        self.chances = Chances(
            lost_before=dice.uniform(0, 0.2),
            lost_after=dice.uniform(0, 0.3),
            refused=dice.uniform(0, 0.1),
            not_sent=dice.uniform(0, 0.1),
            late=dice.uniform(0, 0.1),
            book_bad=dice.uniform(0, 0.3),
            change_lost=dice.uniform(0, 0.4),
            fill=dice.uniform(0.2, 0.9),
            partial=dice.uniform(0, 0.8),
        )
        instruments, calendar = _tables()
        self.desk = (SlicedDesk if random.Random(f"slices {seed}").random() < 0.3 else Desk)(
            instruments=instruments,
            calendar=calendar,
            charges=Charges(),
            venues={},
            journal=Journal("order"),
            port=self.board,
            armed={1: True},
        )
        self.desk.modify_is_total = not (self.market.remaining and self.market.told)
        self.desk.stop_becomes_exit = dice.random() < 0.8
        trail = Decimal(dice.choice((0, 0, 1))) / 2
        terms = Terms(sizing=Sizing(SizingMethod.FIXED_QUANTITY, Decimal(10)), trail_percent=trail)
        self.user = User(user_no=1, user_id="u1", broker="wire", limits=LIMITS, subscriptions={"s": terms})
        self.desk.know_user(self.user)

    def run(self) -> list[str]:
        """Play the storm, then the calm; return what is wrong at its end."""
        self._quote()
        self._signal(SignalType.ENTER_LONG)
        for _ in range(STORM):
            self.now_us += self.dice.choice((50_000, 300_000, 1_000_000))
            self._quote()
            self.dice.choice((self._send, self._send, self._read, self._read, self._follow, self._follow))()
            if self.dice.random() < 0.02:
                self._signal(self.dice.choice((SignalType.EXIT_LONG, SignalType.ENTER_LONG)))
            self._look()
        self.chances = Chances(fill=1.0)
        for step in range(CALM):
            if step % 30 == 0:
                self._signal(SignalType.EXIT_LONG)
            self.now_us += 1_000_000
            self._quote()
            for _ in range(len(self.queue)):
                self._send()
            self._read()
            self._follow()
            self._look()
            if not self.queue and not self.desk.at_work:
                break
        self._judge()
        return self.wrong

    # -- inside ----------------------------------------------------------------------------------

    def _signal(self, kind: SignalType) -> None:
        self.signals += 1
        signal = Signal(
            signal_id=signal_id(RUN, "s", SYMBOL, "1s", self.now_us, self.signals),
            run=RUN,
            strategy_id="s",
            symbol=SYMBOL,
            timeframe="1s",
            signal_type=kind,
            price=Decimal(self.price) / 100,
            bar_close=instant(self.now_us),
            accepted_at=instant(self.now_us),
            valid_until=instant(self.now_us + 60_000_000),
            stop=Decimal((self.price - self.dice.choice((300, 900))) // 5 * 5) / 100,
            target=Decimal((self.price + self.dice.choice((300, 900))) // 5 * 5) / 100,
        )
        self.desk.take("default", Received("main", "e", self.signals, signal, b""), [self.user], self.now_us)
        self._drain()

    def _quote(self) -> None:
        self.price = max(self.price + round(self.dice.gauss(0, 200)) // 5 * 5, START // 2)
        quote = Quote(SYMBOL, self.price, self.now_us, 10**6, self.now_us, self.price - 5, self.price + 5)
        self.board.update([quote])
        self.desk.quotes(RUN, [quote], self.now_us)
        self._drain()
        self.market.trade({SYMBOL: self.price}, self.now_us, self.chances)

    def _send(self) -> None:
        if not self.queue:
            return
        order = self.queue.pop(0)
        if self.desk.claim(order, self.now_us):
            outcome = self.market.place(order.tag, order.limit_terms(), self.now_us, self.chances)
            self.market.trade({SYMBOL: self.price}, self.now_us, self.chances)
            self.desk.answer(order, outcome, self.now_us)
        self._drain()

    def _read(self) -> None:
        reading = self.market.read(self.now_us, self.chances)
        if reading is not None:
            nets = {(SYMBOL, "INTRADAY"): self.market.net().get(SYMBOL, 0)}
            self.desk.report(1, reading, self.now_us, nets)
        self._drain()

    def _follow(self) -> None:
        self.desk.retry_exits(1, self.now_us)
        wanted, _ = self.desk.steps(1, self.now_us)
        self._drain()
        for each in wanted:
            self.market.trade({SYMBOL: self.price}, self.now_us, self.chances)
            claimed = self.desk.claim_amendment(1, each.tag, each.number, self.now_us)
            if claimed is None:
                continue
            if claimed.cancel:
                outcome = self.market.cancel(claimed.venue_order_id, self.chances)
            else:
                outcome = self.market.modify(claimed.venue_order_id, claimed.terms, self.chances)
            self.desk.answer_amendment(1, each.tag, each.number, outcome, self.now_us)
            self._drain()

    def _drain(self) -> None:
        self.queue += self.desk.drain().sends

    def _look(self) -> None:
        short = self.market.net().get(SYMBOL, 0)
        if short < 0 and not self.wrong and not self.market.remaining:
            self.wrong.append(f"short by {-short} at the exchange after {self.now_us - START_US} µs")

    def _judge(self) -> None:
        if self.market.net():
            self.wrong.append(f"the exchange has {self.market.net()}")
        ours = self.desk.positions(1, RUN)
        if ours:
            self.wrong.append(f"we have {ours}")
        resting = [order.tag for order in self.market.orders if order.state is VenueState.WORKING]
        if resting:
            self.wrong.append(f"left at the exchange: {resting}")
        for orders in self.desk.at_work.values():
            self.wrong += [f"{o.purpose} {o.tag} is {o.state}: {o.rule}" for o in orders.values()]
        tags = [order.tag for order in self.market.orders]
        if len(tags) != len(set(tags)):
            self.wrong.append("a tag twice")


@cache
def _tables() -> tuple[Instruments, Calendar]:
    return Instruments.load(), Calendar.load()


def race(seed: int) -> list[str]:
    """Play one seed; return what is wrong at its end."""
    return Race(seed).run()
