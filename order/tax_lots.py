"""Closed trades by tax class: lots first in, first out, per user and instrument.

Shares bought and sold on the same day are a day trade, whatever the product: speculative business. The
rest are capital gains, short term up to a year and long term beyond it, matched with the oldest lot that
is left. Losses carry over by class, so each closed part is a row of its own. Not advice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date
from enum import StrEnum

from shared.models import Side

_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()


class TaxClass(StrEnum):
    """How the profit of a closed part is taxed."""

    SPECULATIVE = "speculative"
    SHORT_TERM = "short_term"
    LONG_TERM = "long_term"


@dataclass(frozen=True, slots=True)
class Trade:
    """One fill, or several at one price; `day` in days since the epoch, IST; `charges_paise` of all of it."""

    day: int
    side: Side
    quantity: int
    price_paise: int
    charges_paise: int = 0


@dataclass(frozen=True, slots=True)
class Closed:
    """Shares that were bought and sold.

    Attributes:
        bought, sold: Days; a short day trade is bought after it is sold.
        charges_paise: Its part of what purchase and sale cost, by shares; parts of a trade add up to it.
        profit_paise: Before charges.
    """

    tax_class: TaxClass
    quantity: int
    bought: int
    sold: int
    cost_paise: int
    proceeds_paise: int
    charges_paise: int = 0

    @property
    def profit_paise(self) -> int:
        """Proceeds less cost."""
        return self.proceeds_paise - self.cost_paise


@dataclass(frozen=True, slots=True)
class Lots:
    """What trades come to: closed parts in the order of their sale, and what is left of each purchase.

    Attributes:
        uncovered: Sales without shares to match: bought before the books began, or short overnight.
    """

    closed: tuple[Closed, ...]
    open: tuple[Trade, ...]
    uncovered: tuple[Trade, ...]


def tax_lots(trades: Iterable[Trade]) -> Lots:
    """Return the lots of one user in one instrument.

    Args:
        trades: In the order of their execution, days rising.

    Raises:
        ValueError: A day comes before one that was there.
    """
    held: deque[Trade] = deque()
    closed: list[Closed] = []
    uncovered: list[Trade] = []
    last = 0
    for day, own in _days(trades):
        if day < last:
            raise ValueError(f"day {day} comes after day {last}")
        last = day
        buys, sells = (deque(each for each in own if each.side is side) for side in (Side.BUY, Side.SELL))
        while buys and sells:
            closed.append(_match(buys, sells, TaxClass.SPECULATIVE))
        while sells and held:
            term = TaxClass.LONG_TERM if _beyond_a_year(held[0].day, day) else TaxClass.SHORT_TERM
            closed.append(_match(held, sells, term))
        uncovered.extend(sells)
        held.extend(buys)
    return Lots(tuple(closed), tuple(held), tuple(uncovered))


def _days(trades: Iterable[Trade]) -> list[tuple[int, list[Trade]]]:
    found: list[tuple[int, list[Trade]]] = []
    for trade in trades:
        if not found or found[-1][0] != trade.day:
            found.append((trade.day, []))
        found[-1][1].append(trade)
    return found


def _match(buys: deque[Trade], sells: deque[Trade], tax_class: TaxClass) -> Closed:
    """Match the first of both and leave what remains of them."""
    buy, sell = buys.popleft(), sells.popleft()
    shares = min(buy.quantity, sell.quantity)
    charges = 0
    for queue, trade in ((buys, buy), (sells, sell)):
        part = trade.charges_paise * shares // trade.quantity
        charges += part
        if trade.quantity > shares:
            rest = trade.charges_paise - part
            queue.appendleft(replace(trade, quantity=trade.quantity - shares, charges_paise=rest))
    cost, proceeds = shares * buy.price_paise, shares * sell.price_paise
    return Closed(tax_class, shares, buy.day, sell.day, cost, proceeds, charges)


def _beyond_a_year(bought: int, sold: int) -> bool:
    """Whether shares were held for more than twelve months, counted by the calendar."""
    start = date.fromordinal(bought + _EPOCH_ORDINAL)
    end = date.fromordinal(sold + _EPOCH_ORDINAL)
    return (end.year - start.year, (end.month, end.day)) > (1, (start.month, start.day))
