"""The seam between market data and everything that decides on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from shared.models import Bar, Quote


@dataclass(frozen=True, slots=True)
class MarketBatch:
    """What the market did up to one instant.

    Attributes:
        at_us: Market time, µs UTC.
        quotes: In the order of their arrival; they are known before `bars` are decided on.
        bars: Of the source's own timeframe, closing at `at_us`, in order of symbol.
    """

    at_us: int
    quotes: list[Quote]
    bars: list[Bar]


class MarketDataSource(Protocol):
    """One market, handed out in the order of its time."""

    @property
    def run(self) -> str:
        """`sim`, `live`, or `replay-<fingerprint>[.n]`: names the run in every signal id."""
        ...

    @property
    def label(self) -> str:
        """What a human is shown about where the data comes from."""
        ...

    @property
    def symbols(self) -> Sequence[str]:
        """What there is data for."""
        ...

    @property
    def timeframe(self) -> str:
        """Of the bars in the batches."""
        ...

    def history(self, symbol: str, timeframe: str, count: int) -> list[Bar]:
        """Return up to *count* bars that closed before the first batch, oldest first."""
        ...

    def next_batch(self, until_us: int) -> MarketBatch | None:
        """Return the next batch with `at_us` ≤ *until_us*, or None when there is none (yet)."""
        ...

    def now_us(self) -> int:
        """Return the market time up to which batches are due now, µs UTC."""
        ...

    def pace(self, speed: float | None) -> None:
        """Let the market's time run from here at *speed* session seconds per wall second; None: at once."""
        ...

    def due_in_s(self) -> float | None:
        """Return wall seconds until the next batch is due (0: now); None when there will be no more."""
        ...

    @property
    def done(self) -> bool:
        """Whether every batch has been handed out."""
        ...

    @property
    def progress(self) -> float:
        """Share of the batches handed out, 0 to 1."""
        ...
