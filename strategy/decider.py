"""From closed bars to signals: which strategy looks at what, and what it said. Pure, no I/O."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

import structlog

from shared.bus.codec import MAX_QUANTITY
from shared.errors import ConfigurationError
from shared.ex_dates import ExDates
from shared.ids import signal_id
from shared.instruments import Instruments, round_to_tick
from shared.models import Bar, Signal, SignalType, instant
from strategy.bars import TIMEFRAMES, BarAggregator, SessionOf
from strategy.base import Decision, Evaluator, Strategy
from strategy.basis import Basis
from strategy.config import StrategyConfig, build
from strategy.sources.base import MarketBatch

MAX_VALID_US = 60_000_000
"""An entry is good for the length of its bar, at most this long."""

STRATEGY_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    NameError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What a mistake in a strategy raises; anything else (memory, interrupts, I/O) is no business of it."""

log = structlog.get_logger(__name__)


class Key(NamedTuple):
    """One strategy on one instrument."""

    strategy_id: str
    symbol: str
    timeframe: str


@dataclass(slots=True)
class _Feed:
    key: Key
    strategy: Strategy[Any]
    evaluator: Evaluator
    basis: Basis | None
    decided_us: int = 0
    fed_us: int = 0


class Decider:
    """All strategies of an engine on one run of market data.

    Args:
        configs: Checked ones (`strategy.config.check`).
        run: Names the market data in every signal id.
        timeframe: Of the bars that will come.
        instruments: For tick sizes.
        session_of: The grid of larger bars.
        ex_dates: On each, strategies begin anew with what came before on the new basis.

    Raises:
        ConfigurationError: A strategy wants smaller bars than there are.
    """

    def __init__(
        self,
        configs: Sequence[StrategyConfig],
        *,
        run: str,
        timeframe: str,
        instruments: Instruments,
        session_of: SessionOf,
        ex_dates: ExDates | None = None,
    ) -> None:
        self.run = run
        self._ex_dates = ex_dates or ExDates()
        self.dirty: dict[tuple[str, str, str], int] = {}
        self.failures: Counter[str] = Counter()
        self.bars = 0
        self._timeframe = timeframe
        self._instruments = instruments
        self._feeds: dict[tuple[str, str], list[_Feed]] = {}
        self._larger: dict[str, list[BarAggregator]] = {}
        self._said: set[str] = set()
        for config in configs:
            wanted = config.timeframe or timeframe
            if TIMEFRAMES[wanted] < TIMEFRAMES[timeframe]:
                raise ConfigurationError(
                    f"{config.strategy_id} wants {wanted} bars; the market data has {timeframe} bars.",
                    remedy="Give it a larger timeframe, or finer data.",
                )
            for symbol in config.symbols:
                self._add(config, symbol, wanted, session_of)

    def _add(self, config: StrategyConfig, symbol: str, timeframe: str, session_of: SessionOf) -> None:
        strategy = build(config)
        key = Key(config.strategy_id, symbol, timeframe)
        feeds = self._feeds.setdefault((symbol, timeframe), [])
        if not feeds and timeframe != self._timeframe:
            self._larger.setdefault(symbol, []).append(BarAggregator(timeframe, session_of))
        coming = self._ex_dates.of(symbol)
        basis = Basis(coming, strategy.warmup_bars) if coming else None
        feeds.append(_Feed(key, strategy, Evaluator(strategy), basis))

    @property
    def symbols(self) -> list[str]:
        """What the strategies look at, sorted."""
        return sorted({symbol for symbol, _ in self._feeds})

    def resume(self, checkpoints: dict[tuple[str, str, str], int]) -> None:
        """Take over how far each strategy has decided: bars up to there warm up and never emit."""
        for feeds in self._feeds.values():
            for feed in feeds:
                feed.decided_us = checkpoints.get(feed.key, 0)

    def decided_us(self, symbols: Container[str]) -> int:
        """Return the market time up to which everything on *symbols* was decided before this start."""
        known = (feeds for (symbol, _), feeds in self._feeds.items() if symbol in symbols)
        return min((feed.decided_us for feeds in known for feed in feeds), default=0)

    def warm_up(self, history: Callable[[str, str, int], Sequence[Bar]]) -> None:
        """Feed each strategy what came before, without deciding anything.

        Args:
            history: Returns up to n bars of (symbol, timeframe), oldest first.
        """
        for (symbol, timeframe), feeds in self._feeds.items():
            bars = history(symbol, timeframe, max(feed.strategy.warmup_bars for feed in feeds))
            for feed in feeds:
                for bar in bars:
                    self._decision(feed, bar)
        for symbol, aggregators in self._larger.items():
            for aggregator in aggregators:
                # The larger bar at work has begun already: its first minutes are history, too.
                for bar in history(symbol, self._timeframe, aggregator.most_parts(self._timeframe)):
                    aggregator.update(bar)

    def decide(self, batch: MarketBatch, accepted_us: int) -> list[Signal]:
        """Take a batch of the market and return the signals on the bars that it closes.

        Args:
            batch: Later than the one before.
            accepted_us: Wall time that the signals carry, µs UTC.
        """
        signals: list[Signal] = []
        for bar in self._closed(batch):
            for feed in self._feeds.get((bar.symbol, bar.timeframe), ()):
                signals += self._on_bar(feed, bar, accepted_us)
        return signals

    def _closed(self, batch: MarketBatch) -> Iterator[Bar]:
        for bar in batch.bars:
            if bar.timeframe == self._timeframe:
                yield bar
            for larger in self._larger.get(bar.symbol, ()):
                yield from larger.update(bar)
        for aggregators in self._larger.values():
            for larger in aggregators:
                yield from larger.flush(batch.at_us)

    def _on_bar(self, feed: _Feed, bar: Bar, accepted_us: int) -> list[Signal]:
        self.bars += 1
        decision = self._decision(feed, bar)
        if bar.close_us <= feed.decided_us:
            return []
        feed.decided_us = self.dirty[feed.key] = bar.close_us
        return [self._signal(feed.key, bar, decision, accepted_us)] if decision is not None else []

    def _decision(self, feed: _Feed, bar: Bar) -> Decision | None:
        if bar.close_us <= feed.fed_us:
            return None
        feed.fed_us = bar.close_us
        basis = feed.basis
        try:
            if basis is not None:
                if bar.start_us >= basis.next_us:
                    feed.evaluator = Evaluator(feed.strategy)
                    for before in basis.cross(bar):
                        feed.evaluator.update(before)
                basis.note(bar)
            decision = feed.evaluator.update(bar)
            if decision is not None:
                _check(decision)
            return decision
        except STRATEGY_ERRORS as error:
            # One strategy's mistake is its own: it is counted and said once, the others go on.
            name = feed.key.strategy_id
            self.failures[name] += 1
            what = f"{name}: {type(error).__name__}: {error}"
            if what not in self._said:
                self._said.add(what)
                log.error("strategy failed", strategy=name, symbol=bar.symbol, error=what, exc_info=error)
            return None

    def _signal(self, key: Key, bar: Bar, decision: Decision, accepted_us: int) -> Signal:
        tick = self._instruments.get(key.symbol).tick_paise
        since_us = bar.close_us if self.run == "live" else accepted_us
        valid_us = min(bar.close_us - bar.start_us, MAX_VALID_US)
        return Signal(
            signal_id=signal_id(self.run, key.strategy_id, key.symbol, key.timeframe, bar.close_us, 0),
            run=self.run,
            strategy_id=key.strategy_id,
            symbol=key.symbol,
            timeframe=key.timeframe,
            signal_type=decision.signal_type,
            price=round_to_tick(Decimal(repr(bar.close)), tick),
            bar_close=instant(bar.close_us),
            accepted_at=instant(accepted_us),
            valid_until=instant(since_us + valid_us),
            confidence=decision.confidence,
            reason=decision.reason,
            bar_volume=bar.volume,
            stop=_on_grid(decision.stop, tick),
            target=_on_grid(decision.target, tick),
            add=decision.add,
            quantity=decision.quantity,
        )


def _on_grid(price: Decimal | None, tick: int) -> Decimal | None:
    return None if price is None else round_to_tick(price, tick)


def _check(decision: Decision) -> None:
    if decision.signal_type is SignalType.HOLD:
        raise ValueError("HOLD is no signal; return None")
    if not (math.isfinite(decision.confidence) and 0.0 <= decision.confidence <= 1.0):
        raise ValueError(f"confidence {decision.confidence} is not within 0 to 1")
    if not 0 <= decision.quantity <= MAX_QUANTITY:
        raise ValueError(f"{decision.quantity} is not within 0 and {MAX_QUANTITY} shares")
    for price in (decision.stop, decision.target):
        if price is not None and not (price.is_finite() and price > 0):
            raise ValueError(f"{price} is no price")
