"""Market data for whoever asks: history, latest tick with its age, subscription."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable
from typing import TYPE_CHECKING, NamedTuple

from shared.calendar import SECOND_US
from shared.clock import Clock, SystemClock
from shared.errors import ConfigurationError
from shared.models import Bar, Tick
from strategy.config import DEFAULT_CONFIGS
from strategy.sources.base import MarketBatch, MarketDataSource
from strategy.sources.simulated import SimulatedSource

if TYPE_CHECKING:
    from shared.settings import Settings

QUEUE_BARS = 1_000
"""Bars that wait for a slow subscriber; older ones are dropped and counted."""

CATCH_UP_BATCHES = 100
"""Batches that an unpumped market moves on for each look of a subscriber."""

MAX_PAUSE_S = 1.0
DEFAULT_SEED = 7


class LatestTick(NamedTuple):
    """The newest tick of an instrument and how old it is in the market's own time."""

    tick: Tick
    age_s: float


class _Subscription:
    """What one subscriber has not read yet: of each symbol the newest tick, and the bars."""

    def __init__(self, symbols: frozenset[str]) -> None:
        self.symbols = symbols
        self.ticks: OrderedDict[str, Tick] = OrderedDict()
        self.bars: list[Bar] = []
        self.dropped = 0
        self.woken = asyncio.Event()

    def take(self, ticks: Iterable[Tick], bars: Iterable[Bar]) -> None:
        for tick in ticks:
            if tick.symbol in self.symbols:
                self.ticks[tick.symbol] = tick
        self.bars += [bar for bar in bars if bar.symbol in self.symbols]
        surplus = len(self.bars) - QUEUE_BARS
        if surplus > 0:
            self.dropped += surplus
            del self.bars[:surplus]
        if self.ticks or self.bars:
            self.woken.set()

    def drain(self) -> list[Tick | Bar]:
        items: list[Tick | Bar] = [*self.ticks.values(), *self.bars]
        self.ticks.clear()
        self.bars.clear()
        self.woken.clear()
        return items


class MarketDataProvider:
    """One market behind a small interface; without a source a simulated one.

    Whoever pumps (`next_batch`) moves the market: the engine where there is one. Used alone, the provider
    moves it by itself as far as the source says that it is due.

    Args:
        source: Recorded or simulated market, later a broker's.
        settings: Give the seed of the simulated market.
        clock: For the simulated market.
    """

    def __init__(
        self,
        source: MarketDataSource | None = None,
        *,
        settings: Settings | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._source = source
        self._settings = settings
        self._clock = clock or SystemClock()
        self._latest: dict[str, Tick] = {}
        self._subscriptions: list[_Subscription] = []
        self._closed = False
        self.driven = False

    async def initialize(self) -> None:
        """Open the source; harmless when repeated."""
        if self._source is None:
            seed = self._settings.sim_seed if self._settings is not None else DEFAULT_SEED
            symbols = sorted({symbol for config in DEFAULT_CONFIGS for symbol in config.symbols})
            self._source = SimulatedSource(symbols, seed=seed, clock=self._clock)

    @property
    def source(self) -> MarketDataSource:
        """The market behind.

        Raises:
            ConfigurationError: Not initialized.
        """
        if self._source is None:
            raise ConfigurationError("Market data is not open.", remedy="Call `await initialize()` first.")
        return self._source

    @property
    def label(self) -> str:
        """What a human is shown about where the data comes from."""
        return self.source.label

    async def history(self, symbol: str, timeframe: str, bars: int) -> list[Bar]:
        """Return up to *bars* closed bars of *timeframe* before the market at hand, oldest first.

        Raises:
            ConfigurationError: There is no data for *symbol*.
        """
        self._has(symbol)
        return self.source.history(symbol, timeframe, bars)

    def latest(self, symbol: str) -> LatestTick | None:
        """Return the newest tick of *symbol* with its age, or None before the first.

        Raises:
            ConfigurationError: There is no data for *symbol*.
        """
        self._has(symbol)
        self._catch_up()
        tick = self._latest.get(symbol)
        if tick is None:
            return None
        age_us = max(self.source.now_us() - tick.at_us, 0)
        return LatestTick(tick, age_us / SECOND_US)

    async def subscribe(self, symbols: Iterable[str]) -> AsyncIterator[Tick | Bar]:
        """Yield ticks and closed bars of *symbols* from now on, until `close` or the end of the data.

        A slow reader gets the newest tick of each symbol only, and at most the last 1,000 bars.

        Raises:
            ConfigurationError: There is no data for one of them.
        """
        wanted = frozenset(symbols)
        for symbol in sorted(wanted):
            self._has(symbol)
        subscription = _Subscription(wanted)
        self._subscriptions.append(subscription)
        try:
            while True:
                self._catch_up(limit=CATCH_UP_BATCHES)
                for item in subscription.drain():
                    yield item
                if self._closed or self.source.done:
                    return
                await self._pause(subscription)
        finally:
            self._subscriptions.remove(subscription)

    def next_batch(self, until_us: int) -> MarketBatch | None:
        """Take the next batch from the source up to *until_us* and show it to the subscribers."""
        batch = self.source.next_batch(until_us)
        if batch is None:
            return None
        ticks = [
            Tick(quote.symbol, quote.at_us, quote.price_paise / 100, quote.volume) for quote in batch.quotes
        ]
        for tick in ticks:
            self._latest[tick.symbol] = tick
        for subscription in self._subscriptions:
            subscription.take(ticks, batch.bars)
        return batch

    async def close(self) -> None:
        """End all subscriptions; harmless when repeated."""
        self._closed = True
        for subscription in self._subscriptions:
            subscription.woken.set()

    def _has(self, symbol: str) -> None:
        if symbol not in self.source.symbols:
            raise ConfigurationError(
                f"No market data for {symbol!r}.",
                remedy=f"There is data for {', '.join(self.source.symbols)}.",
            )

    def _catch_up(self, limit: int | None = None) -> None:
        if self.driven:
            return
        until_us, taken = self.source.now_us(), 0
        while (limit is None or taken < limit) and self.next_batch(until_us) is not None:
            taken += 1

    async def _pause(self, subscription: _Subscription) -> None:
        due_s = self.source.due_in_s()
        pause_s = MAX_PAUSE_S if self.driven or due_s is None else min(due_s, MAX_PAUSE_S)
        try:
            async with asyncio.timeout(pause_s):
                await subscription.woken.wait()
        except TimeoutError:
            return
