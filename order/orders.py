"""Orders in memory and the changes that one decision makes to the store."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from broker.base import OrderTerms
from order.accounts import Account
from order.books import Book, BookKey
from order.journal import Entry
from order.lifecycle import Event, step, walk
from order.users import User
from shared.ids import order_tag
from shared.instruments import Instrument
from shared.models import Disposition, OrderState, OrderType, Product, Side

DIRECT_ENGINE = "direct"
"""Stands in the inbox where a signal's engine would, for orders given by hand or by a program."""

MANUAL = "manual"
"""The strategy that owns direct orders, and the market of those without market data."""


class Purpose(StrEnum):
    """What an order does to the position."""

    ENTRY = "ENTRY"
    EXIT = "EXIT"


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
        "updated_us",
        "valid_until_us",
        "value_paise",
        "venue_no",
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
        self.state = OrderState.NEW
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
        user = self.user
        return order_tag(user.broker, user.user_id, self.signal_id, self.leg, self.slice_no, self.attempt)

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
            self.order_type,
            self.product,
            self.price_paise,
            self.purpose is Purpose.ENTRY,
            self.placed_us,
            self.instrument.symbol,
            self.instrument.tick_paise,
            slippage_bps,
            self.met,
        )

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
        sends: Claimed orders that go over a wire after the commit.
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
    sends: list[Order] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to write."""
        return not (
            self.inbox or self.orders or self.cursors or self.dead_letters or self.journal or self.books
        )
