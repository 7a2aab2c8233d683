"""Orders in memory and the changes that one decision makes to the store."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

import msgspec

from broker.base import OrderTerms
from order.accounts import Account
from order.books import Book, BookKey
from order.guards import Guard, Plan
from order.journal import Entry
from order.lifecycle import Event, step, walk
from order.users import User
from order.wire import Wire
from order.writer import ONLY_WRITER, Writer
from shared.instruments import Instrument
from shared.models import Disposition, OrderState, OrderType, Product, Side

DIRECT_ENGINE = "direct"
"""Stands in the inbox where a signal's engine would, for orders given by hand or by a program."""

OWN_ENGINE = "own"
"""The same for exits that we decide by ourselves: a target, a missing stop, the clock."""

MANUAL = "manual"
"""The strategy that owns direct orders, and the market of those without market data."""


# Asked for once: on Python 3.11 an enum takes ten times as long as a module to give a member.
_NEW, _MARKET, _SL_LIMIT = OrderState.NEW, OrderType.MARKET, OrderType.SL_LIMIT

CORRECTION_LEG = 9
"""The leg of orders that get back what an exit sold or bought beyond the position."""


class Purpose(StrEnum):
    """What an order does to the position."""

    ENTRY = "ENTRY"
    EXIT = "EXIT"
    STOP = "STOP"
    """Rests behind a position until it is hit, or becomes the exit."""


class Taken(StrEnum):
    """How a stop became an exit."""

    NO = ""
    EXIT = "exit"
    """An exit came."""
    PASSED = "passed"
    """The price went beyond its limit."""


_ENTRY, _NOT_TAKEN = Purpose.ENTRY, Taken.NO

NO_ORDER_RULES = {
    "already_there": Disposition.ALREADY_THERE,
    "nothing_to_exit": Disposition.NOTHING_TO_EXIT,
    "too_small": Disposition.TOO_SMALL,
}
"""Rules that are no refusal: the signal asks for what is there already, or for nothing."""


def disposition(state: OrderState, rule: str) -> Disposition:
    """Return how the signal ended for this user, as a function of the order's state and rule."""
    if state is OrderState.REFUSED:
        return NO_ORDER_RULES.get(rule.partition(":")[0], Disposition.REFUSED)
    if state in (OrderState.EXPIRED, OrderState.ABSENT, OrderState.REVIEW):
        return Disposition(state.value)
    return Disposition.ORDERED


class Order:
    """One intent and the order that comes of it: the same row, one life.

    The key is (signal_no, user_no, leg, slice, attempt). `path` gathers the states since the last
    journal entry.
    """

    __slots__ = (
        "account",
        "attempt",
        "book",
        "charges_paise",
        "filled",
        "fresh",
        "instrument",
        "leg",
        "met",
        "order_type",
        "path",
        "placed_us",
        "plan",
        "price_paise",
        "product",
        "purpose",
        "quantity",
        "rule",
        "run",
        "side",
        "signal_id",
        "signal_no",
        "slice_no",
        "state",
        "taken",
        "trigger_paise",
        "updated_us",
        "valid_until_us",
        "value_paise",
        "venue_no",
        "wire",
    )

    def __init__(
        self,
        signal_no: int,
        signal_id: str,
        account: Account,
        leg: int,
        book: Book,
        instrument: Instrument,
        run: str,
        purpose: Purpose,
        side: Side,
        product: Product,
        order_type: OrderType,
        quantity: int,
        price_paise: int,
        at_us: int,
    ) -> None:
        self.signal_no = signal_no
        self.signal_id = signal_id
        self.account = account
        self.leg = leg
        self.slice_no = 0
        self.attempt = 0
        self.book = book
        self.instrument = instrument
        self.run = run
        self.purpose = purpose
        self.side = side
        self.product = product
        self.order_type = order_type
        self.quantity = quantity
        self.price_paise = price_paise
        self.state = _NEW
        self.rule = ""
        self.filled = 0
        self.value_paise = 0
        self.charges_paise = 0
        self.venue_no: int | None = None
        self.placed_us = at_us
        self.updated_us = at_us
        self.valid_until_us = 0
        self.path = "NEW"
        self.fresh = True
        self.met = False
        self.trigger_paise = 0
        self.plan: Plan | None = None
        self.taken = _NOT_TAKEN
        self.wire: Wire | None = None

    @property
    def user(self) -> User:
        """Whose order it is."""
        return self.account.user

    @property
    def remaining(self) -> int:
        """Shares not filled yet."""
        return self.quantity - self.filled

    @property
    def tag(self) -> str:
        """The order's public id, and its `ordertag` at a broker."""
        return self.user.tag(self.signal_id, self.leg, self.slice_no, self.attempt)

    def sibling(self, slice_no: int, attempt: int, quantity: int) -> Order:
        """Return a new order of the same intent, with a key and a tag of its own."""
        made = Order(
            self.signal_no,
            self.signal_id,
            self.account,
            self.leg,
            self.book,
            self.instrument,
            self.run,
            self.purpose,
            self.side,
            self.product,
            self.order_type,
            quantity,
            self.price_paise,
            self.placed_us,
        )
        made.slice_no, made.attempt = slice_no, attempt
        made.valid_until_us, made.trigger_paise = self.valid_until_us, self.trigger_paise
        return made

    def apply(self, event: Event, now_us: int) -> None:
        """Move along the lifecycle table and note the step for the journal."""
        self.state = step(self.state, event)
        self.path += ">" + self.state
        self.updated_us = now_us

    def walk(self, events: tuple[Event, ...], now_us: int) -> None:
        """Move along several steps of the table at once."""
        self.state, path = walk(self.state, events)
        self.path += path
        self.updated_us = now_us

    def terms(self, slippage_bps: int) -> OrderTerms:
        """Return what the venue needs to know."""
        return OrderTerms(
            self.side,
            self.quantity - self.filled,
            _MARKET if self.taken else self.order_type,
            self.product,
            self.price_paise,
            self.purpose is _ENTRY,
            self.placed_us,
            self.instrument.symbol,
            self.instrument.tick_paise,
            slippage_bps,
            self.met,
            self.trigger_paise,
            self.order_type is _SL_LIMIT and self.taken is not Taken.EXIT,
            self.filled,
        )

    def limit_terms(self) -> OrderTerms:
        """Return what a broker needs to know: a LIMIT or SL_LIMIT over the whole quantity, never MARKET."""
        terms, wire = self.terms(0), self.wire
        if wire is not None and wire.wish is not None:
            quantity, price, trigger = wire.wish
            return msgspec.structs.replace(
                terms, quantity=quantity, price_paise=price, trigger_paise=trigger, order_type=self.order_type
            )
        followed = terms.order_type is OrderType.MARKET and wire is not None
        return msgspec.structs.replace(
            terms,
            quantity=(wire.want_quantity if wire is not None else 0) or self.quantity,
            order_type=OrderType.LIMIT if followed else self.order_type,
            price_paise=wire.limit_paise if followed and wire is not None else self.price_paise,
            trigger_paise=0 if followed else self.trigger_paise,
            stop=self.order_type is OrderType.SL_LIMIT,
        )

    @property
    def queued(self) -> bool:
        """Whether it waits for its turn to be sent to a broker."""
        return self.wire is not None and self.wire.queued

    def key(self) -> tuple[int, int, int, int, int]:
        """Return the primary key."""
        return (self.signal_no, self.account.user.user_no, self.leg, self.slice_no, self.attempt)

    def row(self) -> tuple[object, ...]:
        """Return the stored columns, key first."""
        return (
            self.signal_no,
            self.account.user.user_no,
            self.leg,
            self.slice_no,
            self.attempt,
            self.purpose,
            self.side,
            self.product,
            self.order_type,
            self.quantity,
            self.price_paise,
            self.state,
            self.rule,
            self.filled,
            self.value_paise,
            self.charges_paise,
            self.venue_no,
            self.placed_us,
            self.updated_us,
        )

    def move(self) -> tuple[object, ...]:
        """Return what the journal keeps of the steps since the last entry."""
        return (
            self.account.user.user_no,
            self.signal_no,
            self.leg,
            self.slice_no,
            self.attempt,
            self.quantity,
            self.filled,
            self.path,
            self.rule,
        )


@dataclass(slots=True)
class Changes:
    """All rows of one transaction, gathered by the deciding core, written by the store.

    Attributes:
        venue_no, fill_no: Counters after this transaction, where they moved.
        wires: Rows of orders at a broker.
        trades: Rows of a broker's fills that are booked: an order's key, the fill's id, its shares.
        seen_ids: Rows of order ids that a broker has shown: user, day, id.
        marks: What is noted of an account, by user number, kind and subject: value and time.
        sends: Orders that wait for their turn to go to a broker.
        writer: Who writes; names its counters.
        triggers: Rows of orders that sleep until a price, or have woken.
        guards: Protection of books.
        amendments, amend_no: Rows of requests about orders at a broker, and the latest one's number.
        day_charges, adjustments, closes: Rows of days that are over, see `order.day_end`.
    """

    inbox: list[tuple[object, ...]] = field(default_factory=list)
    orders: dict[int, Order] = field(default_factory=dict)
    fills: list[tuple[object, ...]] = field(default_factory=list)
    books: dict[BookKey, Book] = field(default_factory=dict)
    cursors: dict[tuple[str, str], tuple[str, int]] = field(default_factory=dict)
    dead_letters: list[tuple[object, ...]] = field(default_factory=list)
    journal: list[Entry] = field(default_factory=list)
    names: list[tuple[int, str, str]] = field(default_factory=list)
    venue_no: int | None = None
    fill_no: int | None = None
    wires: list[tuple[object, ...]] = field(default_factory=list)
    trades: list[tuple[object, ...]] = field(default_factory=list)
    seen_ids: list[tuple[object, ...]] = field(default_factory=list)
    marks: dict[tuple[int, str, str], tuple[str, int]] = field(default_factory=dict)
    sends: list[Order] = field(default_factory=list)
    triggers: list[tuple[object, ...]] = field(default_factory=list)
    amendments: list[tuple[object, ...]] = field(default_factory=list)
    amend_no: int | None = None
    guards: dict[BookKey, Guard] = field(default_factory=dict)
    day_charges: list[tuple[object, ...]] = field(default_factory=list)
    adjustments: list[tuple[object, ...]] = field(default_factory=list)
    closes: list[tuple[object, ...]] = field(default_factory=list)
    writer: Writer = ONLY_WRITER
    _rows: dict[str, list[tuple[object, ...]]] | None = None

    def rows(self) -> dict[str, list[tuple[object, ...]]]:
        """Return all rows by table, whole, in the order of the columns, as they will stand; made once.

        The journal keeps them, so that a row that is changed behind our back is found: whoever adds a
        table adds a line here. The number of a dead letter is the table's to give.
        """
        if self._rows is None:
            counters = (
                ("paper_venue_no", self.venue_no), ("fill_no", self.fill_no), ("amend_no", self.amend_no),
            )  # fmt: skip
            found: dict[str, list[tuple[object, ...]]] = {
                "names": list(self.names),
                "inbox": self.inbox,
                "orders": [order.row() for order in self.orders.values()],
                "fills": self.fills,
                "books": [book.row() for book in self.books.values()],
                "dead_letters": [(None, *row) for row in self.dead_letters],
                "cursors": [(*key, *place) for key, place in self.cursors.items()],
                "venue_orders": self.wires,
                "triggers": self.triggers,
                "amendments": self.amendments,
                "guards": [guard.row() for guard in self.guards.values()],
                "day_charges": self.day_charges,
                "adjustments": self.adjustments,
                "day_closes": self.closes,
                "venue_fills": self.trades,
                "venue_ids": self.seen_ids,
                "account_marks": [(*key, *mark) for key, mark in self.marks.items()],
                "meta": [
                    (self.writer.counter(key), str(count)) for key, count in counters if count is not None
                ],
            }
            self._rows = {table: rows for table, rows in found.items() if rows}
        return self._rows

    @property
    def empty(self) -> bool:
        """Whether there is nothing to write."""
        return not (
            self.inbox or self.orders or self.cursors or self.dead_letters or self.journal or self.books
            or self.wires or self.triggers or self.amendments or self.closes or self.trades
            or self.seen_ids or self.marks or self.guards
        )
