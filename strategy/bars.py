"""Bars out of smaller bars, on the grid of the trading session."""

from __future__ import annotations

from collections.abc import Callable

from shared.calendar import DAY_US, MINUTE_US, Calendar, at_ist, day_of
from shared.models import Bar

TIMEFRAMES = {
    "1m": MINUTE_US,
    "5m": 5 * MINUTE_US,
    "15m": 15 * MINUTE_US,
    "30m": 30 * MINUTE_US,
    "1h": 60 * MINUTE_US,
    "1d": DAY_US,
}
"""Length of each timeframe, microseconds; `1d` is one session."""

SessionOf = Callable[[int], tuple[int, int]]


def session_grid(calendar: Calendar) -> SessionOf:
    """Return a function from an instant to (open, close) of the window that it falls in, µs UTC.

    Outside of all windows (also on days without trading) the regular hours of that day are the grid.
    """

    def grid(at_us: int) -> tuple[int, int]:
        session = calendar.session_at(at_us)
        for window in session.windows if session is not None else ():
            if window[0] <= at_us < window[1]:
                return window
        day = day_of(at_us)
        return at_ist(day, "09:15"), at_ist(day, "15:30")

    return grid


def bucket(start_us: int, timeframe: str, session: tuple[int, int]) -> tuple[int, int]:
    """Return (start, close) of the bar of *timeframe* in which *start_us* lies.

    Bars are counted from the open of the session; the last one ends with it.
    """
    opened, closed = session
    if timeframe == "1d":
        return opened, closed
    length = TIMEFRAMES[timeframe]
    start = opened + (start_us - opened) // length * length
    end = start + length
    return start, min(end, closed) if start < closed else end


class BarAggregator:
    """Makes bars of a larger timeframe out of the closed bars of one instrument.

    A bar is handed out when its last part is in or when the market's time has passed its end (`flush`),
    whichever is first; it is never handed out half and never changed afterwards.
    """

    def __init__(self, timeframe: str, session_of: SessionOf) -> None:
        self._timeframe = timeframe
        self._session_of = session_of
        self._bar: Bar | None = None

    def most_parts(self, timeframe: str) -> int:
        """Return how many bars of *timeframe* make one of ours, at most."""
        return TIMEFRAMES[self._timeframe] // TIMEFRAMES[timeframe]

    def update(self, bar: Bar) -> list[Bar]:
        """Take the next closed smaller bar; return the larger bars that this closes, oldest first."""
        done: list[Bar] = []
        start, end = bucket(bar.start_us, self._timeframe, self._session_of(bar.start_us))
        held = self._bar
        if held is not None and held.start_us != start:
            done.append(held)
            held = None
        self._bar = _joined(held, bar, self._timeframe, start, end)
        return done + self.flush(bar.close_us)

    def flush(self, at_us: int) -> list[Bar]:
        """Return the bar at work if it has ended by *at_us*."""
        if self._bar is None or self._bar.close_us > at_us:
            return []
        done, self._bar = self._bar, None
        return [done]


def _joined(held: Bar | None, bar: Bar, timeframe: str, start: int, end: int) -> Bar:
    if held is None:
        return Bar(bar.symbol, timeframe, start, end, bar.open, bar.high, bar.low, bar.close, bar.volume)
    return Bar(
        held.symbol,
        timeframe,
        start,
        end,
        held.open,
        max(held.high, bar.high),
        min(held.low, bar.low),
        bar.close,
        held.volume + bar.volume,
    )
