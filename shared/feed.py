"""The seam between a broker's live market and whoever decides on it.

A strategy knows no broker: it sees a `LiveMarket`, which the composition root takes from one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import msgspec

from shared.models import Bar


class MarketTick(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One message of a market feed.

    Attributes:
        symbol: As in the instrument table.
        price_paise: Last traded price, paise.
        at_us: Exchange time, microseconds since the epoch, UTC: the market's own clock.
        received_us: Wall time at which it reached us.
        day_volume: Shares traded so far this day; 0 where the mode does not tell.
        last_quantity: Shares of the last trade.
        bid_paise, ask_paise: The touch; 0 where the mode does not tell or the side is empty.
        lower_paise, upper_paise: Circuit limits; 0 where not told.
        sequence: The feed's number of the message; 0 has no meaning (indices).
    """

    symbol: str
    price_paise: int
    at_us: int
    received_us: int
    day_volume: int = 0
    last_quantity: int = 0
    bid_paise: int = 0
    ask_paise: int = 0
    lower_paise: int = 0
    upper_paise: int = 0
    sequence: int = 0


@dataclass(frozen=True, slots=True)
class History:
    """Closed bars, and what could not be had of them.

    Attributes:
        bars: Oldest first, without duplicates.
        gaps: Spans [start_us, end_us) that were asked for and failed for good, with the reason.
    """

    bars: list[Bar]
    gaps: list[tuple[int, int, str]]


@dataclass(frozen=True, slots=True)
class FeedHealth:
    """How a feed does.

    Attributes:
        connected: At least one connection is open and subscribed.
        silent_s: Seconds since the last message of any kind.
        frames: Messages taken.
        malformed: Messages that could not be read; counted, never fatal.
        backward: Messages whose sequence or time went back; dropped.
        reconnects: How often a connection was opened anew.
        trouble: What is wrong now, in words for a human; empty when nothing is.
    """

    connected: bool
    silent_s: float
    frames: int
    malformed: int
    backward: int
    reconnects: int
    trouble: str = ""


class LiveMarket(Protocol):
    """A broker's market: history by request, ticks by push.

    Attributes:
        run: `live`, or `sandbox-…` for a rehearsal: names the run in every signal id.
        label: What a human is shown about where the data comes from, with the data account.
    """

    run: str
    label: str

    async def open(self, symbols: list[str]) -> None:
        """Connect and subscribe; returns once the feed is open, reconnects by itself from then on."""
        ...

    async def history(self, symbol: str, timeframe: str, start_us: int, end_us: int) -> History:
        """Return bars of *timeframe* (`1m` … `1d`) with start_us ≤ bar start and bar close ≤ end_us."""
        ...

    def drain(self) -> list[MarketTick]:
        """Return the ticks since the last call, in the order of their arrival."""
        ...

    async def wait(self, timeout_s: float) -> bool:
        """Return True as soon as there is something to drain, False after *timeout_s*."""
        ...

    def market_now_us(self) -> int:
        """Return the market's time: the wall's for the real exchange, the sandbox's own for a rehearsal."""
        ...

    def health(self) -> FeedHealth:
        """Return how the feed does now."""
        ...

    async def close(self) -> None:
        """Close the connections; harmless when repeated."""
        ...
