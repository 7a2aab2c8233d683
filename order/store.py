"""What the order room needs of a store; SQLite and PostgreSQL pass the same suite of tests."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from order.books import Book, BookKey
from order.day_end import DayStore
from order.journal import Journal
from order.orders import Changes
from order.users import User
from order.writer import ONLY_WRITER, Writer
from shared.models import OrderState, Side


@dataclass(slots=True)
class Loaded:
    """Everything that the deciding core needs to go on where the store stands.

    Attributes:
        names: Number, kind and name.
        at_work: Rows of orders that are not done, with their inbox columns; see `StoredOrder`.
        cursors: (group, engine) → (epoch, seq).
        writer: Whose rows these are.
        unheard: No group, of this writer or another, has ever had a cursor.
        ended: User number and tag of orders at a broker that are filled.
        late: Orders at a broker that lately ended unfilled: the broker may show more of them yet.
        placed: User, market number and market time of the latest orders, whatever their venue, oldest first.
        sends: User number and wall time of the order calls of the last hour, and whether an entry.
        seen_ids: User number, day and id of the orders that a broker has shown lately.
        attempts: Highest attempt above 0, by signal, user, leg and slice.
        absences: How many attempts were found absent, by the same.
        marks: What is noted of accounts, by user number, kind and subject.
        environment: What the store is marked with.
        unjournaled: All rows by table of a store older than the journal's keeping of rows; empty elsewhere.
        amendments: Rows of requests that are not settled, see `order.amend.Amendment.row`; `amend_no` is the
            number of the latest one, settled or not.
        guards: Rows of the protection of books, see `order.guards.Guard.row`.
        deliveries: Fills of open DELIVERY books, oldest first: book, side, shares, market time.
        closes: Market number, day up to which it is booked, first signal whose fills may come later.
    """

    users: list[User] = field(default_factory=list)
    names: list[tuple[int, str, str]] = field(default_factory=list)
    books: list[Book] = field(default_factory=list)
    at_work: list[StoredOrder] = field(default_factory=list)
    cursors: dict[tuple[str, str], tuple[str, int]] = field(default_factory=dict)
    ended: list[tuple[int, str]] = field(default_factory=list)
    late: list[StoredOrder] = field(default_factory=list)
    sends: list[tuple[int, int, bool]] = field(default_factory=list)
    seen_ids: list[tuple[int, int, str]] = field(default_factory=list)
    attempts: dict[tuple[int, int, int, int], int] = field(default_factory=dict)
    absences: dict[tuple[int, int, int, int], int] = field(default_factory=dict)
    marks: dict[tuple[int, str, str], str] = field(default_factory=dict)
    environment: str = ""
    unjournaled: dict[str, list[tuple[object, ...]]] = field(default_factory=dict)
    amendments: list[tuple[int | str | None, ...]] = field(default_factory=list)
    amend_no: int = 0
    placed: list[tuple[int, int, int]] = field(default_factory=list)
    guards: list[tuple[int | str | None, ...]] = field(default_factory=list)
    closes: list[tuple[int, int, int]] = field(default_factory=list)
    deliveries: list[tuple[BookKey, Side, int, int]] = field(default_factory=list)
    writer: Writer = ONLY_WRITER
    unheard: bool = True
    signal_no: int = 0
    venue_no: int = 0
    fill_no: int = 0
    journal: Journal = field(default_factory=lambda: Journal("order"))

    @property
    def told(self) -> dict[str, object]:
        """Return what the journal keeps of the store itself at a start."""
        return {"environment": self.environment, **self.writer.told}


@dataclass(slots=True)
class StoredOrder:
    """One row of `orders` with what its inbox row adds.

    Attributes:
        row: The columns of `orders`, key first.
        payload: The signal or request as it was taken in.
        venue_order_id, sent_us, lost_us, settled_us: Of an order at a broker; empty and 0 on paper.
        fills: Shares booked of the broker's fills, by their id.
        trigger_paise: Of a stop that has not woken; 0 for the others.
    """

    row: tuple[Any, ...]
    signal_id: str
    market_no: int
    strategy_no: int
    symbol_no: int
    payload: bytes
    venue_order_id: str = ""
    sent_us: int = 0
    trigger_paise: int = 0
    lost_us: int = 0
    settled_us: int = 0
    fills: dict[str, int] = field(default_factory=dict)


class OrderStore(DayStore, Protocol):
    """One writer's store. Every method that writes is one durable transaction, or raises `StoreError`.

    Where another writer has taken over, `LockHeld` is raised by all of them, and nothing is written.
    """

    def load(self) -> Loaded:
        """Return the state that all committed transactions left."""
        ...

    def commit(self, changes: Changes) -> None:
        """Write *changes* in one transaction; all of it is durable when this returns."""
        ...

    def find_signal(self, group: str, signal_id: str) -> tuple[int, bytes] | None:
        """Return number and payload of a signal that *group* has taken in, or None."""
        ...

    def order_state(self, signal_no: int, user_no: int) -> tuple[OrderState, int, int, str]:
        """Return state, filled shares, value in paise and rule of a direct order."""
        ...

    def save_user(self, user: User, journal_body: object, at_us: int, journal: Journal) -> None:
        """Write a user with subscriptions (new, or in place of the stored one) and journal it."""
        ...

    def try_out(self) -> None:
        """Write something that changes nothing: where this raises, nothing can be written now."""
        ...

    def hold(self, account: str) -> None:
        """Keep every other order manager off an account at a broker for as long as this store is open.

        Raises:
            LockHeld: Another one has it; the message says who.
        """
        ...

    def after_answer(self, *, idle: bool) -> None:
        """Do what is due but must not delay an answer (checkpoint); more of it when *idle*."""
        ...

    def close(self) -> None:
        """Close; committed state stays."""
        ...
