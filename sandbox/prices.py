"""The market as the exchange and the feeds see it: last price, band, depth, candles at one instant."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sandbox.book import Depth, depth
from sandbox.market_clock import SESSION_S, Instant, open_us
from sandbox.tape import BAND, MINUTES, STEP_S, Tape, is_weekday
from shared.calendar import MINUTE_US
from shared.clock import ist_day
from shared.instruments import Instrument

INTERVAL_MINUTES = {
    "ONE_MINUTE": 1,
    "THREE_MINUTE": 3,
    "FIVE_MINUTE": 5,
    "TEN_MINUTE": 10,
    "FIFTEEN_MINUTE": 15,
    "THIRTY_MINUTE": 30,
    "ONE_HOUR": 60,
    "ONE_DAY": MINUTES,
}


@dataclass(frozen=True, slots=True)
class DayView:
    """One instrument at one instant of its day; prices in paise."""

    last: int
    quantity: int
    volume: int
    opening: int
    high: int
    low: int
    previous: int


Candle = tuple[int, int, int, int, int, int]
"""Start (µs UTC), open, high, low, close in paise, volume."""


class Prices:
    """Reads a tape.

    Args:
        tape: The market.
    """

    def __init__(self, tape: Tape) -> None:
        self.tape = tape
        self.locks: dict[str, str] = {}
        """Symbols locked at a circuit: `upper` or `lower`."""

        self._extremes: dict[tuple[str, int], list[int]] = {}

    def last(self, instrument: Instrument, now: Instant) -> int:
        """Return the last price, paise; outside the session the day's last or the close before."""
        lock = self.locks.get(instrument.symbol)
        if lock:
            lower, upper = self.band(instrument, now)
            return upper if lock == "upper" else lower
        if now.second < 0 or not is_weekday(now.day):
            return self.tape.day(instrument, now.day).previous
        return self.tape.step(instrument, now.day, min(now.second, SESSION_S - 1))[0]

    def previous_close(self, instrument: Instrument, now: Instant) -> int:
        """Return yesterday's close, paise."""
        return self.tape.day(instrument, now.day).previous

    def band(self, instrument: Instrument, now: Instant) -> tuple[int, int]:
        """Return the circuit limits, paise on the grid."""
        close, tick = self.previous_close(instrument, now), instrument.tick_paise
        away = int(close * BAND)
        lower, upper = -(-(close - away) // tick) * tick, (close + away) // tick * tick
        if is_weekday(now.day):
            # A recorded day may have gone further: its band was widened then.
            day = self.tape.day(instrument, now.day)
            lower, upper = min(lower, day.low), max(upper, day.high)
        return lower, upper

    def traded(self, instrument: Instrument, now: Instant) -> int:
        """Return the shares traded in the present price step."""
        if not now.open or self.locks.get(instrument.symbol):
            return 0
        return self.tape.step(instrument, now.day, now.second)[1]

    def depth(self, instrument: Instrument, now: Instant) -> Depth:
        """Return the synthetic book."""
        lower, upper = self.band(instrument, now)
        moment = now.day * SESSION_S + now.second // STEP_S
        lock = self.locks.get(instrument.symbol, "")
        return depth(self.tape.seed, instrument, self.last(instrument, now), moment, lower, upper, lock)

    def view(self, instrument: Instrument, now: Instant) -> DayView:
        """Return the day so far."""
        second = min(max(now.second, 0), SESSION_S - 1)
        minute = second // 60
        opening = self.tape.minute(instrument, now.day, 0).prices[0]
        low, high = self._day_extremes(instrument, now.day, minute)
        part = self.tape.minute(instrument, now.day, minute).prices[: second % 60 // STEP_S + 1]
        last = self.last(instrument, now)
        return DayView(
            last,
            max(self.traded(instrument, now) // 3, 1) if instrument.tradable else 0,
            self.tape.volume_until(instrument, now.day, second) if instrument.tradable else 0,
            opening,
            max(high, *part, last),
            min(low, *part, last),
            self.previous_close(instrument, now),
        )

    def candles(self, instrument: Instrument, interval: str, start_us: int, end_us: int) -> Iterator[Candle]:
        """Yield the candles that start within [start_us, end_us]; the last one may be in the making."""
        size = INTERVAL_MINUTES[interval]
        day, last_day = ist_day(start_us), ist_day(end_us)
        while day <= last_day:
            if is_weekday(day):
                if size == MINUTES:
                    yield from self._day_candle(instrument, day, start_us, end_us)
                else:
                    yield from self._candles_of(instrument, day, size, start_us, end_us)
            day += 1

    def _candles_of(
        self, instrument: Instrument, day: int, size: int, start_us: int, end_us: int
    ) -> Iterator[Candle]:
        first_us = open_us(day)
        for start in range(0, MINUTES, size):
            at_us = first_us + start * MINUTE_US
            if not start_us <= at_us <= end_us:
                continue
            minutes = range(start, min(start + size, MINUTES))
            parts = [self.tape.candle(instrument, day, minute) for minute in minutes]
            yield (
                at_us,
                parts[0][0],
                max(part[1] for part in parts),
                min(part[2] for part in parts),
                parts[-1][3],
                sum(part[4] for part in parts),
            )

    def _day_candle(self, instrument: Instrument, day: int, start_us: int, end_us: int) -> Iterator[Candle]:
        at_us = open_us(day) - (9 * 60 + 15) * MINUTE_US  # stamped midnight
        if start_us <= at_us <= end_us:
            whole = self.tape.day(instrument, day)
            yield at_us, whole.opening, whole.high, whole.low, whole.minutes[-1], whole.volume

    def _day_extremes(self, instrument: Instrument, day: int, minute: int) -> tuple[int, int]:
        """Return low and high of the full minutes before *minute*; kept, and taken further each minute."""
        key = (instrument.symbol, day)
        kept = self._extremes.get(key)
        if kept is None or kept[0] > minute:
            if len(self._extremes) > 2_000:
                self._extremes.clear()
            kept = self._extremes[key] = [0, 10**12, 0]
        while kept[0] < minute:
            prices = self.tape.minute(instrument, day, kept[0]).prices
            kept[0] += 1
            kept[1], kept[2] = min(kept[1], *prices), max(kept[2], *prices)
        return kept[1], kept[2]
