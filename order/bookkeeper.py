"""The deciding core with its store: what is decided becomes durable, or is undone in memory, too.

Runs on the one thread that owns the store. Everything above it (front door, control socket) only
queues calls to it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import msgspec

from broker.base import PlaceOutcome, StoreVenue
from order.account_books import AccountBooks
from order.charges import Charges
from order.day_end import DayEnd
from order.desk import Desk, Received
from order.orders import Changes, Order
from order.pauses import without_pauses
from order.policy import Policy
from order.record import Recorder, base_entries
from order.requests import DirectRequest
from order.revived import revive
from order.risk import LIVE
from order.store import OrderStore
from order.user_books import UserBooks
from order.users import User
from order.watch_books import WatchBooks
from order.wish import same_wish
from shared.bus.codec import Poison
from shared.calendar import Calendar
from shared.clock import Clock, ist_day
from shared.errors import ConfigurationError, StoreError
from shared.failpoint import hit
from shared.instruments import Instruments
from shared.models import OrderResult, OrderState, Quote, microseconds, rupees
from shared.quotes import Quotes

_VERIFY = "Run `trading verify` to see where the books stand."


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A signed entry that can never be understood; it becomes a dead letter."""

    engine: str
    epoch: str
    seq: int
    poison: Poison


@dataclass(frozen=True, slots=True)
class Direct:
    """How a direct order stands.

    Attributes:
        tag: Its public id.
        value_paise: Filled quantity times price.
    """

    tag: str
    state: OrderState
    filled: int
    value_paise: int
    rule: str
    repeated: bool

    def result(self) -> OrderResult:
        """Return it as `execute_order` does."""
        average = rupees(self.value_paise) / self.filled if self.filled else Decimal(0)
        done = "filled on paper" if self.state is OrderState.FILLED else self.state.value.lower()
        again = " (repeated request: nothing new was sent)" if self.repeated else ""
        return OrderResult(
            order_id=self.tag,
            status=self.state,
            filled_quantity=self.filled,
            average_price=average,
            message=(self.rule or done) + again,
        )


class Bookkeeper(AccountBooks, UserBooks, WatchBooks):
    """Owns desk and store; every public method is one transaction."""

    def __init__(
        self,
        store: OrderStore,
        *,
        instruments: Instruments,
        calendar: Calendar,
        venues: Mapping[str, StoreVenue],
        port: Quotes,
        clock: Clock,
        armed: dict[int, bool] | None = None,
        policy: Policy | None = None,
        latch: Callable[[], bool] = lambda: False,
        software: str = "",
    ) -> None:
        self.store = store
        self._software = {"software": software} if software else {}
        self._policy = policy or Policy()
        self.armed = armed if armed is not None else {}
        self.recorder = Recorder(port, self.armed, latch)
        self._instruments = instruments
        self._calendar = calendar
        self._charges = Charges()
        self._venues = venues
        self._port = port
        self._clock = clock
        self._stale = False
        self._met_day = 0
        self.desk = self._reload()

    def cursor(self, group: str, engine: str) -> tuple[str, int]:
        """Return (epoch, seq) up to which *group* has taken the signals of *engine*; ("", 0) at first."""
        return self._cursors.get((group, engine), ("", 0))

    @property
    def is_new(self) -> bool:
        """Whether no group has ever had a cursor."""
        return self._unheard and not self._cursors

    def move_cursor(self, group: str, engine: str, epoch: str, seq: int) -> None:
        """Place *group*'s cursor; the journal keeps the move."""
        now_us = self._clock.now_us()

        def move(desk: Desk) -> None:
            desk.changes.cursors[group, engine] = (epoch, seq)
            desk.changes.journal.append(desk.journal.entry(now_us, "cursor", [group, engine, epoch, seq]))

        self._commit(move, "move_cursor", now_us, group, engine, epoch, seq)

    def take(self, group: str, items: Sequence[Received | Unreadable]) -> list[Order]:
        """Take signals for *group* in ONE transaction: inbox, an intent per subscriber, cursor.

        Returns:
            Claimed orders that have to be sent over a wire now.
        """
        now_us = self._clock.now_us()

        def decide(desk: Desk) -> None:
            taken: dict[str, bytes] = {}
            for item in items:
                if isinstance(item, Unreadable):
                    self._bury(desk, group, item.engine, item.epoch, item.seq, item.poison, now_us)
                else:
                    self._take_one(desk, group, item, taken, now_us)
            hit("order.taking")
            last = items[-1]
            desk.changes.cursors[group, last.engine] = (last.epoch, last.seq)

        return self._commit(decide, "take", now_us, group, [_given(item) for item in items]) if items else []

    def direct(self, request: DirectRequest) -> tuple[Direct, list[Order]]:
        """Take a direct order; a repeated `client_order_id` returns the first one's state."""
        known = self.store.find_signal(request.user.group, request.signal_id)
        if known is not None:
            return self._repeated(request, *known), []
        now_us = self._clock.now_us()
        run = self._port.run
        quote = self._port.latest(request.symbol)
        at_broker = request.user.broker not in self._venues and bool(run)
        if (quote is None or run == "sim") and not at_broker:
            # A price that the engine makes up is none for an order given by hand.
            run, quote = "manual", None
        if quote is None and at_broker and run != "live":
            # It must stand in the market of what is held there, and only prices tell a rehearsal's time.
            raise ConfigurationError(
                f"There is no price of {request.symbol} to go by.",
                remedy="The engine brings those of its strategies' symbols: see that it runs and has it.",
            )
        if quote is None and not request.price_paise:
            raise ConfigurationError(
                f"There is no price of {request.symbol} to go by.", remedy="Give one as `price`, in rupees."
            )
        at_us = now_us if quote is None or run == "live" else quote.at_us
        return self.direct_at(request, run, quote, at_us)

    def direct_at(
        self, request: DirectRequest, run: str, quote: Quote | None, at_us: int
    ) -> tuple[Direct, list[Order]]:
        """Take a new direct order at a price and a market time that are known already."""
        now_us = self._clock.now_us()
        self._days.note(run, ist_day(at_us))
        made: list[Order] = []
        sends = self._commit(
            lambda desk: made.append(desk.direct(request, run, quote, at_us, now_us)),
            *("direct_at", now_us, request.user.user_no, request.client_order_id, request.payload),
            *(run, quote, at_us),
        )
        order = made[0]
        return Direct(order.tag, order.state, order.filled, order.value_paise, order.rule, False), sends

    def quotes(self, run: str, batch: Sequence[Quote]) -> list[Order]:
        """Hold orders at work against new prices."""
        now_us = self._clock.now_us()
        self._days.note(run, ist_day(max((quote.at_us for quote in batch), default=0)))
        return self._commit(lambda desk: desk.quotes(run, batch, now_us), "quotes", now_us, run, batch)

    def after_answer(self, *, idle: bool) -> None:
        """Do what is due but must not delay an answer: ex-dates, days that are over, the store's own."""
        now_us = self._clock.now_us()
        if self._port.run == LIVE and ist_day(now_us) != self._met_day:
            self.meet_ex_dates(ist_day(now_us))
        self.close_days()
        self.store.after_answer(idle=idle)

    def meet_ex_dates(self, day: int) -> None:
        """Void the levels of positions that meet an ex-date on *day*, before the first price of the day."""
        now_us = self._clock.now_us()
        self._commit(
            lambda desk: desk.meet_ex_dates(LIVE, None, day, now_us), "meet_ex_dates", now_us, day
        )
        self._met_day = day

    def close_days(self, *, final: bool = False) -> None:
        """Book the charges of days that are over; with *final* also of a replay's last day."""
        for market_no, day in self._days.due(self.desk, self._clock.now_us(), final=final):
            self.book_day(market_no, day)

    def book_day(self, market: int, day: int) -> None:
        """Book the charges of a market's days up to *day*."""
        now_us = self._clock.now_us()
        self._commit(lambda desk: self._days.book(desk, market, day, now_us), "book_day", now_us, market, day)

    def claim(self, order: Order) -> bool:
        """Claim a queued order, durably; False where it shall not go out (now)."""
        return self.claim_all([order])[0]

    def claim_all(self, orders: list[Order]) -> list[bool]:
        """Claim queued orders as one durable transaction; see `claim`."""
        desk, now_us = self._reload() if self._stale else self.desk, self._clock.now_us()
        # After a failed commit the memory is another: what waited there is queued anew.
        ours = [place for place, order in enumerate(orders) if self._current(desk, order) is order]
        claimed = [False] * len(orders)

        def claim(desk: Desk) -> None:
            for place in ours:
                claimed[place] = desk.claim(orders[place], now_us)

        if ours:
            self._commit(claim, "claim_all", now_us, [orders[place].key() for place in ours])
        return claimed

    def answer(self, order: Order, outcome: PlaceOutcome) -> list[Order]:
        """Book a broker's answer to one send; see `answer_all`."""
        (error,), sends = self.answer_all([(order, outcome)])
        if error is not None:
            raise error
        return sends

    def answer_all(
        self, told: list[tuple[Order, PlaceOutcome]]
    ) -> tuple[list[StoreError | None], list[Order]]:
        """Book brokers' answers as one transaction; return what is wrong with each, and exits to be sent."""
        desk, now_us = self._reload() if self._stale else self.desk, self._clock.now_us()
        # The memory may have been built anew since the send: the order that counts is the desk's.
        pairs = [(self._current(desk, order), outcome) for order, outcome in told]
        known = [(order, outcome) for order, outcome in pairs if order is not None]
        errors: list[StoreError | None] = []
        for (current, _), (order, _) in zip(pairs, told, strict=True):
            # The books may have told its end before its answer came.
            lost = current is None and order.tag not in desk.line(order.user.user_no).ended
            what = f"An answer came for order {order.tag}, which is not known."
            errors.append(StoreError(what, remedy=_VERIFY) if lost else None)

        def book(desk: Desk) -> None:
            for order, outcome in known:
                desk.answer(order, outcome, now_us)

        said = [[order.key(), [type(way).__name__, msgspec.to_builtins(way)]] for order, way in known]
        return errors, self._commit(book, "answer_all", now_us, said) if known else []

    def write_down(self, now_us: int) -> None:
        """Journal the inputs that wait, though nothing was written because of them."""
        changes = self.desk.drain()
        self.recorder.end(changes, self.desk.journal, now_us, at_once=True)
        try:
            self.store.commit(changes)
        except BaseException:
            self._undo()
            raise

    # -- inside ----------------------------------------------------------------------------------

    def _commit(
        self, decide: Callable[[Desk], object], kind: str, now_us: int, *given: object
    ) -> list[Order]:
        """Run one decision as one transaction, and record what it was given.

        Args:
            decide: Changes the desk.
            kind: The name of the method here that takes the same again when a day is decided anew.
            now_us: Wall time.
            given: Its arguments; what is no plain value needs a line in `order.rerun`.
        """
        if self._stale:
            self._reload()
        # All that a decision makes is gone when it returns, and costs no look of the collector before.
        with without_pauses():
            return self._decided(self.desk, decide, kind, now_us, *given)

    def _decided(
        self, desk: Desk, decide: Callable[[Desk], object], kind: str, now_us: int, *given: object
    ) -> list[Order]:
        try:
            self.recorder.begin(kind, now_us, *given)
            desk.switches.latched = self.recorder.latched
            decide(desk)
            hit("order.commit")
            changes = self._write_changes(desk, now_us)
        except BaseException:
            self._undo()
            raise
        if not changes.empty:
            hit("order.committed")
        self._cursors.update(changes.cursors)
        return changes.sends

    def _write_changes(self, desk: Desk, now_us: int) -> Changes:
        changes = desk.drain()
        self.recorder.end(changes, desk.journal, now_us)
        if not changes.empty:
            try:
                self.store.commit(changes)
            except StoreError as error:
                self._down(error, now_us)
                raise
        return changes

    @staticmethod
    def _current(desk: Desk, order: Order) -> Order | None:
        """Return the desk's own order of *order*'s key, at work or ended a short while ago."""
        at_work = desk.at_work.get((order.run, order.instrument.symbol), {})
        known = next((each for each in at_work.values() if each.key() == order.key()), None)
        return known or desk.line(order.user.user_no).orders.get(order.tag)

    def _undo(self) -> None:
        """Forget what was decided and not written: only the store knows now, once it can be read."""
        self._stale = True
        with contextlib.suppress(StoreError):
            self._reload()

    def _take_one(self, desk: Desk, group: str, item: Received, taken: dict[str, bytes], now_us: int) -> None:
        signal_id = item.signal.signal_id
        before = taken.get(signal_id)
        if before is None:
            known = self.store.find_signal(group, signal_id)
            before = None if known is None else known[1]
        if before is None:
            self._days.note(item.signal.run, ist_day(microseconds(item.signal.bar_close)))
            taken[signal_id] = item.payload
            desk.take(group, item, self._subscribed(group, item.signal.strategy_id), now_us)
        elif before != item.payload and not same_wish(before, item.signal):
            reason = f"signal_id {signal_id}: taken before with another content"
            self._bury(desk, group, item.engine, item.epoch, item.seq, Poison(reason, item.payload), now_us)

    def _bury(
        self, desk: Desk, group: str, engine: str, epoch: str, seq: int, poison: Poison, now_us: int
    ) -> None:
        desk.changes.dead_letters.append((now_us, group, engine, epoch, seq, poison.reason, poison.raw))
        desk.changes.journal.append(
            desk.journal.entry(now_us, "dead_letter", [group, engine, epoch, seq, poison.reason])
        )

    def _repeated(self, request: DirectRequest, signal_no: int, payload: bytes) -> Direct:
        if payload != request.payload:
            raise ConfigurationError(
                f"client_order_id {request.client_order_id!r} was used for another order.",
                remedy="Use a new id for a new order; a repeat must be the same in every field.",
            )
        state, filled, value_paise, rule = self.store.order_state(signal_no, request.user.user_no)
        tag = request.user.tag(request.signal_id)
        return Direct(tag, state, filled, value_paise, rule, True)

    def _reload(self) -> Desk:
        with without_pauses():
            return self._load()

    def _load(self) -> Desk:
        loaded = self.store.load()
        desk = Desk(
            instruments=self._instruments,
            calendar=self._calendar,
            charges=self._charges,
            venues=self._venues,
            journal=loaded.journal,
            port=self.recorder,
            armed=self.recorder.armed,
            policy=self._policy,
            writer=loaded.writer,
        )
        now_us = self._clock.now_us()
        venues = {name: venue.profile for name, venue in self._venues.items()}
        policy = msgspec.to_builtins(self._policy)
        self.recorder.start(now_us, {**loaded.told, "venues": venues, "policy": policy, **self._software})
        for number, kind, name in loaded.names:
            desk.know_name(number, kind, name)
        for user in loaded.users:
            desk.know_user(user)
        self._days = DayEnd(self.store, self._charges, loaded.closes)
        for book in loaded.books:
            desk.know_book(book)
            self._days.note(desk.name_of(book.key[0]), book.day)
        desk.know_deliveries(loaded.deliveries)
        desk.know_sends(loaded.placed)
        desk.signal_no, desk.venue_no, desk.fill_no = loaded.signal_no, loaded.venue_no, loaded.fill_no
        revive(desk, loaded, now_us)
        self._cursors, self._unheard = dict(loaded.cursors), loaded.unheard
        self.desk = desk
        self._forget_users()
        self._stale = True
        desk.changes.journal.extend(base_entries(desk.journal, now_us, loaded.unjournaled))
        self._lose_sending(desk, now_us)
        self._stale = False
        return desk

    def _lose_sending(self, desk: Desk, now_us: int) -> None:
        """A claim without an answer at start may be at the venue: UNKNOWN, never sent again."""
        for order in [each for orders in desk.at_work.values() for each in orders.values()]:
            if order.state is OrderState.SENDING:
                desk.lost(order, now_us)
        desk.journal_moves("restart", now_us, [])
        self._write_changes(desk, now_us)

    def _subscribed(self, group: str, strategy_id: str) -> Sequence[User]:
        """Return who of *group* takes part in a strategy, by number; looked up once until a user changes."""
        if self._subscribers is None:
            self._subscribers = {}
            for user in sorted(self.desk.users.values(), key=lambda user: user.user_no):
                for subscribed in user.subscriptions:
                    self._subscribers.setdefault((user.group, subscribed), []).append(user)
        return self._subscribers.get((group, strategy_id), ())


def _given(item: Received | Unreadable) -> list[object]:
    """Return what the journal keeps of what came off the bus."""
    said = [item.payload] if isinstance(item, Received) else [item.poison.reason, item.poison.raw]
    return [item.engine, item.epoch, item.seq, *said]
