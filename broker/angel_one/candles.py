"""History by candles: asked in pieces of the documented spans, each tried again, what fails told as a gap.

Source of the spans: SmartAPI documentation, "Historical API": most calendar days of one request.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Protocol

from broker.angel_one.records import CandleRow
from shared.calendar import DAY_US, IST, MINUTE_US, Calendar, at_ist, day_of
from shared.errors import VenueUnavailable
from shared.feed import History
from shared.instruments import Instrument
from shared.models import Bar, instant

INTERVALS = {
    "1m": ("ONE_MINUTE", MINUTE_US, 30),
    "5m": ("FIVE_MINUTE", 5 * MINUTE_US, 100),
    "15m": ("FIFTEEN_MINUTE", 15 * MINUTE_US, 200),
    "30m": ("THIRTY_MINUTE", 30 * MINUTE_US, 200),
    "1h": ("ONE_HOUR", 60 * MINUTE_US, 400),
    "1d": ("ONE_DAY", DAY_US, 2000),
}
"""Our timeframes: the service's word, length in microseconds, most days of one request."""

TRIES = 3
PAUSE_S = 0.5


class Candles(Protocol):
    """What asks the service."""

    async def candles(
        self, exchange: str, token: str, interval: str, start: str, end: str
    ) -> tuple[list[CandleRow], list[str]]:
        """Return one request's candles and what of them could not be read."""
        ...


async def history(
    rest: Candles, calendar: Calendar, instrument: Instrument, timeframe: str, start_us: int, end_us: int
) -> History:
    """Return the closed bars of *timeframe* within [start_us, end_us].

    Args:
        rest: Asks.
        calendar: Where a session ends, so does its last bar.
        instrument: Whose.
        timeframe: One of `INTERVALS`.
        start_us: First bar begins no earlier.
        end_us: Last bar closes no later: the one at work is never among them.
    """
    interval, length, days = INTERVALS[timeframe]
    found: dict[int, Bar] = {}
    gaps: list[tuple[int, int, str]] = []
    # A day's candle begins at midnight for the service; asking from the session's open would miss it.
    at_us = at_ist(day_of(start_us), "00:00") if timeframe == "1d" else start_us
    while at_us < end_us:
        # Counted in calendar days, as the service does: the last one ends at midnight.
        until_us = min(at_ist(day_of(at_us) + timedelta(days=days), "00:00"), end_us)
        rows, why = await _ask(rest, instrument, interval, at_us, until_us)
        if why:
            gaps.append((at_us, until_us, why))
        for row in rows:
            bar = _bar(calendar, instrument.symbol, timeframe, length, row)
            if bar is not None and start_us <= bar.start_us and bar.close_us <= end_us:
                found[bar.start_us] = bar
        at_us = until_us
    return History([found[start] for start in sorted(found)], gaps)


async def _ask(
    rest: Candles, instrument: Instrument, interval: str, start_us: int, end_us: int
) -> tuple[list[CandleRow], str]:
    """Return one piece; where it fails for good, why."""
    # The end is a minute earlier: midnight would be one day too many, and a bar that begins there is later's.
    start, end = _stamp(start_us), _stamp(max(end_us - MINUTE_US, start_us))
    why = ""
    for attempt in range(TRIES):
        if attempt:
            await asyncio.sleep(PAUSE_S * attempt)
        try:
            rows, unread = await rest.candles(instrument.exchange, instrument.token, interval, start, end)
        except VenueUnavailable as error:
            why = error.what
            continue
        return rows, f"{len(unread)} candles cannot be read, the first: {unread[0]}" if unread else ""
    return [], why


def _bar(calendar: Calendar, symbol: str, timeframe: str, length: int, row: CandleRow) -> Bar | None:
    """Return a candle as a bar on the session's grid, or None for one outside of every session."""
    session = calendar.session_at(row.start_us)
    if session is None:
        return None
    if timeframe == "1d":
        start_us, close_us = session.open_us, session.close_us
    else:
        window = next((each for each in session.windows if each[0] <= row.start_us < each[1]), None)
        if window is None:
            return None
        start_us, close_us = row.start_us, min(row.start_us + length, window[1])
    prices = row.open / 100, row.high / 100, row.low / 100, row.close / 100
    return Bar(symbol, timeframe, start_us, close_us, *prices, row.volume)


def _stamp(at_us: int) -> str:
    """Return `YYYY-MM-DD HH:MM` in India; seconds there are answered with an error."""
    return instant(at_us).astimezone(IST).strftime("%Y-%m-%d %H:%M")
