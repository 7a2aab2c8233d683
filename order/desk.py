"""The deciding core: signals, direct orders, quotes and answers in; rows to write out.

No I/O and no clock of its own: everything comes in as an argument, everything that must become
durable goes out as `Changes`. It runs on the thread that owns the store, so nothing stands between
check and act. When a commit fails its memory is stale: the owner builds a new desk from the store.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from order.accounts import Account
from order.books import Book
from order.fan_out import in_turn
from order.guards import bar_start_us, plan_of
from order.lifecycle import Event
from order.losses import Losses
from order.memory import Seat
from order.orders import DIRECT_ENGINE, MANUAL, Order, Purpose
from order.requests import DirectRequest
from order.risk import Entry, Market, Refused, check_market, check_signal
from order.switching import KILLED
from order.users import SizingMethod, Terms, User, shares, too_small
from order.wish import is_short, read
from shared.clock import ist_day
from shared.instruments import Instrument
from shared.models import (
    OrderState,
    OrderType,
    Product,
    Quote,
    Side,
    Signal,
    SignalType,
    Target,
    is_rehearsal,
    microseconds,
    paise,
)

# Asked for once: on Python 3.11 an enum takes ten times as long as a module to give a member.
_BUY, _SELL = Side.BUY, Side.SELL
_ENTRY, _EXIT, _MARKET = Purpose.ENTRY, Purpose.EXIT, OrderType.MARKET
_MULTIPLE = SizingMethod.SIGNAL_MULTIPLE
_LONG, _SHORT, _FLAT = Target.LONG, Target.SHORT, Target.FLAT


@dataclass(frozen=True, slots=True)
class Received:
    """A signal as it came in, with where it stood.

    Attributes:
        epoch, seq: Its place in the engine's stream.
        payload: The bytes that were signed; kept in the inbox.
    """

    engine: str
    epoch: str
    seq: int
    signal: Signal
    payload: bytes


@dataclass(frozen=True, slots=True)
class _Case:
    """One signal as all its users see it, judged once.

    Attributes:
        refused: What forbids entries to everybody, or None.
        valid_until_us: Wall time after which an entry is too late.
        exits_open, intraday_open: An exit can be sent now, of DELIVERY and of INTRADAY.
        protected: It carries a stop or a target.
    """

    signal_no: int
    signal: Signal
    market: Market
    refused: Refused | None
    valid_until_us: int
    exits_open: bool
    intraday_open: bool
    protected: bool


class Desk(Losses):
    """All state of the order side and every decision on it."""

    def take(self, group: str, received: Received, subscribers: Iterable[User], now_us: int) -> int:
        """Decide a signal for every subscribed user; return its number.

        The caller has made sure that this group has not taken the same signal before.
        """
        signal = received.signal
        signal_no = self.next_signal()
        instrument = self.instruments.find(signal.symbol)
        market_no = self.number("market", signal.run)
        strategy_no = self.number("strategy", signal.strategy_id)
        # One name for each instrument, however it was spelled: the book must be the same.
        symbol_no = self.number("symbol", instrument.symbol if instrument else signal.symbol)
        seats = self._seats(group, market_no, strategy_no, symbol_no, signal.strategy_id, subscribers)
        self.changes.inbox.append(
            (
                signal_no, group, received.engine, received.epoch, received.seq, signal.signal_id, market_no,
                strategy_no, symbol_no, len(seats), received.payload, now_us,
            )
        )  # fmt: skip
        market = self._market(signal, now_us)
        case = _Case(
            signal_no,
            signal,
            market,
            check_signal(market, self.calendar) if instrument else Refused("unknown_symbol", signal.symbol),
            microseconds(signal.valid_until),
            self._exits_open(market, Product.DELIVERY),
            self._exits_open(market, Product.INTRADAY),
            signal.stop is not None or signal.target is not None,
        )
        for account, book, terms in in_turn(seats, signal.signal_id):
            if account.day < market.day:
                account.open_day(market.day)
            if book.day < market.day:
                book.open_day(market.day)
            self._decide(case, account, book, terms)
        self.journal_moves(
            "signal",
            now_us,
            [signal_no, received.engine, received.epoch, received.seq, signal.signal_id, _seen(market.quote)],
        )
        return signal_no

    def direct(self, request: DirectRequest, run: str, quote: Quote | None, at_us: int, now_us: int) -> Order:
        """Take a direct order literally, on the user's manual book; return it decided.

        Args:
            request: What is asked.
            run: The market it lives in; `manual` where there is no market data.
            quote: Real or replayed price, or None.
            at_us: Market time.
            now_us: Wall time.
        """
        signal_no = self.next_signal()
        user = request.user
        market_no = self.number("market", run)
        strategy_no = self.number("strategy", MANUAL)
        symbol_no = self.number("symbol", request.symbol)
        self.changes.inbox.append(
            (
                signal_no, user.group, DIRECT_ENGINE, "", signal_no, request.signal_id, market_no,
                strategy_no, symbol_no, 1, request.payload, now_us,
            )
        )  # fmt: skip
        instrument = self.instruments.get(request.symbol)
        reference = request.price_paise or (quote.price_paise if quote else 0)
        market = Market(run, False, instrument, quote, reference, at_us, now_us, ist_day(at_us))
        book = self.book((market_no, strategy_no, symbol_no, request.product, user.user_no))
        account = self.account(user, market_no)
        account.open_day(market.day)
        book.open_day(market.day)
        held = book.quantity if request.side is Side.SELL else -book.quantity
        purpose = Purpose.EXIT if 0 < request.quantity <= held - book.exiting else Purpose.ENTRY
        order = Order(
            signal_no,
            request.signal_id,
            account,
            0,
            book,
            instrument,
            run,
            purpose,
            request.side,
            request.product,
            request.order_type,
            request.quantity,
            reference,
            at_us,
        )
        if request.trigger_paise:
            self.set_trigger(order, request.trigger_paise)
        refused = None
        if purpose is Purpose.ENTRY:
            refused = check_market(market, self.calendar) or self._check(market, account, order, MANUAL)
        if refused is not None:
            self.refuse(order, refused, now_us)
        elif purpose is Purpose.ENTRY or self.sends_open(run, at_us, instrument, request.product):
            (self.send if purpose is Purpose.ENTRY else self.send_exit)(order, quote, now_us)
        else:
            self._latch(order)
        seen = _seen(quote)
        self.journal_moves(
            "direct", now_us, [signal_no, DIRECT_ENGINE, "", signal_no, request.signal_id, seen]
        )
        return order

    def wants(self, run: str, quote: Quote) -> bool:
        """Whether something here waits for prices of that symbol, or a moment of its day has come."""
        key = run, quote.symbol
        if self.silent or self.switches.flattening or self.look_due(run, quote):
            return True
        return key in self.at_work or bool(self.guarded.get(key)) or quote.at_us >= self.bells.get(key, 0)

    def quotes(self, run: str, batch: Iterable[Quote], now_us: int) -> None:
        """Hold orders at work, latched exits and waiting entries of market *run* against new prices."""
        if self.silent:
            self.hear(now_us)
        for quote in batch:
            if self.look_due(run, quote):
                self.look_at_losses(run, quote, ist_day(quote.at_us), now_us)
            self.ring(run, quote.symbol, quote.at_us, quote, now_us)
            for order in list(self.at_work.get((run, quote.symbol), {}).values()):
                if order.purpose is _ENTRY and self.killed(order, quote.at_us):
                    self.withdraw(order, KILLED, now_us)
                elif order.state is OrderState.NEW:
                    if order.wire is None or not (order.queued or now_us < order.wire.not_before_us):
                        self._try_again(order, quote, now_us)
                else:
                    self.match(order, quote, now_us)
            if self.guarded:
                self.watch_levels(quote, run, now_us)
            if self.switches.flattening:
                self.keep_flat(run, quote.symbol, quote, now_us)
        self.journal_moves("quotes", now_us, [run])

    def recheck(self, order: Order, price_paise: int, quantity: int, now_us: int) -> Refused | None:
        """See `ByHand.recheck`; nothing of *order* is reserved meanwhile."""
        run, instrument = order.run, order.instrument
        at_us = self.market_us(run, instrument, now_us)
        quote = self.port.latest(instrument.symbol) if run == self.port.run else None
        market = Market(run, False, instrument, quote, price_paise, at_us, now_us, ist_day(at_us))
        before = order.quantity, order.price_paise
        order.quantity, order.price_paise = quantity - order.filled, price_paise
        counts = (order.account, order.book)
        for each in counts:
            each.day_entries -= 1  # it is counted already
        order.account.working.discard(id(order))
        refused = check_market(market, self.calendar) or self._check(market, order.account, order, MANUAL)
        for each in counts:
            each.day_entries += 1
        order.account.working.add(id(order))
        order.quantity, order.price_paise = before
        return refused

    def _market(self, signal: Signal, now_us: int) -> Market:
        instrument = self.instruments.find(signal.symbol)
        at_us = microseconds(signal.bar_close)
        reference = paise(signal.price)
        symbol = instrument.symbol if instrument else signal.symbol
        own = Quote(symbol, reference, at_us, signal.bar_volume, microseconds(signal.accepted_at))
        quote = own
        if signal.run.startswith("replay"):
            self.prices[signal.run, symbol] = own
        else:
            # A live or simulated price may have moved on since; a replay's is the one it decided on.
            newest = self.latest(signal.run, symbol)
            if newest is not None and newest.at_us > at_us:
                quote = newest
        known = instrument or _placeholder(signal.symbol)
        return Market(
            signal.run, signal.timeframe.endswith("d"), known, quote, reference, at_us, now_us, ist_day(at_us)
        )

    def _seats(
        self,
        group: str,
        market_no: int,
        strategy_no: int,
        symbol_no: int,
        strategy_id: str,
        subscribers: Iterable[User],
    ) -> list[Seat]:
        """Return account, book and terms of each subscriber; looked up once until a user changes."""
        key = (group, market_no, strategy_no, symbol_no)
        seats = self.seats.get(key)
        if seats is None:
            seats = self.seats[key] = []
            for user in subscribers:
                terms = user.subscriptions[strategy_id]
                book = self.book((market_no, strategy_no, symbol_no, terms.product, user.user_no))
                seats.append((self.account(user, market_no), book, terms))
        return seats

    def _exits_open(self, market: Market, product: Product) -> bool:
        at_us = market.now_us if market.run == "live" else market.at_us
        return self.sends_open(market.run, at_us, market.instrument, product, daily=market.daily)

    def _decide(self, case: _Case, account: Account, book: Book, terms: Terms) -> None:
        wish = read(case.signal, book, terms)
        if wish.nothing:
            self._nothing(case, account, book, terms, wish.nothing)
            return
        if wish.exit:
            self._exit(case, account, book, terms)
        if wish.enter is None:
            return
        order = self._order(case, account, book, terms, _ENTRY, wish.enter, 1 if wish.exit else 0)
        if case.protected or terms.trail_percent:
            order.plan = plan_of(case.signal, terms)
        if terms.sizing.method is _MULTIPLE:
            # Once and for all: an entry that is checked again later knows its signal no more.
            order.quantity = shares(terms.sizing, terms, account.user.limits, 1, named=case.signal.quantity)
        if case.market.now_us > case.valid_until_us:
            self.moved(order, Event.EXPIRE, case.market.now_us)
        elif case.refused is not None:
            self.refuse(order, case.refused, case.market.now_us)
        elif self.guards and self._stopped_on_bar(case, book):
            refused = Refused("stopped_out", "no entry on the bar of a stop-out")
            self.refuse(order, refused, case.market.now_us)
        elif wish.exit and book.quantity:
            self.wait(order)  # a reversal's entry is checked anew once the exit is done
        else:
            self._enter(order, case.market, account, case.signal.strategy_id, terms)

    def _stopped_on_bar(self, case: _Case, book: Book) -> bool:
        guard = self.guards.get(book.key)
        started_us = bar_start_us(case.signal.timeframe, microseconds(case.signal.bar_close))
        return guard is not None and started_us < guard.stopped_us

    def _enter(self, order: Order, market: Market, account: Account, strategy_id: str, terms: Terms) -> None:
        if order.side is _SELL and not (terms.allow_short and terms.product is Product.INTRADAY):
            self.refuse(
                order, Refused("short_not_allowed", "the terms of this strategy are long only"), market.now_us
            )
            return
        price = market.quote.price_paise if market.quote else market.reference_paise
        if terms.leaving:
            self.refuse(order, Refused("leaving", f"the user leaves {strategy_id}"), market.now_us)
            return
        stop = order.plan.stop_paise if order.plan is not None else 0
        if terms.sizing.method is not _MULTIPLE:
            order.quantity = shares(terms.sizing, terms, account.user.limits, price, stop)
        if order.quantity <= 0:
            self.refuse(order, Refused("too_small", too_small(terms.sizing, price, stop)), market.now_us)
            return
        order.price_paise = price
        refused = self._check(market, account, order, strategy_id)
        if refused is not None:
            self.refuse(order, refused, market.now_us)
            return
        if order.plan is not None or self.guards:
            refused = self.guard(order, order.plan, price)
            if refused is not None:
                self.refuse(order, refused, market.now_us)
                return
        order.book.target = _LONG if order.side is _BUY else _SHORT
        self.send(order, market.quote, market.now_us)

    def _exit(self, case: _Case, account: Account, book: Book, terms: Terms) -> None:
        side = _BUY if is_short(book) else _SELL
        self.withdraw_entries(book, case.market.now_us)
        book.target = _FLAT
        self.changes.books[book.key] = book
        if book.stopping or (book.entering and not book.exiting):
            # An entry whose fate is not known, or a stop: what has to be sold shows when it is settled.
            guard = self.guards.get(book.key)
            if guard is not None and guard.exit is not None:
                self._nothing(case, account, book, terms, "already_there")
            else:
                self.wait_for_stop(self._order(case, account, book, terms, _EXIT, side, 0))
            return
        open_quantity = abs(book.quantity) - book.exiting
        if open_quantity <= 0:
            self._nothing(case, account, book, terms, "already_there" if book.exiting else "nothing_to_exit")
            return
        order = self._order(case, account, book, terms, _EXIT, side, 0)
        order.quantity = open_quantity
        if case.intraday_open if terms.product is Product.INTRADAY else case.exits_open:
            self.send_exit(order, case.market.quote, case.market.now_us)
        else:
            self._latch(order)

    def _nothing(self, case: _Case, account: Account, book: Book, terms: Terms, rule: str) -> None:
        side = Side.SELL if case.signal.signal_type in _SELLING else Side.BUY
        order = self._order(case, account, book, terms, _ENTRY, side, 0)
        self.refuse(order, Refused(rule), case.market.now_us)

    def _order(
        self, case: _Case, account: Account, book: Book, terms: Terms, purpose: Purpose, side: Side, leg: int
    ) -> Order:
        market = case.market
        order = Order(
            case.signal_no,
            case.signal.signal_id,
            account,
            leg,
            book,
            market.instrument,
            market.run,
            purpose,
            side,
            terms.product,
            _MARKET,
            0,
            market.reference_paise,
            market.at_us,
        )
        order.valid_until_us = case.valid_until_us
        return order

    def _check(self, market: Market, account: Account, order: Order, strategy_id: str) -> Refused | None:
        if order.book.quantity and (order.book.quantity > 0) is not (order.side is Side.BUY):
            return Refused("opposite_position", f"{order.book.quantity} shares are open the other way")
        if order.book.entering and order.book.target is Target.FLAT and strategy_id != MANUAL:
            return Refused("exit_pending", "an exit waits for an entry whose fate is not known")
        if self.plans.told and is_rehearsal(market.run) and order.book.key[3] == Product.INTRADAY:
            late = self.too_late(market.run, market.at_us, market.instrument)
            if late is not None:
                return late
        if order.book.stopping and not order.book.quantity:
            return Refused("exit_pending", "the stop of the last position is not done")
        return self.check(
            Entry(
                market,
                account,
                order.book,
                strategy_id,
                order.side,
                order.quantity,
                order.price_paise,
                order.quantity * order.price_paise,
                self,
                order.plan.stop_paise if order.plan is not None else 0,
            )
        )

    def _enter_again(self, order: Order, market: Market, strategy_id: str, terms: Terms) -> None:
        self._enter(order, market, order.account, strategy_id, terms)


_SELLING = frozenset({SignalType.SELL, SignalType.EXIT_LONG, SignalType.ENTER_SHORT})


def _placeholder(symbol: str) -> Instrument:
    """Stands for an instrument that nobody knows; every entry in it is refused by name."""
    return Instrument(
        symbol, symbol, "", 5, 1, None, "EQ", closing_auction=False, nifty50=False, derivatives=False
    )


def _seen(quote: Quote | None) -> list[int]:
    return [] if quote is None else [quote.price_paise, quote.at_us]
