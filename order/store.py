"""What the order room needs of a store; SQLite keeps it today, PostgreSQL must pass the same suite."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from order.books import Book
from order.journal import Journal
from order.orders import Changes
from order.users import User
from shared.models import OrderState


@dataclass(slots=True)
class Loaded:
    """Everything that the deciding core needs to go on where the store stands.

    Attributes:
        names: Number, kind and name.
        at_work: Rows of orders that are not done, with their inbox columns; see `StoredOrder`.
        cursors: (group, engine) → (epoch, seq).
    """

    users: list[User] = field(default_factory=list)
    names: list[tuple[int, str, str]] = field(default_factory=list)
    books: list[Book] = field(default_factory=list)
    at_work: list[StoredOrder] = field(default_factory=list)
    cursors: dict[tuple[str, str], tuple[str, int]] = field(default_factory=dict)
    signal_no: int = 0
    venue_no: int = 0
    fill_no: int = 0
    journal: Journal = field(default_factory=lambda: Journal("order"))


@dataclass(frozen=True, slots=True)
class StoredOrder:
    """One row of `orders` with what its inbox row adds.

    Attributes:
        row: The columns of `orders`, key first.
        payload: The signal or request as it was taken in.
    """

    row: tuple[int | str | None, ...]
    signal_id: str
    market_no: int
    strategy_no: int
    symbol_no: int
    payload: bytes


class OrderStore(Protocol):
    """One writer's store. Every method that writes is one durable transaction, or raises `StoreError`."""

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

    def after_answer(self, *, idle: bool) -> None:
        """Do what is due but must not delay an answer (checkpoint); more of it when *idle*."""
        ...

    def close(self) -> None:
        """Close; committed state stays."""
        ...
