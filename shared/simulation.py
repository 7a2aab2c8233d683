"""A price process that behaves like an NSE stock: seeded, on the tick grid, the same on every machine.

It is an invention for rehearsal, not a model of any stock: nothing learned from its profits is worth
anything. Per second prices move by a Gaussian step whose size follows a U over the session (busy at the
open and the close), with trend regimes of some twenty minutes, an opening gap, and a clamp well inside
the exchange's 10 % band.
"""

from __future__ import annotations

import math
import random

SESSION_SECONDS = 22_500
"""09:15 to 15:30."""

MINUTE_VOLATILITY = 0.0005
"""Typical size of a minute's move, as a share of the price; about 1 % a session."""

OPENING_GAP = 0.004
"""Typical size of the move over night, as a share of the price."""

REGIME_SECONDS = 1_200.0
"""Mean length of a trend regime."""

REGIME_DRIFT = 0.55
"""Typical drift of a regime over a minute, in units of a minute's volatility."""

DAY_LIMIT = 0.08
"""No price is further than this from the session's first reference, as a share of it."""

TRADE_CHANCE = 1.35
"""Chance of a trade within a second at activity 1; at noon some 0.95, else nearly every second."""

MEAN_VOLUME = 120
"""Shares in a typical second with a trade."""

START_PRICES_PAISE = {"RELIANCE": 250_000, "TCS": 342_000, "INFY": 152_000, "HDFCBANK": 168_000}
"""Where well-known names begin when nothing came before; any other name begins at ₹500."""

DEFAULT_START_PAISE = 50_000


def activity(second: float) -> float:
    """Return how busy the market is at *second* of the session: 2.2 at the open, 0.7 at noon, 1.6 late."""
    passed = second / SESSION_SECONDS
    return 0.7 + 1.5 * math.exp(-passed / 0.08) + 0.9 * math.exp((passed - 1.0) / 0.06)


class PriceProcess:
    """One instrument's session, second by second.

    Args:
        seed: Of the whole market.
        symbol: Draws of its own for each instrument.
        session: Number of the session; draws of its own, too.
        start_paise: Last price before the session, paise.
        tick_paise: Price grid, paise.
    """

    def __init__(
        self, seed: int, symbol: str, session: int, start_paise: int, tick_paise: int, *, gap: bool = True
    ) -> None:
        # Seeding by text goes through SHA-512: the same draws under every hash seed and platform.
        self._random = random.Random(f"tape/{seed}/{symbol}/{session}")
        self._tick = tick_paise
        self._floor = start_paise * (1.0 - DAY_LIMIT)
        self._ceiling = start_paise * (1.0 + DAY_LIMIT)
        self._price = float(start_paise)
        if gap:
            self._move(self._random.gauss(0.0, OPENING_GAP))
        self._drift = 0.0
        self._regime_left = 0.0

    @property
    def price_paise(self) -> int:
        """Return the price now, paise on the grid."""
        return max(round(self._price / self._tick), 1) * self._tick

    def step(self, second: int) -> tuple[int, int]:
        """Go through *second* (0 is the first after the open).

        Returns:
            Price in paise on the grid, and shares traded: 0 says that nobody traded.
        """
        draw = self._random
        busy = activity(second)
        if self._regime_left <= 0.0:
            self._regime_left = draw.expovariate(1.0 / REGIME_SECONDS)
            self._drift = draw.gauss(0.0, REGIME_DRIFT * MINUTE_VOLATILITY) / 60.0
        self._regime_left -= 1.0
        self._move(self._drift + draw.gauss(0.0, MINUTE_VOLATILITY * math.sqrt(busy / 60.0)))
        if draw.random() >= min(TRADE_CHANCE * busy, 0.995):
            return self.price_paise, 0
        return self.price_paise, 1 + int(MEAN_VOLUME * busy * draw.expovariate(1.0))

    def _move(self, change: float) -> None:
        price = self._price * (1.0 + change)
        # Reflected, not stuck: a price that lies at a limit for long would be a market of its own.
        if price > self._ceiling:
            price = max(2.0 * self._ceiling - price, self._floor)
        elif price < self._floor:
            price = min(2.0 * self._floor - price, self._ceiling)
        self._price = price


def start_price(symbol: str) -> int:
    """Return where *symbol* begins when nothing came before, paise."""
    return START_PRICES_PAISE.get(symbol, DEFAULT_START_PAISE)
