"""Shares that are bought for delivery: which of them are here, and which are still on the way.

What is bought on a trading day arrives on the next settlement day (T+1) and can be sold from the day after.
Until then a sale is "buy today, sell tomorrow" (BTST): should the seller before us not deliver, we cannot
either, and the exchange's auction is dear. Sold on the day itself shares never have to come, except in a
trade-to-trade series, where every share is delivered.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import lru_cache

from shared.calendar import Calendar
from shared.models import Side

_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()


@dataclass(frozen=True, slots=True)
class Quantities:
    """Shares of one instrument by how far they have come.

    Attributes:
        bought_today: Traded today.
        t1: Bought before, not arrived.
        free: Arrived.
        authorised: Of those that arrived: released to the broker for sale today.
        pledged: Of those that arrived: given as collateral, not for sale.
    """

    bought_today: int = 0
    t1: int = 0
    free: int = 0
    authorised: int = 0
    pledged: int = 0

    def sellable(self, *, trade_to_trade: bool = False, btst: bool = False) -> int:
        """Return how many may be sold now."""
        arrived = self.free + self.authorised
        if trade_to_trade:
            return arrived
        return arrived + self.bought_today + (self.t1 if btst else 0)


class Lots:
    """One book's shares by the day on which they were bought; days since the epoch in IST."""

    __slots__ = ("_by_day",)

    def __init__(self) -> None:
        self._by_day: dict[int, int] = {}

    @property
    def oldest(self) -> int:
        """The day of the oldest shares that are left; 0 where there are none."""
        return min(self._by_day, default=0)

    def fill(self, side: Side, quantity: int, day: int, *, trade_to_trade: bool = False) -> None:
        """Take a fill in: what is sold is the day's own first, for it never has to come; then the oldest."""
        lots = self._by_day
        if side is Side.BUY:
            lots[day] = lots.get(day, 0) + quantity
            return
        own = [day] if day in lots and not trade_to_trade else []
        for bought in [*own, *sorted(each for each in lots if each not in own)]:
            part = min(quantity, lots[bought])
            lots[bought] -= part
            quantity -= part
            if not lots[bought]:
                del lots[bought]

    def quantities(
        self, day: int, calendar: Calendar, *, authorised: int = 0, pledged: int = 0
    ) -> Quantities:
        """Return the shares by how far they have come on *day*.

        Args:
            day: Trading day.
            calendar: Knows the settlement days.
            authorised, pledged: Of the shares that have arrived, as the depository has them.
        """
        today = t1 = arrived = 0
        for bought, quantity in self._by_day.items():
            if bought >= day:
                today += quantity
            elif free_from(bought, calendar) > day:
                t1 += quantity
            else:
                arrived += quantity
        pledged = min(pledged, arrived)
        authorised = min(authorised, arrived - pledged)
        return Quantities(today, t1, arrived - pledged - authorised, authorised, pledged)


@lru_cache(maxsize=4096)
def free_from(bought: int, calendar: Calendar) -> int:
    """Return the first day on which shares bought on *bought* can be sold as arrived (days since 1970)."""
    settled = calendar.settlement_day(date.fromordinal(bought + _EPOCH_ORDINAL))
    return settled.toordinal() - _EPOCH_ORDINAL + 1
