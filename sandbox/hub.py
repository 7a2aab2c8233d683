"""What routes and feeds share: clock, exchange, sessions, faults, and the loop that moves the market."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from sandbox.auth import Auth
from sandbox.exchange import Exchange
from sandbox.faults import Faults
from sandbox.frames import Snapshot
from sandbox.limits import RateLimiter
from sandbox.market_clock import Instant, MarketClock
from sandbox.orders import Order
from sandbox.prices import Prices
from sandbox.state import State
from sandbox.switches import Switches
from shared.clock import Clock
from shared.instruments import Instrument, Instruments

TICK_S = 0.01
"""How often the exchange is moved while something is at work."""

IDLE_S = 0.1
SAVE_EVERY_S = 1.0
YEAR_REACH = 130
"""The made-up 52-week range, percent of yesterday's close."""


@dataclass(slots=True)
class Hub:
    """One sandbox."""

    market: str
    label: str
    clock: Clock
    time: MarketClock
    instruments: Instruments
    prices: Prices
    exchange: Exchange
    auth: Auth
    limits: RateLimiter
    faults: Faults
    switches: Switches
    state: State
    requests: dict[str, int] = field(default_factory=dict)
    registered: dict[str, str] = field(default_factory=dict)
    """The address that a client has registered, where it is not among those allowed to all."""

    listeners: list[Callable[[Order], None]] = field(default_factory=list)
    _sequences: dict[str, int] = field(default_factory=dict)

    def now(self) -> Instant:
        """Return the market's time."""
        return self.time.now(self.clock.boot_s(), self.clock.now_us())

    def wall_us(self) -> int:
        """Return the wall's time, for latencies and sessions."""
        return self.clock.now_us()

    def updated(self, order: Order) -> None:
        """Keep a changed order and tell the order feeds."""
        self.state.order(order)
        for listener in self.listeners:
            listener(order)

    async def run(self) -> None:
        """Move the exchange until cancelled."""
        saved_s = -SAVE_EVERY_S
        try:
            while True:
                boot_s = self.clock.boot_s()
                self.exchange.advance(self.now(), self.wall_us())
                if boot_s - saved_s >= SAVE_EVERY_S:
                    saved_s = boot_s
                    self.state.position(*self.time.position(2 * SAVE_EVERY_S))
                await asyncio.sleep(IDLE_S if self.exchange.idle else TICK_S)
        finally:
            self.now()
            self.state.position(*self.time.position())

    def snapshot(self, instrument: Instrument, now: Instant) -> Snapshot:
        """Return what a frame says of *instrument* now; every call is a new message of its feed."""
        view = self.prices.view(instrument, now)
        lower, upper = self.prices.band(instrument, now)
        tradable = instrument.tradable
        depth = self.prices.depth(instrument, now)
        number = 0
        if tradable:
            number = self._sequences[instrument.token] = self._sequences.get(instrument.token, 0) + 1
        seconds = now.us // 1_000_000
        none = depth.__class__((), ())
        return Snapshot(
            instrument.token.encode(),
            number,
            now.us // 1000,
            view.last,
            view.quantity,
            (view.opening + view.last) // 2 if tradable else 0,
            view.volume,
            float(sum(level.quantity for level in depth.bids) * 40) if tradable else 0.0,
            float(sum(level.quantity for level in depth.asks) * 40) if tradable else 0.0,
            view.opening,
            view.high,
            view.low,
            view.previous,
            seconds if self.switches.trade_time_unit == "s" else seconds * 1000,
            depth if tradable else none,
            upper if tradable else 0,
            lower if tradable else 0,
            max(view.previous * YEAR_REACH // 100, view.high) if tradable else 0,
            min(view.previous * 100 // YEAR_REACH, view.low) if tradable else 0,
        )
