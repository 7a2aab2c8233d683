"""A modify or a cancel of an order at a broker: a request with a life of its own.

It is asked for, claimed, sent once, and settled by reading the order back; what the broker answers is a
hint. One whose answer is lost is UNKNOWN and is not sent again before a reading has shown what holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from broker.base import OrderTerms, VenueOrder, VenueState
from shared.models import OrderType

TAKEN_US = 2_000_000
"""A request that the broker took and its books do not show after so long has lapsed."""

UNKNOWN_US = 5_000_000
"""The same for one whose answer was lost: it may still be on its way."""

WITHDRAWN_AT_START = "this process began anew before it was sent"


class AmendState(StrEnum):
    """Where a request is."""

    __hash__ = str.__hash__

    REQUESTED = "REQUESTED"
    """Decided; waits for its turn."""
    SENT = "SENT"
    """Claimed, and on its way."""
    TAKEN = "TAKEN"
    """The broker says that it has it; its books do not show it yet."""
    UNKNOWN = "UNKNOWN"
    """The answer is lost."""
    DONE = "DONE"
    """The books show it."""
    REFUSED = "REFUSED"
    """The broker said no, or the order had ended."""
    LAPSED = "LAPSED"
    """The books, read long enough afterwards, show the order as it was."""
    WITHDRAWN = "WITHDRAWN"
    """Not sent: no longer wanted."""


S = AmendState
OPEN = frozenset({S.REQUESTED, S.SENT, S.TAKEN, S.UNKNOWN})
TABLE: dict[AmendState, frozenset[AmendState]] = {
    S.REQUESTED: frozenset({S.SENT, S.WITHDRAWN}),
    # A reading may overtake the answer.
    S.SENT: frozenset({S.TAKEN, S.UNKNOWN, S.REFUSED, S.DONE, S.WITHDRAWN}),
    S.TAKEN: frozenset({S.DONE, S.REFUSED, S.LAPSED}),
    S.UNKNOWN: frozenset({S.TAKEN, S.DONE, S.REFUSED, S.LAPSED, S.WITHDRAWN}),
    S.DONE: frozenset(),
    S.REFUSED: frozenset(),
    S.LAPSED: frozenset(),
    S.WITHDRAWN: frozenset(),
}

OrderKey = tuple[int, int, int, int, int]


@dataclass(slots=True)
class Amendment:
    """One request about one order.

    Attributes:
        number: Rising over all of a store.
        key: Of the order: signal, user, leg, slice, attempt.
        cancel: Cancel it; otherwise modify it to *terms*.
        terms: How the order shall be: type, total quantity, limit and trigger.
        asked_us, sent_us, updated_us: Wall times; `sent_us` is 0 before the claim.
        reason: Why it ended as it did.
    """

    number: int
    key: OrderKey
    tag: str
    venue_order_id: str
    cancel: bool
    terms: OrderTerms
    asked_us: int
    state: AmendState = S.REQUESTED
    sent_us: int = 0
    updated_us: int = 0
    reason: str = ""

    @property
    def open(self) -> bool:
        """Whether it is not settled."""
        return self.state in OPEN

    def move(self, state: AmendState, now_us: int, reason: str = "") -> None:
        """Move along the table.

        Raises:
            ValueError: The table has no such move.
        """
        if state not in TABLE[self.state]:
            raise ValueError(f"a request that is {self.state} cannot be {state}")
        self.state, self.updated_us = state, now_us
        self.reason = reason or self.reason

    def row(self) -> tuple[object, ...]:
        """Return the stored columns, key first."""
        terms = self.terms
        return (
            *self.key, self.number, "CANCEL" if self.cancel else "MODIFY", self.state, terms.order_type,
            terms.quantity, terms.price_paise, terms.trigger_paise, self.asked_us, self.sent_us,
            self.updated_us or self.asked_us, self.reason,
        )  # fmt: skip


def read_back(amendment: Amendment, row: VenueOrder, asked_us: int) -> tuple[AmendState, str] | None:
    """Return how a reading settles a request, or None where it does not.

    Args:
        amendment: Sent.
        row: The order as the books show it.
        asked_us: Wall time just before the reading was asked for.
    """
    if amendment.state is S.REQUESTED or asked_us < amendment.sent_us:
        return None
    if row.state is VenueState.CANCELLED and amendment.cancel:
        return S.DONE, ""
    if row.state is not VenueState.WORKING:
        return S.REFUSED, f"the order had ended: {row.state.value}"
    if not amendment.cancel and shows(amendment.terms, row):
        return S.DONE, ""
    patience_us = {S.TAKEN: TAKEN_US, S.UNKNOWN: UNKNOWN_US}.get(amendment.state)
    if patience_us is None or asked_us < amendment.sent_us + patience_us:
        return None
    return S.LAPSED, "the books show the order as it was"


def shows(terms: OrderTerms, row: VenueOrder) -> bool:
    """Return whether the books show an order as *terms* want it."""
    if row.price_paise != terms.price_paise or row.quantity != terms.quantity:
        return False
    return terms.order_type is not OrderType.SL_LIMIT or row.trigger_paise == terms.trigger_paise
