"""The deciding core with its store: what is decided becomes durable, or is undone in memory, too.

Runs on the one thread that owns the store. Everything above it (front door, control socket) only
queues calls to it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from broker.base import PlaceOutcome, StoreVenue
from order.charges import Charges
from order.desk import Desk, Received
from order.lifecycle import Event
from order.orders import Order, Purpose
from order.requests import DirectRequest
from order.store import OrderStore, StoredOrder
from order.users import User
from shared.bus.codec import Poison
from shared.calendar import Calendar
from shared.clock import Clock
from shared.errors import ConfigurationError, StoreError
from shared.ids import order_tag
from shared.instruments import Instruments
from shared.models import OrderState, OrderType, Product, Quote, Side, Signal, microseconds
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


class Bookkeeper:
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
    ) -> None:
        self.store = store
        self._instruments = instruments
        self._calendar = calendar
        self._charges = Charges()
        self._venues = venues
        self._port = port
        self._clock = clock
        self._stale = False
        self.desk = self._reload()

    @property
    def users(self) -> dict[str, User]:
        """All users by id."""
        return {user.user_id: user for user in self.desk.users.values()}

    def cursor(self, group: str, engine: str) -> tuple[str, int]:
        """Return (epoch, seq) up to which *group* has taken the signals of *engine*; ("", 0) at first."""
        return self._cursors.get((group, engine), ("", 0))

    @property
    def is_new(self) -> bool:
        """Whether no group has ever had a cursor."""
        return not self._cursors

    def move_cursor(self, group: str, engine: str, epoch: str, seq: int) -> None:
        """Place *group*'s cursor; the journal keeps the move."""
        now_us = self._clock.now_us()

        def move(desk: Desk) -> None:
            desk.changes.cursors[group, engine] = (epoch, seq)
            desk.changes.journal.append(desk.journal.entry(now_us, "cursor", [group, engine, epoch, seq]))

        self._commit(move)

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
            last = items[-1]
            desk.changes.cursors[group, last.engine] = (last.epoch, last.seq)

        return self._commit(decide) if items else []

    def direct(self, request: DirectRequest) -> tuple[Direct, list[Order]]:
        """Take a direct order; a repeated `client_order_id` returns the first one's state."""
        known = self.store.find_signal(request.user.group, request.signal_id)
        if known is not None:
            return self._repeated(request, *known), []
        now_us = self._clock.now_us()
        run = self._port.run
        quote = self._port.latest(request.symbol)
        if quote is None or run == "sim":  # a simulated price is no price for an order given by hand
            run, quote = "manual", None
        if quote is None and not request.price_paise:
            raise ConfigurationError(
                f"There is no price of {request.symbol} to go by.", remedy="Give one as `price`, in rupees."
            )
        at_us = quote.at_us if quote is not None and run.startswith("replay") else now_us
        made: list[Order] = []
        sends = self._commit(lambda desk: made.append(desk.direct(request, run, quote, at_us, now_us)))
        order = made[0]
        return Direct(order.tag, order.state, order.filled, order.value_paise, order.rule, False), sends

    def quotes(self, run: str, batch: Sequence[Quote]) -> list[Order]:
        """Hold orders at work against new prices."""
        now_us = self._clock.now_us()
        return self._commit(lambda desk: desk.quotes(run, batch, now_us))

    def answer(self, order: Order, outcome: PlaceOutcome) -> list[Order]:
        """Book a remote venue's answer to one send."""
        now_us = self._clock.now_us()

        def book(desk: Desk) -> None:
            # The memory may have been built anew since the send: the order that counts is the desk's.
            at_work = desk.at_work.get((order.run, order.instrument.symbol), {})
            current = next((known for known in at_work.values() if known.key() == order.key()), None)
            if current is None:
                raise StoreError(
                    f"An answer came for order {order.tag}, which is not at work.", remedy=_VERIFY
                )
            desk.answer(current, outcome, now_us)

        return self._commit(book)

    def save_user(self, user: User) -> User:
        """Store a user (new when `user_no` is 0); return them with their number."""
        known = self.desk.users.get(user.user_no)
        if known is not None and known.group != user.group:
            raise ConfigurationError(
                f"User {user.user_id!r} belongs to the group {known.group!r} for good.",
                remedy="Another group's cursor stands elsewhere: signals would come twice or not at all.",
            )
        if user.user_no == 0:
            user = msgspec.structs.replace(user, user_no=max(self.desk.users, default=0) + 1)
        body = msgspec.to_builtins(user)
        try:
            self.store.save_user(user, body, self._clock.now_us(), self.desk.journal)
        except BaseException:
            self._undo()
            raise
        self.desk.know_user(user)
        self._index()
        return user

    # -- inside ----------------------------------------------------------------------------------

    def _commit(self, decide: Callable[[Desk], object]) -> list[Order]:
        if self._stale:
            self._reload()
        desk = self.desk
        try:
            decide(desk)
            changes = desk.drain()
            if not changes.empty:
                self.store.commit(changes)
        except BaseException:
            self._undo()
            raise
        self._cursors.update(changes.cursors)
        return changes.sends

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
            taken[signal_id] = item.payload
            desk.take(group, item, self._subscribers.get((group, item.signal.strategy_id), ()), now_us)
        elif before != item.payload and not _same_wish(before, item.signal):
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
        tag = order_tag(request.user.broker, request.user.user_id, request.signal_id, 0, 0, 0)
        return Direct(tag, state, filled, value_paise, rule, True)

    def _reload(self) -> Desk:
        loaded = self.store.load()
        desk = Desk(
            instruments=self._instruments,
            calendar=self._calendar,
            charges=self._charges,
            venues=self._venues,
            journal=loaded.journal,
            port=self._port,
        )
        for number, kind, name in loaded.names:
            desk.know_name(number, kind, name)
        for user in loaded.users:
            desk.know_user(user)
        for book in loaded.books:
            desk.know_book(book)
        desk.signal_no, desk.venue_no, desk.fill_no = loaded.signal_no, loaded.venue_no, loaded.fill_no
        for stored in loaded.at_work:
            desk.know_order(_revived(desk, stored))
        self._cursors = dict(loaded.cursors)
        self.desk = desk
        self._index()
        self._stale = True
        self._lose_sending(desk)
        self._stale = False
        return desk

    def _lose_sending(self, desk: Desk) -> None:
        """A claim without an answer at start may be at the venue: UNKNOWN, never sent again."""
        now_us = self._clock.now_us()
        for orders in list(desk.at_work.values()):
            for order in list(orders.values()):
                if order.state is OrderState.SENDING:
                    desk.moved(order, Event.LOSE, now_us)
        desk.journal_moves("restart", now_us, [])
        changes = desk.drain()
        if not changes.empty:
            self.store.commit(changes)

    def _index(self) -> None:
        self._subscribers: dict[tuple[str, str], list[User]] = {}
        for user in sorted(self.desk.users.values(), key=lambda user: user.user_no):
            for strategy_id in user.subscriptions:
                self._subscribers.setdefault((user.group, strategy_id), []).append(user)


def _same_wish(payload: bytes, signal: Signal) -> bool:
    """Whether two payloads of one id differ only in when the engine accepted them."""
    before = msgspec.json.decode(payload, type=Signal)
    return (
        msgspec.structs.replace(before, accepted_at=signal.accepted_at, valid_until=signal.valid_until)
        == signal
    )


def _revived(desk: Desk, stored: StoredOrder) -> Order:
    row = stored.row
    user = desk.users[int(row[1] or 0)]
    key = (stored.market_no, stored.strategy_no, stored.symbol_no, str(row[7]), user.user_no)
    symbol = desk.name_of(stored.symbol_no)
    order = Order(
        int(row[0] or 0),
        stored.signal_id,
        desk.account(user, stored.market_no),
        int(row[2] or 0),
        desk.book(key),
        desk.instruments.get(symbol),
        desk.name_of(stored.market_no),
        Purpose(str(row[5])),
        Side(str(row[6])),
        Product(str(row[7])),
        OrderType(str(row[8])),
        int(row[9] or 0),
        int(row[10] or 0),
        int(row[17] or 0),
    )
    order.slice_no, order.attempt = int(row[3] or 0), int(row[4] or 0)
    order.state, order.rule = OrderState(str(row[11])), str(row[12])
    order.filled, order.value_paise, order.charges_paise = (
        int(row[13] or 0),
        int(row[14] or 0),
        int(row[15] or 0),
    )
    order.venue_no = None if row[16] is None else int(row[16])
    order.updated_us = int(row[18] or 0)
    if stored.payload.startswith(b'{"schema"'):
        order.valid_until_us = microseconds(msgspec.json.decode(stored.payload, type=Signal).valid_until)
    return order
