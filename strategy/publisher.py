"""The way out of the engine: signals and checkpoints in one transaction, then the bus.

A commit that fails keeps its signals for the next try: what was decided is never decided anew in the
same life, and after a restart the same bars give the same ids.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

import structlog

from shared.clock import Clock
from shared.failpoint import hit
from shared.models import Quote, Signal
from strategy.decider import Decider

REPLAY_PATIENCE_S = 60.0
"""How long a replay waits for the order side to take a signal: as long as an entry is good."""

SIM_PATIENCE_S = 5.0
PROBE_S = 0.02
"""The wait at each signal once the order side has been given up on, until it is back."""

WAIT_SLICE_S = 0.5
CHECKPOINT_S = 1.0
CHECKPOINT_BARS = 2_000
"""Checkpoints without signals wait this long for company: seconds, or bars decided."""

MAX_QUOTES = 10_000
"""In one message."""

QUOTES_EVERY_S = 0.25

CheckpointKey = tuple[str, str, str]
Listener = Callable[[Signal, int], None]

log = structlog.get_logger(__name__)


class SignalStore(Protocol):
    """What the engine needs of an outbox."""

    async def checkpoints(self, run: str) -> dict[CheckpointKey, int]:
        """Return how far each (strategy, symbol, timeframe) has decided in *run*, µs UTC."""
        ...

    async def commit(
        self, run: str, signals: Sequence[Signal], checkpoints: Mapping[CheckpointKey, int]
    ) -> list[int]:
        """Accept all in one transaction; return the number of each signal."""
        ...

    async def meta(self, key: str) -> str | None:
        """Return what is kept under *key*."""
        ...

    async def set_meta(self, values: Mapping[str, str]) -> None:
        """Keep *values*."""
        ...


class SignalRelay(Protocol):
    """What the engine needs of a relay."""

    def wake(self) -> None:
        """Send what is new."""
        ...

    async def wait_taken(self, seq: int, timeout_s: float) -> bool:
        """Return True once every known group has signal *seq*."""
        ...

    async def publish_quotes(self, run: str, quotes: Sequence[Quote]) -> None:
        """Publish prices of the market *run*."""
        ...


class Publisher:
    """Makes what a decider said durable and known.

    Args:
        decider: Its run names the signals; its dirty checkpoints go with them.
        outbox: Where signals become durable.
        relay: None where nobody listens.
        clock: Its boot time paces checkpoints and quotes.
        stop: Ends a wait for the order side early.
    """

    def __init__(
        self,
        decider: Decider,
        outbox: SignalStore,
        relay: SignalRelay | None,
        *,
        clock: Clock,
        stop: asyncio.Event,
    ) -> None:
        self.waiting: list[Signal] = []
        self.count = 0
        self._decider = decider
        self._outbox = outbox
        self._relay = relay
        self._clock = clock
        self._stop = stop
        self._unsent: dict[str, Quote] = {}
        self._unsent_replay: list[Quote] = []
        self._quoted_s = self._saved_s = clock.boot_s()
        self._saved_bars = 0
        self._order_side_away = False

    def show(self, quotes: Iterable[Quote]) -> None:
        """Take prices for the bus; sent soon, or before the next signal.

        Of each symbol the last is sent, in a replay all: there, what an order fills at must not
        depend on the speed.
        """
        if self._relay is None:
            return
        if self._decider.run.startswith("replay"):
            self._unsent_replay.extend(quotes)
        else:
            self._unsent.update((quote.symbol, quote) for quote in quotes)

    async def commit(self, listeners: Sequence[Listener]) -> list[Signal]:
        """Make the waiting signals durable, tell everybody; a replay or simulation waits for the order side.

        Returns:
            The signals committed.

        Raises:
            StoreError: The disk says no; they wait for the next try.
        """
        if not self.waiting:
            return []
        await self.send_quotes()
        signals = list(self.waiting)
        seqs = await self.save()
        self.count += len(signals)
        for signal, seq in zip(signals, seqs, strict=True):
            for listener in listeners:
                listener(signal, seq)
        if self._relay is not None:
            self._relay.wake()
            if self._decider.run == "sim" or self._decider.run.startswith("replay"):
                await self._wait_taken(self._relay, seqs[-1])
        return signals

    async def keep_up(self) -> None:
        """Do what need not be done at each batch, where it is time to."""
        now_s = self._clock.boot_s()
        if now_s - self._quoted_s >= QUOTES_EVERY_S:
            await self.send_quotes()
        ahead = self._decider.bars - self._saved_bars
        if now_s - self._saved_s >= CHECKPOINT_S or ahead >= CHECKPOINT_BARS:
            await self.save()

    async def save(self) -> list[int]:
        """Commit signals and checkpoints at hand; on failure both stay for the next try."""
        dirty = self._decider.dirty
        signals, checkpoints = list(self.waiting), dict(dirty)
        seqs: list[int] = []
        if signals:
            hit("engine.decided")
        if signals or checkpoints:
            seqs = await self._outbox.commit(self._decider.run, signals, checkpoints)
        if seqs:
            hit("engine.committed")
        del self.waiting[: len(signals)]
        for key, close_us in checkpoints.items():
            if dirty.get(key) == close_us:
                del dirty[key]
        self._saved_s = self._clock.boot_s()
        self._saved_bars = self._decider.bars
        return seqs

    async def send_quotes(self) -> None:
        """Publish the latest prices that have not been published."""
        self._quoted_s = self._clock.boot_s()
        quotes = [*self._unsent_replay, *self._unsent.values()]
        if self._relay is not None and quotes:
            self._unsent_replay.clear()
            self._unsent.clear()
            for start in range(0, len(quotes), MAX_QUOTES):
                await self._relay.publish_quotes(self._decider.run, quotes[start : start + MAX_QUOTES])

    async def _wait_taken(self, relay: SignalRelay, seq: int) -> None:
        """Let the order side catch up before its market moves on; not for ever, and not while stopping."""
        patience_s = SIM_PATIENCE_S if self._decider.run == "sim" else REPLAY_PATIENCE_S
        give_up_s = self._clock.boot_s() + (PROBE_S if self._order_side_away else patience_s)
        while not self._stop.is_set():
            left_s = give_up_s - self._clock.boot_s()
            if await relay.wait_taken(seq, min(max(left_s, 0.0), WAIT_SLICE_S)):
                self._order_side_away = False
                return
            if left_s <= WAIT_SLICE_S:
                if not self._order_side_away:
                    log.warning("the order side does not take signals; going on without it", seq=seq)
                self._order_side_away = True
                return
