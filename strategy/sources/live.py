"""A live market as a source: one-minute bars out of ticks, holes filled and bars checked by candles.

A minute is closed by the market's time a second after its end. Minutes that the feed did not see whole (the
first one, and those around a reconnect) are taken from the broker's candles; until these are there, or known
not to come, no later bar is handed out, so that a strategy never sees bars out of order. Bars once handed out
never change: what a candle says otherwise is counted and shown.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import structlog

from shared.calendar import DAY_US, MINUTE_US, SECOND_US, Calendar, at_ist, day_of
from shared.clock import Clock, SystemClock, ist_day
from shared.errors import VenueUnavailable
from shared.feed import FeedHealth, History, LiveMarket, MarketTick
from shared.models import Bar, Quote
from strategy.bars import TIMEFRAMES
from strategy.sources.base import MarketBatch

GRACE_US = SECOND_US
"""Ticks of a minute may come so much later than its end."""

HOLD_S = 15.0
"""Bars wait no longer than this for the candles of a hole."""

FILL_AGAIN_S = 1.0
POLL_S = 0.02
CHECK_EVERY_S = 20.0
"""Wall seconds between two checks of a bar against its candle: a broker counts requests."""

DIFFERENCE = 0.001
"""Bars from conflated ticks miss a high or low by a little; more than this share of the price is told."""

MORE_DAYS = 14
"""Asked for once more where the calendar's sessions do not hold bars enough: quiet names trade little."""

SESSION_MINUTES = 375

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Minute:
    """A bar at work, paise."""

    start_us: int
    open: int
    high: int
    low: int
    close: int
    volume: int


class LiveSource:
    """See `strategy.sources.base.MarketDataSource`; `open` comes first.

    Args:
        market: Not open yet; closed with this source.
        wants: How many bars of each (symbol, timeframe) the strategies need before the first.
        decided_us: Market time up to which everything was decided in an earlier process; 0: nothing. Bars of
            the same day since then are handed out at once, so that no exit is missed.
        calendar: Sessions, for the progress.
        clock: Boot time, for what waits.
    """

    timeframe = "1m"
    done = False

    def __init__(
        self,
        market: LiveMarket,
        wants: Mapping[tuple[str, str], int],
        *,
        decided_us: int = 0,
        calendar: Calendar | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.symbols = tuple(sorted({symbol for symbol, _ in wants}))
        self.checked = self.differing = self.late = self.unfilled = 0
        self._market = market
        self._wants = dict(wants)
        self._decided_us = decided_us
        self._calendar = calendar or Calendar.load()
        self._clock = clock or SystemClock()
        self._history: dict[tuple[str, str], list[Bar]] = {}
        self._minutes: dict[str, _Minute] = {}
        self._volumes: dict[str, tuple[int, int]] = {}
        self._bars: list[Bar] = []
        self._closed_us = self._handed_us = 0
        self._reconnects = 0
        self._hole_us: int | None = None
        self._whole_us = 0
        self._held_s: float | None = None
        self._checked_s = -math.inf
        self._filled: list[Bar] | None = None
        self._filler: asyncio.Task[None] | None = None
        self._checker: asyncio.Task[None] | None = None

    @property
    def run(self) -> str:
        """`live`, or the name of a rehearsal's market."""
        return self._market.run

    @property
    def label(self) -> str:
        """Where the data comes from."""
        return self._market.label

    @property
    def health(self) -> FeedHealth:
        """How the feed does."""
        return self._market.health()

    async def open(self) -> None:
        """Open the market and fetch what came before.

        Raises:
            VenueUnavailable: The feed does not open, or there is no history to be had.
        """
        await self._market.open(list(self.symbols))
        now_us = self._market.market_now_us()
        minute_us = now_us // MINUTE_US * MINUTE_US
        today = day_of(self._decided_us) == day_of(now_us)
        begin_us = min(self._decided_us, minute_us) if today else minute_us
        self._closed_us = begin_us
        self._hole_us = begin_us
        self._whole_us = minute_us + MINUTE_US
        self._reconnects = self._market.health().reconnects
        for (symbol, timeframe), count in self._needs().items():
            found = await self._look_back(symbol, timeframe, count, begin_us)
            if found.gaps and not found.bars:
                raise VenueUnavailable(
                    f"No {timeframe} history of {symbol}: {found.gaps[0][2]}.",
                    remedy="Try again; `trading doctor` checks the account.",
                )
            for gap in found.gaps:
                log.warning("history has a gap", symbol=symbol, timeframe=timeframe, why=gap[2])
            self._history[symbol, timeframe] = found.bars[-count:]

    def history(self, symbol: str, timeframe: str, count: int) -> list[Bar]:
        """Return up to *count* bars that closed before the first batch, oldest first."""
        bars = self._history.get((symbol, timeframe), [])
        return bars[-count:] if count > 0 else []

    def next_batch(self, until_us: int) -> MarketBatch | None:
        """Return what has come since the last call, or None; the feed itself decides what is due."""
        ticks = self._market.drain()
        reconnects = self._market.health().reconnects
        if reconnects != self._reconnects:
            self._reconnects = reconnects
            self._break(ticks)
        quotes = [self._take(tick) for tick in ticks]
        self._close_minutes(max(until_us, self._market.market_now_us()))
        bars = self._due()
        if not quotes and not bars:
            return None
        # Larger bars are closed by this time: it stands still while smaller ones are held back.
        return MarketBatch(self._handed_us, quotes, bars)

    def now_us(self) -> int:
        """Return the market's time."""
        return self._market.market_now_us()

    def pace(self, speed: float | None) -> None:
        """A live market has its own pace."""

    def due_in_s(self) -> float | None:
        """Return how soon to look again."""
        return POLL_S

    @property
    def progress(self) -> float:
        """Share of the session at work that is over, 0 to 1."""
        now_us = self._market.market_now_us()
        session = self._calendar.session_at(now_us)
        if session is None:
            return 0.0
        share = (now_us - session.open_us) / (session.close_us - session.open_us)
        return min(max(share, 0.0), 1.0)

    async def close(self) -> None:
        """End what is under way and close the market; harmless when repeated."""
        tasks = [task for task in (self._filler, self._checker) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._market.close()

    # -- inside ----------------------------------------------------------------------------------

    def _needs(self) -> dict[tuple[str, str], int]:
        """Return what to ask for: where larger bars are wanted, also the minutes of the one at work."""
        needs = dict(self._wants)
        for symbol, timeframe in self._wants:
            if timeframe != self.timeframe:
                least = min(TIMEFRAMES[timeframe] // MINUTE_US, SESSION_MINUTES)
                needs[symbol, self.timeframe] = max(needs.get((symbol, self.timeframe), 0), least)
        return needs

    async def _look_back(self, symbol: str, timeframe: str, count: int, end_us: int) -> History:
        """Return at least *count* bars where there are so many: one request where the calendar is right."""
        sessions = math.ceil(count / max(SESSION_MINUTES * MINUTE_US / TIMEFRAMES[timeframe], 1))
        first = day_of(end_us)
        while sessions:
            first -= timedelta(days=1)
            sessions -= self._calendar.is_trading_day(first)
        since_us = at_ist(first, "00:00")
        found = await self._market.history(symbol, timeframe, since_us, end_us)
        if len(found.bars) < count:
            found = await self._market.history(symbol, timeframe, since_us - MORE_DAYS * DAY_US, end_us)
        return found

    def _break(self, ticks: Sequence[MarketTick]) -> None:
        """The feed was away: minutes from the last closed one to the next whole one come by candles."""
        first_us = ticks[0].at_us if ticks else self._market.market_now_us()
        if self._hole_us is None:
            self._hole_us = self._closed_us
        self._whole_us = max(first_us // MINUTE_US * MINUTE_US + MINUTE_US, self._closed_us)
        self._stop_filling()

    def _take(self, tick: MarketTick) -> Quote:
        day = ist_day(tick.at_us)
        before = self._volumes.get(tick.symbol)
        traded = tick.last_quantity
        if tick.day_volume:
            # The first tick that we see of a day tells nothing of when its volume was traded.
            traded = max(tick.day_volume - before[1], 0) if before and before[0] == day else 0
            self._volumes[tick.symbol] = (day, tick.day_volume)
        start_us = tick.at_us // MINUTE_US * MINUTE_US
        minute, price = self._minutes.get(tick.symbol), tick.price_paise
        if start_us < self._closed_us:
            self.late += 1
        elif minute is None or minute.start_us != start_us:
            if minute is not None:
                self._finish(tick.symbol, minute)
            if minute is None or traded or not tick.day_volume:
                self._minutes[tick.symbol] = _Minute(start_us, price, price, price, price, traded)
            else:
                del self._minutes[tick.symbol]
        else:
            minute.high = max(minute.high, price)
            minute.low = min(minute.low, price)
            minute.close = price
            minute.volume += traded
        return Quote(
            tick.symbol, price, tick.at_us, traded, tick.received_us,
            tick.bid_paise, tick.ask_paise, tick.lower_paise, tick.upper_paise,
        )  # fmt: skip

    def _close_minutes(self, now_us: int) -> None:
        closed_us = (now_us - GRACE_US) // MINUTE_US * MINUTE_US
        if closed_us <= self._closed_us:
            return
        for symbol, minute in list(self._minutes.items()):
            if minute.start_us < closed_us:
                self._finish(symbol, minute)
                del self._minutes[symbol]
        self._closed_us = closed_us

    def _finish(self, symbol: str, minute: _Minute) -> None:
        if self._hole_us is not None and minute.start_us < self._whole_us:
            return  # seen in part only: the candle has it
        prices = minute.open / 100, minute.high / 100, minute.low / 100, minute.close / 100
        close_us = minute.start_us + MINUTE_US
        self._bars.append(Bar(symbol, "1m", minute.start_us, close_us, *prices, minute.volume))

    def _due(self) -> list[Bar]:
        """Return closed bars in the order of their time; none while a hole before them is open."""
        if self._hole_us is not None:
            if self._closed_us < self._whole_us:
                return []
            if self._held_s is None:
                self._held_s = self._clock.boot_s()
                self._filler = asyncio.get_running_loop().create_task(self._fill(), name="candles of a hole")
            if self._filled is None:
                if self._clock.boot_s() - self._held_s < HOLD_S:
                    return []
                self.unfilled += 1
                log.error("the candles of a hole do not come; bars are missing", since_us=self._hole_us)
            self._bars = (self._filled or []) + self._bars
            self._hole_us = None
            self._stop_filling()
        # One symbol's minute may end before the others': all bars of a minute are handed out together.
        self._handed_us = self._closed_us
        bars = [bar for bar in self._bars if bar.close_us <= self._closed_us]
        self._bars = [bar for bar in self._bars if bar.close_us > self._closed_us]
        bars.sort(key=lambda bar: (bar.close_us, bar.symbol))
        if bars:
            self._check(bars)
        return bars

    def _stop_filling(self) -> None:
        if self._filler is not None:
            self._filler.cancel()
        self._filler, self._filled, self._held_s = None, None, None

    async def _fill(self) -> None:
        """Fetch the candles of the hole; `_due` gives up on them after a while."""
        start_us, end_us = self._hole_us or 0, self._whole_us
        if start_us >= end_us:
            self._filled = []
            return
        while True:
            bars: list[Bar] = []
            failed = ""
            for symbol in self.symbols:
                with contextlib.suppress(VenueUnavailable):
                    found = await self._market.history(symbol, "1m", start_us, end_us)
                    bars += found.bars
                    failed = found.gaps[0][2] if found.gaps else failed
                    continue
                failed = "the broker does not answer"
            if not failed:
                self._filled = bars
                return
            log.warning("the candles of a hole are asked for again", why=failed)
            await asyncio.sleep(FILL_AGAIN_S)

    def _check(self, bars: Sequence[Bar]) -> None:
        """Now and then hold a bar against the candle of the same minute."""
        now_s = self._clock.boot_s()
        if now_s - self._checked_s < CHECK_EVERY_S or (self._checker and not self._checker.done()):
            return
        self._checked_s = now_s
        bar = bars[self.checked % len(bars)]
        self._checker = asyncio.get_running_loop().create_task(self._compare(bar), name="bar check")

    async def _compare(self, bar: Bar) -> None:
        with contextlib.suppress(VenueUnavailable):
            found = await self._market.history(bar.symbol, "1m", bar.start_us, bar.close_us)
            if not found.bars:
                return
            self.checked += 1
            candle = found.bars[0]
            pairs = (bar.open, candle.open), (bar.high, candle.high), (bar.low, candle.low)
            worst = max(abs(ours - theirs) for ours, theirs in (*pairs, (bar.close, candle.close)))
            if worst > DIFFERENCE * candle.close:
                self.differing += 1
                log.warning(
                    "a bar from ticks differs from its candle",
                    symbol=bar.symbol, start_us=bar.start_us, by_rupees=round(worst, 2),
                )  # fmt: skip
