"""The broker's account held against our books: what is ours, what is others', and what nobody explains.

Pure. What is not explained is told and changes nothing; only trades that the broker shows are ever booked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import msgspec

from broker.base import VenueOrder, VenuePosition
from shared.calendar import IST
from shared.models import Product, Side, instant

Key = tuple[str, str]
"""Symbol and product."""

RECONCILED, FINAL = "reconciled", "final"
"""Kinds of marks: the last comparison, and that of a day's final books."""

SQUARE_OFF = re.compile(r"square[ -]?off", re.IGNORECASE)
"""In these words a broker says why it closed an intraday position."""


class Kind(StrEnum):
    """Whose a difference is."""

    EXTERNAL = "EXTERNAL"
    """Orders of others, beside our position."""
    BY_HAND = "BY_HAND"
    """Our position closed by the user's own order."""
    BROKER_SQUAREOFF = "BROKER_SQUAREOFF"
    """Our position closed by the broker at the end of the day."""
    DIFFERENCE = "DIFFERENCE"
    """Not explained by any order that is known."""
    MONEY = "MONEY"
    """Sums that disagree at the broker itself, or cash that moved without a trade: see `order.cash`."""


class Finding(msgspec.Struct, frozen=True):
    """One difference.

    Attributes:
        shares: The broker's beyond ours, signed; of a close: how many of ours are closed, above 0.
        order_id: The broker's order that closed ours; empty for the others.
        covered: The broker's position is at least ours, in the same direction.
    """

    kind: Kind
    symbol: str
    product: str
    shares: int
    order_id: str = ""
    covered: bool = True
    text: str = ""


class Reconciliation(msgspec.Struct, frozen=True, kw_only=True):
    """How one comparison went.

    Attributes:
        at_us: Wall time.
        when: What it was for: start, minute, change, arm, close.
        clean: Nothing is unexplained.
        cash_paise: What the broker says is available.
        orders, foreign: In the broker's book of the day: all, and those that are not ours.
        at_rest: Nothing is open there and no order works, so that nothing is blocked.
        turnover_paise: What all trades of the day came to there.
        moved_paise: Cash that moved this day without a trade.
    """

    at_us: int
    when: str
    clean: bool
    findings: tuple[Finding, ...] = ()
    orders: int = 0
    foreign: int = 0
    cash_paise: int = 0
    at_rest: bool = False
    turnover_paise: int = 0
    moved_paise: int = 0

    def __str__(self) -> str:
        """Return it in one line: when, what for, how it went, and what the account has."""
        at = instant(self.at_us).astimezone(IST).strftime("%d %b %Y %H:%M:%S")
        said = "clean" if self.clean else "; ".join(self.notes) or "two orders carry one tag"
        foreign = f", {self.foreign} of others" if self.foreign else ""
        money = [each.text for each in self.findings if each.kind is Kind.MONEY]
        there = "; ".join([f"₹{self.cash_paise / 100:,.2f} there", *money])
        return f"{at} IST ({self.when}): {said}; {self.orders} orders{foreign}, {there}"

    @property
    def notes(self) -> list[str]:
        """What is not explained, one line each."""
        return [each.text for each in self.findings if each.kind is Kind.DIFFERENCE]

    @property
    def others(self) -> list[str]:
        """What others hold and did, one line each."""
        return [each.text for each in self.findings if each.kind is not Kind.DIFFERENCE]


@dataclass(frozen=True, slots=True)
class Sight:
    """What is compared.

    Attributes:
        ours, theirs: Net shares by symbol and product.
        rows: The broker's orders of the day.
        is_ours: Whether a row is one of our orders.
        booked: Shares of others' orders that our books have as closes, by the broker's order id.
        held: Shares in the demat account by symbol, for DELIVERY.
        owned: Shares of others' orders that were theirs alone in an earlier comparison, by the broker's order
            id: they close nothing of ours later.
    """

    ours: Mapping[Key, int]
    theirs: Mapping[Key, int]
    rows: Sequence[VenueOrder]
    is_ours: Callable[[VenueOrder], bool]
    booked: Mapping[str, int]
    held: Mapping[str, int]
    owned: Mapping[str, int] = field(default_factory=dict)


def compare(sight: Sight) -> list[Finding]:
    """Return all differences, sorted by symbol and product."""
    foreign: dict[Key, list[VenueOrder]] = {}
    for row in sight.rows:
        if row.filled and not sight.is_ours(row):
            foreign.setdefault((row.symbol, row.product.value), []).append(row)
    found: list[Finding] = []
    for key in sorted({*sight.ours, *sight.theirs, *foreign}):
        found += _of_key(sight, key, foreign.get(key, []))
    return found


def net_shares(positions: Sequence[VenuePosition]) -> dict[tuple[str, str], int]:
    """Return a broker's net shares by symbol and product."""
    nets: dict[tuple[str, str], int] = {}
    for each in positions:
        key = each.symbol, each.product.value
        nets[key] = nets.get(key, 0) + each.quantity
    return nets


def _of_key(sight: Sight, key: Key, rows: list[VenueOrder]) -> list[Finding]:
    ours, theirs = sight.ours.get(key, 0), sight.theirs.get(key, 0)
    held = sight.held.get(key[0], 0) if key[1] == Product.DELIVERY else 0
    if held and ours > theirs and held + theirs >= ours:
        theirs = ours + sum(_open(sight, row) for row in rows)  # ours lie in the demat account by now
    others = sum(_open(sight, row) for row in rows)
    if theirs - ours != others:
        text = f"{key[0]} {key[1]}: {theirs} at the broker, {ours} here"
        text += f", {others:+} by others' orders" if others else ""
        return [Finding(Kind.DIFFERENCE, *key, theirs - ours, covered=_covers(theirs, ours), text=text)]
    lacking = 0 if _covers(theirs, ours) else abs(ours) - max(theirs if ours > 0 else -theirs, 0)
    found: list[Finding] = []
    closing = Side.SELL if ours > 0 else Side.BUY
    all_fresh = sum(_fresh(sight, row) for row in rows)
    for row in reversed(rows):
        fresh = abs(_fresh(sight, row))
        shares = 0 if held else min(lacking, fresh)
        if all_fresh == -ours and (held or not lacking) and not found and fresh == row.filled == abs(ours):
            shares = fresh  # of just our size: it closed ours, though there are own shares beside
        if row.side is not closing or not shares:
            continue
        lacking = max(lacking - shares, 0)
        others += shares if closing is Side.SELL else -shares
        kind = Kind.BROKER_SQUAREOFF if SQUARE_OFF.search(row.reason) else Kind.BY_HAND
        who = "the broker" if kind is Kind.BROKER_SQUAREOFF else "hand"
        text = f"{key[0]} {key[1]}: {shares} of ours closed by {who}, order {row.venue_order_id}"
        found.append(Finding(kind, *key, shares, row.venue_order_id, text=text))
    if others:
        text = f"{key[0]} {key[1]}: {others:+} by others' orders"
        found.append(Finding(Kind.EXTERNAL, *key, others, covered=not lacking, text=text))
    return found


def _open(sight: Sight, row: VenueOrder) -> int:
    """Return a row's shares that our books do not have, signed."""
    shares = max(row.filled - sight.booked.get(row.venue_order_id, 0), 0)
    return shares if row.side is Side.BUY else -shares


def _fresh(sight: Sight, row: VenueOrder) -> int:
    """Return those of them that were not there in an earlier comparison, signed."""
    opened = _open(sight, row)
    shares = max(abs(opened) - sight.owned.get(row.venue_order_id, 0), 0)
    return shares if opened > 0 else -shares


def _covers(theirs: int, ours: int) -> bool:
    return abs(theirs) >= abs(ours) and (not ours or (theirs > 0) is (ours > 0))
