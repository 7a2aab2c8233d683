"""One seed, one story: the deciding core against a broker that lies, drops and comes late; virtual time.

Single-threaded: engine, bus, store, lane and broker are played by one loop that draws every mishap from the
seed, crashes between any two steps included. A seed that fails can be run again.
"""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache

import apsw
import structlog

from broker.base import VenueState
from order.amend import Amendment
from order.audit import OutboxRow, audit
from order.bookkeeper import Bookkeeper
from order.desk import Received
from order.orders import OWN_ENGINE, Order, Purpose
from order.users import Sizing, SizingMethod, Terms, User
from proof.cast import LIMITS, STRATEGY
from proof.exchange_model import Chances, Exchange
from proof.mortal_store import Died, MortalStore, mortal_store
from shared.bus.codec import encode
from shared.calendar import Calendar
from shared.clock import ManualClock
from shared.errors import StoreError, TradingError
from shared.ids import signal_id
from shared.instruments import Instruments
from shared.models import AT_VENUE_STATES, DONE_STATES, OrderState, Quote, Side, Signal, SignalType, instant
from shared.quotes import QuoteBoard

RUN = "sandbox-simulation"
START_US = 1_719_808_200_000_000
"""2024-07-01 10:00 IST."""

SYMBOLS = {"RELIANCE": 250_000, "SBIN": 54_000}
CALM_S = 600
STEPS = 240
SOON_S, VERY_LATE_S = 15.0, 100.0
"""An order may show so long after its send: before an exit without an answer is tried anew, or long after."""

FRESH = 0.8
"""Share of the steps before which prices come: they are stale after three seconds."""

OWN_SHARES = 500
"""The owner holds so many in some symbols, bought by hand; nobody here may touch them."""

COMPARED = 0.2
"""Share of the readings after which the account is compared."""

KINDS = (SignalType.BUY, SignalType.BUY, SignalType.SELL, SignalType.EXIT_LONG)
USER = "u1"


FAULTS = (
    apsw.Error, TradingError, ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError,
    TypeError, ValueError,
)  # fmt: skip
"""What a defect of the core may raise: a finding of its seed."""


@dataclass
class Outcome:
    """What a seed came to; *wrong* is empty where all is as promised."""

    seed: int
    wrong: list[str] = field(default_factory=list)
    crashes: int = 0
    orders: int = 0
    reviews: int = 0


class Simulation:
    """Plays one seed."""

    def __init__(self, seed: int, store: MortalStore) -> None:
        self.dice = random.Random(seed)
        self.levels = random.Random(f"levels {seed}")
        self.eyes = random.Random(f"eyes {seed}")
        self.clock = ManualClock(START_US)
        self.board = QuoteBoard(RUN)
        self.store = store
        self.exchange = Exchange(self.dice)
        self.prices = dict(SYMBOLS)
        self.outcome = Outcome(seed)
        self.queue: list[Order] = []
        self.signals = 0
        self.taken = 0
        self.pending: list[Received] = []
        self.outbox: list[OutboxRow] = []
        dice = self.dice
        self.chances = Chances(
            lost_before=dice.uniform(0, 0.2),
            lost_after=dice.uniform(0, 0.3),
            refused=dice.uniform(0, 0.15),
            not_sent=dice.uniform(0, 0.15),
            late=dice.uniform(0, 0.2),
            late_s=dice.choice((SOON_S, SOON_S, VERY_LATE_S)),
            book_bad=dice.uniform(0, 0.4),
            change_lost=dice.uniform(0, 0.4),
            fill=dice.uniform(0.2, 0.9),
            partial=dice.uniform(0, 0.8),
        )
        self.late_s = self.chances.late_s
        self.owners = {symbol: self.eyes.choice((0, OWN_SHARES)) for symbol in SYMBOLS}
        for symbol, shares in self.owners.items():
            self.exchange.by_hand(symbol, shares, START_US, self.prices[symbol])
        self.crash_chance = dice.choice((0.0, 0.02, 0.06))
        self.books = self._open()
        self.books.save_user(
            User(user_no=0, user_id=USER, broker="wire", limits=LIMITS, subscriptions={STRATEGY: _terms()})
        )
        self._price()
        self.store.dies = self._dies

    def run(self) -> Outcome:
        """Play the storm, then the calm, and return what is wrong at its end."""
        for _ in range(STEPS):
            self.clock.advance(self.dice.choice((0.05, 0.3, 1.0, 1.0, 3.0)))
            if self.dice.random() < self.crash_chance:
                self._crash()
            if self.dice.random() < 0.01:
                self.store.fails = self.dice.randint(1, 2)
            try:
                if self.dice.random() < FRESH:
                    self._price()
                deed = (self._signal, self._send, self._send, self._read, self._read, self._follow)
                self.dice.choice(deed)()
            except StoreError:
                self.queue.clear()  # what waits is queued anew from the store
                self._requeue()
            except Died:
                self._crash()
        self._calm()
        self._judge()
        return self.outcome

    # -- what happens ----------------------------------------------------------------------------

    def _signal(self) -> None:
        symbol = self.dice.choice(sorted(SYMBOLS))
        self.signals += 1
        now_us = self.clock.now_us()
        stop, target = self._levels(self.prices[symbol])
        signal = Signal(
            signal_id=signal_id(RUN, STRATEGY, symbol, "1m", now_us, self.signals),
            run=RUN,
            strategy_id=STRATEGY,
            symbol=symbol,
            timeframe="1m",
            signal_type=self.dice.choice(KINDS),
            stop=stop,
            target=target,
            price=Decimal(self.prices[symbol]) / 100,
            bar_close=instant(now_us),
            accepted_at=instant(now_us),
            valid_until=instant(now_us + 60_000_000),
        )
        self.outbox.append(OutboxRow(self.signals, signal.signal_id))
        self.pending.append(Received("main", "epoch", self.signals, signal, encode(signal)))
        self._take()

    def _levels(self, price: int) -> tuple[Decimal | None, Decimal | None]:
        """Return a stop and a target near *price* for some signals; both may be hit within seconds."""
        if self.levels.random() < 0.5:
            return None, None
        away = round(price * self.levels.uniform(0.001, 0.006)) // 5 * 5
        return Decimal(price - away) / 100, Decimal(price + away) / 100

    def _take(self) -> None:
        """Hand over what the bus holds, from the cursor on; a crash may come before or after the commit."""
        done = self.books.cursor("default", "main")[1]
        self.pending = [item for item in self.pending if item.seq > done]
        if self.pending:
            self.queue += self.books.take("default", self.pending)

    def _price(self) -> None:
        now_us = self.clock.now_us()
        quotes = []
        for symbol, start in SYMBOLS.items():
            move = round(self.dice.gauss(0, 0.0008) * start / 5) * 5
            self.prices[symbol] = max(self.prices[symbol] + move, start // 2 // 5 * 5)
            price = self.prices[symbol]
            quotes.append(Quote(symbol, price, now_us, 1_000_000, now_us, price - 5, price + 5))
        self.board.update(quotes)
        self.queue += self.books.quotes(RUN, quotes)
        self.exchange.trade(self.prices, now_us, self.chances)

    def _send(self) -> None:
        if not self.queue:
            return
        order = self.queue.pop(0)
        if not self.books.claim(order):
            return
        if self.dice.random() < self.crash_chance:
            self._crash()
            return
        outcome = self.exchange.place(order.tag, order.limit_terms(), self.clock.now_us(), self.chances)
        if self.dice.random() < self.crash_chance * 2:
            self._crash()
            return
        self.clock.advance(self.dice.uniform(0.01, 0.5))
        self.queue += self._booked(order, outcome)

    def _booked(self, order: Order, outcome: object) -> list[Order]:
        while True:
            try:
                return self.books.answer(order, outcome)  # type: ignore[arg-type]  # an outcome of the model
            except StoreError:
                self.clock.advance(1.0)  # as the lane does: an answer is worth keeping

    def _read(self) -> None:
        self.exchange.trade(self.prices, self.clock.now_us(), self.chances)
        asked_us = self.clock.now_us()
        reading = self.exchange.read(asked_us, self.chances)
        self.clock.advance(self.dice.uniform(0.01, 0.2))
        if reading is not None:
            held = None
            if self.dice.random() >= self.chances.book_bad:
                self.exchange.trade(self.prices, self.clock.now_us(), self.chances)
                held = self.exchange.positions()
            self.queue += self.books.report(1, reading, held)
            if self.eyes.random() < COMPARED:
                self.books.reconcile(1, "minute", self.exchange.positions(), {}, 0)

    def _follow(self) -> None:
        wanted, _, sends = self.books.steps(1)
        self.queue += sends
        for each in wanted:
            self._amend(each)

    def _amend(self, wanted: Amendment) -> None:
        claimed = self.books.claim_amendment(1, wanted.tag, wanted.number)
        if claimed is None:
            return
        if self.dice.random() < self.crash_chance:
            raise Died
        if claimed.cancel:
            outcome = self.exchange.cancel(claimed.venue_order_id, self.chances)
        else:
            outcome = self.exchange.modify(claimed.venue_order_id, claimed.terms, self.chances)
        if self.dice.random() < self.crash_chance:
            raise Died
        self.books.answer_amendment(1, wanted.tag, wanted.number, outcome)

    def _crash(self) -> None:
        """Die: memory is gone, what was committed stays."""
        self.outcome.crashes += 1
        self.queue.clear()
        self.store.fails = 0
        self.store.dies = bool
        self.books = self._open()
        self.store.dies = self._dies
        self._requeue()

    def _dies(self) -> bool:
        return self.dice.random() < self.crash_chance / 10

    def _open(self) -> Bookkeeper:
        return Bookkeeper(
            self.store,
            instruments=_instruments(),
            calendar=_calendar(),
            venues={},
            port=self.board,
            clock=self.clock,
            armed={1: True},
        )

    def _requeue(self) -> None:
        for order in self._undone():
            if order.queued and order.state is OrderState.NEW:
                self.queue.append(order)

    # -- the end ---------------------------------------------------------------------------------

    def _calm(self) -> None:
        self.chances = Chances(fill=1.0)
        self.store.fails = 0
        self.crash_chance = 0.0
        self._take()
        silent = self.dice.random() < 0.3
        for _ in range(CALM_S):
            self.clock.advance(1.0)
            if not silent:
                self._price()  # an exit needs no price to go out
            for _ in range(len(self.queue)):
                self._send()
            self._read()
            self._follow()
            if not self.queue and not self._undone() and not self._bare():
                return

    def _undone(self) -> Iterable[Order]:
        return [
            order
            for orders in self.books.desk.at_work.values()
            for order in orders.values()
            if order.state not in DONE_STATES and not self._protects(order)
        ]

    def _bare(self) -> list[str]:
        """Return the symbols of positions that should have a stop and have none, nor an exit."""
        return [
            guard.instrument.symbol
            for guard in self.books.desk.guards.values()
            if abs(guard.book.quantity) > guard.book.exiting
            and guard.stop_paise
            and not guard.orders
            and guard.exit is None
        ]

    def _protects(self, order: Order) -> bool:
        """Whether *order* is a stop that rests at the exchange for just what is held."""
        if order.purpose is not Purpose.STOP or order.taken or order.state not in AT_VENUE_STATES:
            return False
        resting = next((each for each in self.exchange.orders if each.tag == order.tag), None)
        held = self._net().get(order.instrument.symbol, 0)
        if resting is None or resting.state is not VenueState.WORKING:
            return False
        return resting.quantity - resting.filled == held == order.book.quantity

    def _left_to_a_human(self) -> Counter[str]:
        """Return the shares that exits in REVIEW were to buy back, by symbol: the last resort."""
        found: Counter[str] = Counter()
        for order in self._undone():
            buys = order.side is Side.BUY and order.purpose is Purpose.EXIT
            if buys and order.state is OrderState.REVIEW:
                found[order.instrument.symbol] += order.remaining
        return found

    def _net(self) -> dict[str, int]:
        """Return net shares at the exchange without the owner's own."""
        net = self.exchange.net()
        for symbol, shares in self.owners.items():
            net[symbol] = net.get(symbol, 0) - shares
        return {symbol: shares for symbol, shares in net.items() if shares}

    def _judge(self) -> None:
        wrong = self.outcome.wrong
        times = Counter(order.tag for order in self.exchange.orders if order.tag)
        wrong += [f"{count} orders carry the tag {tag}" for tag, count in times.items() if count > 1]
        ours = {symbol: shares for (symbol, _), shares in self.books.desk.positions(1, RUN).items() if shares}
        theirs = self._net()
        if ours != theirs:
            wrong.append(f"positions {ours} here, {theirs} at the exchange")
        left = self._left_to_a_human()
        for symbol, shares in theirs.items():
            if shares + left.get(symbol, 0) < 0:
                wrong.append(f"{symbol} is short by {-shares}")
        for order in self._undone():
            if order.state is OrderState.REVIEW:
                self.outcome.reviews += 1
            elif order.purpose is Purpose.EXIT or order.state is not OrderState.NEW:
                wrong.append(f"{order.purpose} {order.tag} of {order.instrument.symbol} is {order.state}")
        if self.books.cursor("default", "main")[1] != self.signals:
            wrong.append("signals are pending")
        sql = self.store.database.connection
        ours_too = f"SELECT count(*) FROM inbox WHERE engine != '{OWN_ENGINE}'"
        taken = int(str(next(iter(sql.execute(ours_too)))[0]))
        wrong += [f"{symbol} has no stop" for symbol in self._bare()]
        wrong += [] if taken == self.signals else [f"{self.signals - taken} signals are lost"]
        audited = audit(self.store.database, "main", "epoch", self.outbox)
        wrong += audited.findings
        if audited.over_exit and self.late_s <= SOON_S:
            wrong.append(f"{audited.over_exit} exits went beyond the position, though nothing came so late")
        self.outcome.orders = sum(times.values())


def simulate(seed: int) -> Outcome:
    """Play one seed."""
    with mortal_store() as store:
        return Simulation(seed, store).run()


def simulate_quietly(seed: int) -> Outcome:
    """Play one seed without a word: for thousands of them, in a process of their own."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL),
        logger_factory=structlog.ReturnLoggerFactory(),
    )
    try:
        return simulate(seed)
    except FAULTS as error:
        return Outcome(seed, wrong=[f"it ended in {error!r}"[:300]])


@cache
def _instruments() -> Instruments:
    return Instruments.load()


@cache
def _calendar() -> Calendar:
    return Calendar.load()


def _terms() -> Terms:
    return Terms(sizing=Sizing(SizingMethod.FIXED_QUANTITY, Decimal(10)))
