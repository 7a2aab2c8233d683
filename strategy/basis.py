"""Bars from before an ex-date, on the basis of those after it: what warms a strategy up anew."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

import msgspec

from shared.calendar import at_ist
from shared.ex_dates import ExDate
from shared.models import Bar

NEVER_US = 1 << 62
MIDNIGHT = "00:00"


class Basis:
    """The latest bars of one instrument and timeframe, and the ex-dates that they will meet.

    Attributes:
        next_us: Market time at which the next basis begins, µs UTC.

    Args:
        ex_dates: Of the instrument, by day.
        keep: How many bars warm a strategy up.
    """

    def __init__(self, ex_dates: Sequence[ExDate], keep: int) -> None:
        self._coming = deque((at_ist(each.day, MIDNIGHT), each) for each in ex_dates)
        self._bars: deque[Bar] = deque(maxlen=keep)
        self.next_us = self._next()

    def note(self, bar: Bar) -> None:
        """Take the next bar; it lies before `next_us`, or `cross` was asked with it."""
        if self._coming:
            self._bars.append(bar)

    def cross(self, bar: Bar) -> list[Bar]:
        """Go on to the basis of *bar*, the first on or after an ex-date; return the bars before it on it.

        Bars that come adjusted already stay as they are. Where only the price changes (a demerger), nobody
        knows by how much: there are none then.
        """
        while bar.start_us >= self.next_us:
            _, ex_date = self._coming.popleft()
            self.next_us = self._next()
            if self._bars and not _adjusted(self._bars[-1], bar, ex_date):
                shares = float(ex_date.shares)
                found = [_on(each, shares) for each in self._bars] if shares != 1 else []
                self._bars = deque(found, maxlen=self._bars.maxlen)
        return list(self._bars)

    def _next(self) -> int:
        return self._coming[0][0] if self._coming else NEVER_US


def _adjusted(before: Bar, after: Bar, ex_date: ExDate) -> bool:
    """Whether the step between two bars is nearer to none than to that of the ex-date."""
    if ex_date.shares == 1:
        return False
    step = math.log(before.close / after.open)
    return abs(step) < abs(step - math.log(float(ex_date.shares)))


def _on(bar: Bar, shares: float) -> Bar:
    return msgspec.structs.replace(
        bar, open=bar.open / shares, high=bar.high / shares, low=bar.low / shares, close=bar.close / shares,
        volume=round(bar.volume * shares),
    )  # fmt: skip
