"""A client's charges of one day, scrip by scrip, as a contract note has them.

STT and stamp duty follow what is delivered and not the product: shares bought and sold on the same day
are intraday trades, the rest is delivered, each at the day's average price; both are rounded to the rupee
per scrip. So shares bought for DELIVERY and sold the same day pay what INTRADAY pays. In a trade-to-trade
series every share is delivered. Brokerage and levies stay per order.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from order.books import BookKey
from order.charges import SHARES, Charges, Parts, to_paise, to_rupee
from shared.models import Product, Side


@dataclass(frozen=True, slots=True)
class Scrip:
    """What the charges of an instrument depend on: `EQ`, `ETF` or `ETF_OTHER`, and its series."""

    kind: str = SHARES
    trade_to_trade: bool = False


@dataclass(frozen=True, slots=True)
class DayFill:
    """One fill of the day.

    Attributes:
        order: Which order it is of; brokerage is per order.
        book: Whose book it went to; its symbol number is the scrip.
        charges_paise: Booked with it, an estimate.
    """

    order: Hashable
    book: BookKey
    side: Side
    quantity: int
    price_paise: int
    charges_paise: int


@dataclass(frozen=True, slots=True)
class ScripCharges:
    """One line of the day, paise.

    Attributes:
        levies_paise: Brokerage, exchange, SEBI and IPFT fees, and GST on them.
        stt_paise, stamp_paise: Whole rupees.
        dp_paise: The depository's charge with GST, where DELIVERY shares left the account.
        estimated_paise: Booked with the fills.
        shares: The difference, book by book; its sum is `adjustment_paise`.
    """

    symbol_no: int
    levies_paise: int
    stt_paise: int
    stamp_paise: int
    dp_paise: int
    estimated_paise: int
    shares: tuple[tuple[BookKey, int], ...]

    @property
    def total_paise(self) -> int:
        """What the day costs in this scrip."""
        return self.levies_paise + self.stt_paise + self.stamp_paise + self.dp_paise

    @property
    def adjustment_paise(self) -> int:
        """What has to be booked on top of the estimates; negative where they were too high."""
        return self.total_paise - self.estimated_paise


def day_charges(
    charges: Charges, day: int, fills: Iterable[DayFill], scrips: Mapping[int, Scrip]
) -> list[ScripCharges]:
    """Return what *fills* of one client on one day cost, by rising symbol number.

    Args:
        charges: The rate table.
        day: Trade date, days since the epoch in IST.
        fills: Of one client, in one market, in any order.
        scrips: By symbol number; plain shares where it is not there.
    """
    by_scrip: dict[int, _Traded] = {}
    for fill in fills:
        by_scrip.setdefault(fill.book[2], _Traded()).add(fill)
    return [
        _line(charges, day, number, traded, scrips.get(number, Scrip()))
        for number, traded in sorted(by_scrip.items())
    ]


@dataclass(slots=True)
class _Traded:
    """One scrip's day, gathered."""

    quantity: dict[Side, int] = field(default_factory=lambda: dict.fromkeys(Side, 0))
    value: dict[Side, int] = field(default_factory=lambda: dict.fromkeys(Side, 0))
    orders: dict[Hashable, tuple[Side, Product, int]] = field(default_factory=dict)
    books: dict[BookKey, int] = field(default_factory=dict)
    given: dict[BookKey, int] = field(default_factory=dict)
    estimated: int = 0

    def add(self, fill: DayFill) -> None:
        value = fill.quantity * fill.price_paise
        product = Product(fill.book[3])
        self.quantity[fill.side] += fill.quantity
        self.value[fill.side] += value
        before = self.orders.get(fill.order, (fill.side, product, 0))[2]
        self.orders[fill.order] = (fill.side, product, before + value)
        self.books[fill.book] = self.books.get(fill.book, 0) + value
        if fill.side is Side.SELL and product is Product.DELIVERY:
            self.given[fill.book] = self.given.get(fill.book, 0) + value
        self.estimated += fill.charges_paise


def _line(charges: Charges, day: int, number: int, traded: _Traded, scrip: Scrip) -> ScripCharges:
    levies = 0
    for side, product, value in traded.orders.values():
        parts: Parts = charges.parts(side, product, value, day, scrip.kind)
        levies += parts.levies
    stt = stamp = 0
    both = 0 if scrip.trade_to_trade else min(traded.quantity.values())
    for side, quantity in traded.quantity.items():
        for product, part in ((Product.INTRADAY, both), (Product.DELIVERY, quantity - both)):
            if part:
                rates = charges.rates(side, product, day, scrip.kind)
                stt += traded.value[side] * part * rates.stt // quantity
                stamp += traded.value[side] * part * rates.stamp // quantity
    leaves = traded.given and traded.quantity[Side.SELL] > both
    dp = charges.dp_paise(day) if leaves else 0
    taxes = to_rupee(stt), to_rupee(stamp)
    rest = to_paise(levies) + sum(taxes) - traded.estimated
    shares = dict(zip(traded.books, allot(rest, list(traded.books.values())), strict=True))
    for book, paise in zip(traded.given, allot(dp, list(traded.given.values())), strict=True):
        shares[book] += paise
    return ScripCharges(number, to_paise(levies), *taxes, dp, traded.estimated, tuple(sorted(shares.items())))


def allot(amount: int, weights: Sequence[int]) -> list[int]:
    """Return *amount* split by *weights* into whole parts; what is left over goes to the heaviest."""
    if not weights:
        return []
    if not any(weights):
        weights = [1] * len(weights)
    whole, sign = sum(weights), -1 if amount < 0 else 1
    parts = [sign * (abs(amount) * weight // whole) for weight in weights]
    parts[weights.index(max(weights))] += amount - sum(parts)
    return parts
