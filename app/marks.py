"""Latest prices, kept beside the outbox so that a listing of another process can value positions."""

from __future__ import annotations

import json
from pathlib import Path

from shared.quotes import QuoteBoard
from shared.store.sqlite import Database
from strategy.outbox import DATABASE_FILE, SCHEMA, Outbox

_PREFIX = "marks:"
_IN_THE_STORE = "engine."
"""The outbox puts this in front of what is kept with it."""


async def save_marks(outbox: Outbox, board: QuoteBoard) -> None:
    """Keep the latest price of each symbol of the board's market."""
    prices = {symbol: quote.price_paise for symbol in board.symbols() if (quote := board.latest(symbol))}
    if board.run and prices:
        await outbox.set_meta({_PREFIX + board.run: json.dumps(prices)})


def stored_marks(home: Path, run: str | None) -> dict[str, int]:
    """Return the latest known prices of a market, paise by symbol, from a state folder in use or not."""
    if run is None or not (home / DATABASE_FILE).exists():
        return {}
    database = Database.open_reader(home / DATABASE_FILE, SCHEMA)
    try:
        return _parsed(database.meta(_IN_THE_STORE + _PREFIX + run))
    finally:
        database.close()


def _parsed(text: str | None) -> dict[str, int]:
    return {str(symbol): int(price) for symbol, price in json.loads(text or "{}").items()}
