"""The broker's money held against ours: what trades came to, and cash that moved without one.

Pure. Charges are no part of it: a broker takes them after the day, and `order.day_charges` reckons them.
What a broker calls available also depends on what it blocks, so it is compared only while nothing does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from broker.base import VenueOrder, VenuePosition, VenueState
from order.orders import Order
from order.reconcile import Finding, Kind, Reconciliation
from order.review import BY_HAND
from shared.clock import ist_day
from shared.models import Side

ROUNDING = 1
"""Paise a share by which sums may differ: a broker's average of two decimals is as exact."""


def money_of_orders(rows: Iterable[VenueOrder], ours: Mapping[str, Order]) -> list[Finding]:
    """Return our orders whose fills are booked at another value than the broker's own trades come to.

    Of an order that a human settled it is only told: they gave one price, in steps of a tick, for all trades.

    Args:
        rows: The broker's orders of the day, with their trades.
        ours: By tag.
    """
    found = []
    for row in rows:
        order = ours.get(row.tag)
        if order is None or not order.filled or _traded(row) != order.filled:
            continue  # what is not booked yet, or not told yet, is a matter of shares
        value = _value(row)
        if abs(value - order.value_paise) > ROUNDING * order.filled:
            text = (
                f"{row.symbol} {row.product}: order {row.tag} is booked at {_rupees(order.value_paise)}, "
                f"the broker's trades come to {_rupees(value)}"
            )
            kind = Kind.MONEY if order.rule.startswith(BY_HAND) else Kind.DIFFERENCE
            found.append(Finding(kind, row.symbol, row.product.value, 0, text=text))
    return found


def money_of_positions(rows: Iterable[VenueOrder], positions: Iterable[VenuePosition]) -> list[Finding]:
    """Return where a broker's positions tell other sums of the day than its own trades come to.

    Only where both tell the same shares: an order that fills between two readings is no finding.

    Args:
        rows: The broker's orders of the day, ours and others'.
        positions: Read after them.
    """
    traded: dict[tuple[str, str, Side], list[int]] = {}
    for row in rows:
        sums = traded.setdefault((row.symbol, row.product.value, row.side), [0, 0])
        sums[0] += _traded(row)
        sums[1] += _value(row)
    found = []
    for each in positions:
        for side, shares, paise, verb in (
            (Side.BUY, each.bought, each.paid_paise, "paid"),
            (Side.SELL, each.sold, each.received_paise, "received"),
        ):
            known, value = traded.get((each.symbol, each.product.value, side), (0, 0))
            if not (shares and paise) or shares != known or abs(paise - value) <= ROUNDING * shares:
                continue
            text = (
                f"{each.symbol} {each.product}: {_rupees(paise)} {verb} for {shares} "
                f"by the broker's positions, {_rupees(value)} by its trades"
            )
            found.append(Finding(Kind.MONEY, each.symbol, each.product.value, 0, text=text))
    return found


def at_rest(rows: Iterable[VenueOrder], positions: Iterable[VenuePosition]) -> bool:
    """Whether the account blocks no money: nothing is open and no order works."""
    return not any(each.quantity for each in positions) and all(
        row.state is not VenueState.WORKING for row in rows
    )


def turnover_paise(rows: Iterable[VenueOrder]) -> int:
    """Return what all trades of the day came to, bought and sold."""
    return sum(map(_value, rows))


def moved_paise(before: Reconciliation | None, now: Reconciliation) -> int:
    """Return the cash that moved this day without a trade, as far as comparisons at rest show it.

    Args:
        before: The last comparison, of this process or the one before it.
        now: This one, its own `moved_paise` not reckoned yet.
    """
    if before is None or ist_day(before.at_us) != ist_day(now.at_us):
        return 0
    same = before.at_rest and now.at_rest and before.turnover_paise == now.turnover_paise
    return before.moved_paise + (now.cash_paise - before.cash_paise if same else 0)


def money_moved(paise: int) -> list[Finding]:
    """Return what there is to tell of cash that moved without a trade."""
    if not paise:
        return []
    way = "came in" if paise > 0 else "went out"
    text = f"{_rupees(abs(paise))} {way} today without a trade: paid, or charged by the broker"
    return [Finding(Kind.MONEY, "", "", 0, text=text)]


def _traded(row: VenueOrder) -> int:
    return sum(trade.quantity for trade in row.trades)


def _value(row: VenueOrder) -> int:
    return sum(trade.quantity * trade.price_paise for trade in row.trades)


def _rupees(paise: int) -> str:
    return f"₹{paise / 100:,.2f}"
