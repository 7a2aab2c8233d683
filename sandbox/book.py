"""The synthetic order book around the tape's price: five levels a side, the same for the same second."""

from __future__ import annotations

import random
from dataclasses import dataclass

from shared.instruments import Instrument

LEVELS = 5
SPREAD_BPS = 2
"""Distance of the touch from the price on each side, 1/100 of a percent; at least one tick."""

MEAN_SIZE = 900
"""Shares at one level, typically."""


@dataclass(frozen=True, slots=True)
class Level:
    """Shares offered at one price (paise), in so many orders."""

    price: int
    quantity: int
    orders: int


@dataclass(frozen=True, slots=True)
class Depth:
    """Both sides, best first; an empty side is locked at a circuit."""

    bids: tuple[Level, ...]
    asks: tuple[Level, ...]


def depth(
    seed: int, instrument: Instrument, price: int, moment: int, lower: int, upper: int, locked: str = ""
) -> Depth:
    """Return the book around *price*.

    Args:
        seed: Of the market.
        instrument: Gives the tick.
        price: Last price, paise.
        moment: Number of the price step; sizes change with it.
        lower, upper: Circuit limits, paise; no level lies outside.
        locked: `upper` leaves no seller, `lower` no buyer.
    """
    tick = instrument.tick_paise
    half = max(price * SPREAD_BPS // 10_000 // tick, 1) * tick
    draw = random.Random(f"book/{seed}/{instrument.symbol}/{moment}")
    bids: list[Level] = []
    asks: list[Level] = []
    for number in range(LEVELS):
        bid, ask = price - half - number * tick, price + half + number * tick
        for side, at in ((bids, bid), (asks, ask)):
            size = 1 + int(MEAN_SIZE * draw.expovariate(1.0))
            if lower <= at <= upper:
                side.append(Level(at, size, 1 + size // 300))
    return Depth(() if locked == "lower" else tuple(bids), () if locked == "upper" else tuple(asks))
