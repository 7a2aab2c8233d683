"""Angel One as a live market: history by candles, the present by the feed."""

from __future__ import annotations

import asyncio

from broker.angel_one import candles
from broker.angel_one.market_feed import MarketFeed
from broker.angel_one.rest import Rest
from shared.calendar import Calendar
from shared.clock import Clock
from shared.errors import VenueUnavailable
from shared.feed import FeedHealth, History, MarketTick
from shared.instruments import Instruments
from shared.models import is_rehearsal

OPEN_TIMEOUT_S = 20.0


class AngelOneMarket:
    """One account's market data.

    Args:
        rest: Its calls.
        feed: Its market feed, not open yet.
        instruments: Symbols and tokens.
        calendar: Sessions.
        clock: The wall is the live market's clock.
        run: `live`, or the name of a rehearsal's market.
        label: For a human.
    """

    def __init__(
        self,
        rest: Rest,
        feed: MarketFeed,
        instruments: Instruments,
        calendar: Calendar,
        clock: Clock,
        run: str,
        label: str,
    ) -> None:
        self.run = run
        self.label = label
        self._rest = rest
        self._feed = feed
        self._instruments = instruments
        self._calendar = calendar
        self._clock = clock

    async def open(self, symbols: list[str]) -> None:
        """Subscribe *symbols*; return once the feed is open and, on a rehearsal, its clock is known.

        Raises:
            VenueUnavailable: It does not open in time.
        """
        self._feed.subscribe(self._instruments.get(symbol) for symbol in symbols)
        try:
            async with asyncio.timeout(OPEN_TIMEOUT_S):
                await self._feed.wait_open()
                while is_rehearsal(self.run) and not self._feed.newest_us:
                    await self._feed.wait(0.1)
        except TimeoutError:
            why = self._feed.health().trouble or "nothing came"
            raise VenueUnavailable(
                f"The market feed of {self.label} does not open: {why}.",
                remedy="`trading doctor` checks the account; try again later.",
            ) from None

    async def history(self, symbol: str, timeframe: str, start_us: int, end_us: int) -> History:
        """Return closed bars by candles."""
        instrument = self._instruments.get(symbol)
        return await candles.history(self._rest, self._calendar, instrument, timeframe, start_us, end_us)

    def drain(self) -> list[MarketTick]:
        """Return the ticks since the last call."""
        return self._feed.drain()

    async def wait(self, timeout_s: float) -> bool:
        """Return True as soon as there is something to drain."""
        return await self._feed.wait(timeout_s)

    def market_now_us(self) -> int:
        """Return the wall's time, on a rehearsal the time of the newest tick."""
        return self._feed.newest_us if is_rehearsal(self.run) else self._clock.now_us()

    def health(self) -> FeedHealth:
        """Return how the feed does."""
        return self._feed.health()

    async def close(self) -> None:
        """Close the feed."""
        await self._feed.close()
