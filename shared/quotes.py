"""The latest price of each instrument, conflated: the order side's view of the market."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from shared.models import Quote


class Quotes(Protocol):
    """Read side of the port; lossy by nature, never a source of truth for fills at a broker.

    Attributes:
        run: The market whose prices these are: `live`, `sim`, `replay-…`; empty where none is known.
    """

    run: str

    def latest(self, symbol: str) -> Quote | None:
        """Return the newest quote of *symbol*, or None where none has been seen."""
        ...


class QuoteBoard:
    """In-memory quotes; the engine or a feed writes, the order room reads.

    Listeners run synchronously, in the writer's thread, once per batch.
    """

    def __init__(self, run: str = "") -> None:
        self.run = run
        self._latest: dict[str, Quote] = {}
        self._listeners: list[Callable[[list[Quote]], None]] = []

    def latest(self, symbol: str) -> Quote | None:
        """Return the newest quote of *symbol*, or None where none has been seen."""
        return self._latest.get(symbol)

    def update(self, quotes: Iterable[Quote]) -> None:
        """Take a batch; of several quotes of one symbol the last stays."""
        batch = list(quotes)
        for quote in batch:
            self._latest[quote.symbol] = quote
        for listener in self._listeners:
            listener(batch)

    def listen(self, listener: Callable[[list[Quote]], None]) -> None:
        """Call *listener* with each batch from now on."""
        self._listeners.append(listener)

    def symbols(self) -> list[str]:
        """Return the symbols seen so far, sorted."""
        return sorted(self._latest)
