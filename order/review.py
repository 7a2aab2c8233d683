"""Orders that wait for a human: what is known of them, and how a human settles one by hand."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import StrEnum

import msgspec
import structlog

from broker.base import VenueFill, VenueOrder
from order.lifecycle import Event
from order.orders import Order
from order.reports import Reports
from order.resolver import DOUBLED
from shared.errors import ConfigurationError
from shared.models import OrderState, instant, paise, rupees

log = structlog.get_logger(__name__)

BY_HAND = "settled by hand"
"""So begins the rule of an order that a human settled."""

_LOOK = "`trading orders review` lists those that wait."


class How(StrEnum):
    """What a human found out about an order."""

    FILLED = "filled"
    """So many shares at such a price; the rest was cancelled."""
    CANCELLED = "cancelled"
    """The broker had it, and no more of it was filled."""
    ABSENT = "absent"
    """The broker never had it."""
    SEEN = "seen"
    """Two orders under one tag: looked into; the account may be armed again."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What a human says.

    Attributes:
        order_id: The order's tag.
        quantity: Shares filled beyond those that are booked; with FILLED only.
        price: Rupees a share; with FILLED only.
        who: Who says so, for the journal.
    """

    order_id: str
    how: How
    quantity: int = 0
    price: Decimal = Decimal(0)
    who: str = ""


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One order that waits, with the evidence. Times are UTC, prices rupees.

    Attributes:
        state: REVIEW, UNKNOWN (it may yet settle by itself), or DOUBLED.
        why: What left it open.
        sent_at: Wall time of its one send; None before it.
        good_reads: Good readings of the books that did not show it.
        read_at: When the broker's books were read last; None where nobody reads them.
        shown: What they show under its tag, or else by others in its symbol, one line each.
        position: The broker's net shares in its symbol and product; None where they were not read.
        ours: Our net shares there.
    """

    order_id: str
    user_id: str
    strategy_id: str
    symbol: str
    product: str
    purpose: str
    side: str
    quantity: int
    filled: int
    state: str
    why: str
    sent_at: datetime | None
    good_reads: int
    attempt: int
    read_at: datetime | None
    shown: list[str]
    position: int | None
    ours: int


class Reviews(Reports):
    """What a human sees and says."""

    def cases(self) -> list[Case]:
        """Return what waits for a human, and what may come to it."""
        found = []
        for line in self.lines.values():
            for tag, order in line.orders.items():
                if order.state in (OrderState.REVIEW, OrderState.UNKNOWN):
                    found.append(self.case(order))
                elif tag in line.doubled:
                    found.append(self.case(order, "DOUBLED"))
        return found

    def settle(self, verdict: Verdict, now_us: int) -> Order:
        """Settle an order as a human says; return it.

        Raises:
            ConfigurationError: There is no such order, or what is said cannot be true of it.
        """
        tag = verdict.order_id
        if verdict.how is How.SEEN:
            return self._seen_to(tag, verdict, now_us)
        order = next((line.orders[tag] for line in self.lines.values() if tag in line.orders), None)
        if order is None or order.state is not OrderState.REVIEW:
            stands = "is not known" if order is None else f"is {order.state}, not REVIEW"
            raise ConfigurationError(f"Order {tag} {stands}.", remedy=_LOOK)
        _check(order, verdict)
        order.rule = f"{BY_HAND}: {verdict.how}"
        self.fate_known(order, now_us)
        if verdict.how is How.ABSENT:
            self.moved(order, Event.CONFIRM_ABSENT, now_us)
        else:
            if verdict.how is How.FILLED:
                price = paise(verdict.price)
                at_us = order.placed_us
                self.fill(order, VenueFill(verdict.quantity, price, at_us, price, at_us), now_us)
            if order.remaining:
                self.moved(order, Event.CANCEL, now_us)
        again = self.try_exit_again(order, now_us)
        if again is not None and again.wire is not None:
            again.wire.absences = 0  # a human has looked
        said = [tag, verdict.how.value, verdict.quantity, str(verdict.price), verdict.who]
        self.journal_moves("review", now_us, list(said))
        log.warning("an order was settled by hand", tag=tag, how=verdict.how.value, who=verdict.who)
        return order

    # -- inside ----------------------------------------------------------------------------------

    def _seen_to(self, tag: str, verdict: Verdict, now_us: int) -> Order:
        for user_no, line in self.lines.items():
            order = line.orders.get(tag)
            if tag in line.doubled and order is not None:
                line.doubled.discard(tag)
                self.note_account(user_no, DOUBLED, tag, f"2 seen by {verdict.who}", now_us)
                return order
        raise ConfigurationError(f"No two orders carry the tag {tag}, as far as is known.", remedy=_LOOK)

    def case(self, order: Order, state: str = "") -> Case:
        """Return how an order stands, with the evidence."""
        wire, line = order.wire, self.line(order.user.user_no)
        key = order.instrument.symbol, order.product.value
        return Case(
            order_id=order.tag,
            user_id=order.user.user_id,
            strategy_id=self.name_of(order.book.key[1]),
            symbol=key[0],
            product=key[1],
            purpose=order.purpose.value,
            side=order.side.value,
            quantity=order.quantity,
            filled=order.filled,
            state=state or order.state.value,
            why=order.rule,
            sent_at=instant(wire.sent_us) if wire is not None and wire.sent_us else None,
            good_reads=max(wire.absent_reads, wire.changed_reads) if wire is not None else 0,
            attempt=order.attempt,
            read_at=instant(line.asked_us) if line.asked_us else None,
            shown=_shown(order, line.rows),
            position=None if line.nets is None else line.nets.get(key, 0),
            ours=self.positions(order.user.user_no, order.run).get(key, 0),
        )


def _check(order: Order, verdict: Verdict) -> None:
    tag = order.tag
    if verdict.how is How.ABSENT and order.filled:
        raise ConfigurationError(
            f"Order {tag} is not absent: {order.filled} shares of it are booked.", remedy="Say --cancelled."
        )
    if verdict.how is How.FILLED and not 0 < verdict.quantity <= order.remaining:
        raise ConfigurationError(
            f"{verdict.quantity} shares cannot be filled: {order.remaining} of {tag} are not booked yet.",
            remedy="Give what was filled beyond those that are booked.",
        )
    tick = order.instrument.tick_paise
    if verdict.how is How.FILLED and (verdict.price <= 0 or verdict.price * 100 % tick):
        raise ConfigurationError(
            f"{verdict.price} is no price of {order.instrument.symbol}.",
            remedy=f"Give rupees above 0 in steps of {rupees(tick)}.",
        )


def _shown(order: Order, rows: tuple[VenueOrder, ...]) -> list[str]:
    """Return the rows under an order's tag, or, where there is none, others' rows that could be it."""
    under = [row for row in rows if row.tag == order.tag]
    others = [
        row
        for row in rows
        if row.symbol == order.instrument.symbol and row.side is order.side and not row.tag
    ]
    return [
        f"{row.venue_order_id} {row.side} {row.filled} of {row.quantity} {row.symbol}"
        f" at {rupees(row.price_paise)} {row.state.value}{'' if row.tag else ', without a tag'}"
        for row in under or others
    ]
