"""A simulated market, always in session, on a clock of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta

from shared.calendar import MINUTE_US, SECOND_US, Calendar, at_ist
from shared.clock import Clock, SystemClock
from shared.instruments import Instruments
from shared.models import Bar, Quote
from shared.simulation import SESSION_SECONDS, PriceProcess, start_price
from strategy.bars import BarAggregator, session_grid
from strategy.sources.base import MarketBatch

FIRST_DAY = date(2000, 1, 3)
"""A Monday long before any data of ours: nobody can take a simulated session for a real one."""

CAUGHT_UP_SECONDS = 3_600
"""Session time that is there at once at the start, so that a strategy has something to decide on."""

HISTORY_MINUTES = 750
"""Made-up bars before the first session: two sessions' worth."""


class SimulatedSource:
    """Sessions of 09:15 to 15:30, one after the other without a pause.

    Session k is the k-th weekday from 2000-01-03. The first hour is due at once; from then on the market's
    time runs at *speed* session seconds for each wall second. The same seed, session and start prices give
    the same market, whatever the speed.

    Args:
        symbols: What is traded.
        seed: Of the price process.
        session: Number of the first session, ≥ 1.
        start_prices: Last price of each symbol before it, paise; what is left out begins anew.
        speed: Session seconds for each wall second; None: as fast as batches are asked for.
        clock: Its boot time counts.
    """

    run = "sim"
    timeframe = "1m"

    def __init__(
        self,
        symbols: Sequence[str],
        *,
        seed: int = 7,
        session: int = 1,
        start_prices: Mapping[str, int] | None = None,
        speed: float | None = 1.0,
        clock: Clock | None = None,
        instruments: Instruments | None = None,
        calendar: Calendar | None = None,
    ) -> None:
        if session < 1:
            raise ValueError(f"session {session}: sessions count from 1")
        table = instruments or Instruments.load()
        self.symbols = tuple(sorted(symbols))
        self.seed = seed
        self._first_session = self.session = session
        self._clock = clock or SystemClock()
        self._calendar = calendar or Calendar.load()
        self._ticks = {symbol: table.get(symbol).tick_paise for symbol in self.symbols}
        given = start_prices or {}
        self.prices = {symbol: given.get(symbol) or start_price(symbol) for symbol in self.symbols}
        self._opening = dict(self.prices)
        self._second = 0
        self._open_us = 0
        self._start_session()
        # Market seconds count over all sessions of this source; closed time has none.
        self._passed = 0
        self._base_s = float(CAUGHT_UP_SECONDS)
        self._since_s = self._clock.boot_s()
        self._speed = speed

    @property
    def label(self) -> str:
        """Say that this is no real market."""
        return f"SIMULATED market, seed {self.seed}, session {self.session}"

    def history(self, symbol: str, timeframe: str, count: int) -> list[Bar]:
        """Return up to *count* made-up bars that end where the first session begins, oldest first."""
        bars = _history(self.seed, symbol, self._first_session, self._opening[symbol], self._ticks[symbol])
        if timeframe != self.timeframe:
            larger = BarAggregator(timeframe, session_grid(self._calendar))
            bars = [done for bar in bars for done in larger.update(bar)]
        return bars[-count:] if count > 0 else []

    def next_batch(self, until_us: int) -> MarketBatch | None:
        """Return the next second of the market if it ends by *until_us*, or None."""
        at_us = self._open_us + (self._second + 1) * SECOND_US
        if at_us > until_us:
            return None
        quotes, received_us = [], self._clock.now_us()
        for symbol, process in self._processes.items():
            price, volume = process.step(self._second)
            if volume:
                quotes.append(Quote(symbol, price, at_us, volume, received_us))
                self._trade(symbol, price, volume)
        self._second += 1
        self._passed += 1
        bars = self._close_minute(at_us) if self._second % 60 == 0 else []
        if self._second == SESSION_SECONDS:
            self.session += 1
            self._start_session()
        return MarketBatch(at_us, quotes, bars)

    def now_us(self) -> int:
        """Return the market time up to which seconds are due, µs UTC; within the session at work."""
        ahead = 60 if self._speed is None else int(self._due_s()) - self._passed
        return self._open_us + max(min(self._second + ahead, SESSION_SECONDS), self._second) * SECOND_US

    def pace(self, speed: float | None) -> None:
        """Run on from here at *speed* session seconds per wall second; None: as fast as it is asked."""
        self._base_s = max(float(self._passed), float(CAUGHT_UP_SECONDS))
        self._since_s = self._clock.boot_s()
        self._speed = speed

    def due_in_s(self) -> float | None:
        """Return wall seconds until the next second of the market is due."""
        if self._speed is None:
            return 0.0
        return max(self._passed + 1 - self._due_s(), 0.0) / self._speed

    @property
    def done(self) -> bool:
        """Never: the next session follows."""
        return False

    @property
    def progress(self) -> float:
        """Share of the session at work that is over, 0 to 1."""
        return self._second / SESSION_SECONDS

    def _due_s(self) -> float:
        return self._base_s + (self._clock.boot_s() - self._since_s) * (self._speed or 0.0)

    def _start_session(self) -> None:
        self._second = 0
        self._open_us = at_ist(session_day(self.session), "09:15")
        self._processes = {
            symbol: PriceProcess(self.seed, symbol, self.session, self.prices[symbol], self._ticks[symbol])
            for symbol in self.symbols
        }
        self._minute: dict[str, list[int]] = {}

    def _trade(self, symbol: str, price: int, volume: int) -> None:
        self.prices[symbol] = price
        minute = self._minute.get(symbol)
        if minute is None:
            self._minute[symbol] = [price, price, price, price, volume]
            return
        minute[1] = max(minute[1], price)
        minute[2] = min(minute[2], price)
        minute[3] = price
        minute[4] += volume

    def _close_minute(self, at_us: int) -> list[Bar]:
        bars = [_bar(symbol, at_us, *minute) for symbol, minute in sorted(self._minute.items())]
        self._minute.clear()
        return bars


def session_day(session: int) -> date:
    """Return the date of session number *session*: the weekdays from 2000-01-03 on, counted from 1."""
    weeks, day = divmod(session - 1, 5)
    return FIRST_DAY + timedelta(days=7 * weeks + day)


def _bar(symbol: str, close_us: int, first: int, high: int, low: int, last: int, volume: int) -> Bar:
    prices = first / 100, high / 100, low / 100, last / 100
    return Bar(symbol, "1m", close_us - MINUTE_US, close_us, *prices, volume)


def _history(seed: int, symbol: str, session: int, end_paise: int, tick_paise: int) -> list[Bar]:
    """Return minutes of the two weekdays before *session* that end exactly at *end_paise*."""
    process = PriceProcess(seed, symbol, -session, end_paise, tick_paise, gap=False)
    minutes = []
    for minute in range(HISTORY_MINUTES):
        # One step in ten seconds is enough for bars that nobody trades on.
        steps = [process.step(minute % 375 * 60 + second) for second in range(0, 60, 10)]
        minutes.append(([price for price, _ in steps], sum(volume for _, volume in steps)))
    scale = end_paise / minutes[-1][0][-1]
    closes = _history_closes(session)
    bars = []
    for (prices, volume), close_us in zip(minutes, closes, strict=True):
        grid = [max(round(price * scale / tick_paise), 1) * tick_paise for price in prices]
        bars.append(_bar(symbol, close_us, grid[0], max(grid), min(grid), grid[-1], 10 * volume))
    return bars


def _history_closes(session: int) -> list[int]:
    first = session_day(session)
    days: list[date] = []
    while len(days) < HISTORY_MINUTES // 375:
        first -= timedelta(days=1)
        if first.weekday() < 5:
            days.append(first)
    return [at_ist(day, "09:15") + minute * MINUTE_US for day in reversed(days) for minute in range(1, 376)]
