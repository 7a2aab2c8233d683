"""Moving-average crossover."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

import msgspec
from msgspec import Meta

from shared.models import Bar, SignalType
from strategy.base import Decision, Strategy
from strategy.graph import Graph, Recent, minus, previous, recent, sma

Share = Annotated[float, Meta(ge=0.0, le=1.0)]


class Parameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Windows in bars; `min_confidence` 0 to 1.

    Attributes:
        short_window, long_window: Bars of the fast and the slow average; short < long.
        min_confidence: An entry needs at least this; an exit needs none.
        allow_short: Let an upward cross below `min_confidence` close a short position.
    """

    short_window: Annotated[int, Meta(ge=1, le=5_000)] = 10
    long_window: Annotated[int, Meta(ge=2, le=10_000)] = 50
    min_confidence: Share = 0.7
    allow_short: bool = False

    def __post_init__(self) -> None:
        if self.short_window >= self.long_window:
            raise ValueError(
                f"short_window ({self.short_window}) must be smaller than long_window ({self.long_window})"
            )


class MovingAverageCrossover(Strategy[Parameters]):
    """BUY when the fast average crosses above the slow one, SELL when it crosses below.

    Confidence is a percentile: how fast the averages part at the crossing, against the last `long_window`
    bars. It is the share of those bars on which |change of (fast - slow)| was smaller than now: 0.7 says
    that the crossing is steeper than 70 % of what the instrument did lately. It filters entries; a
    downward cross below `min_confidence` still says EXIT_LONG. Everything depends on the last
    `warmup_bars` bars alone.
    """

    name = "moving_average"
    parameters_type = Parameters

    @property
    def warmup_bars(self) -> int:
        """The slow window, the window of the percentile, and one step back for each difference."""
        return 2 * self.parameters.long_window + 1

    @classmethod
    def graph(cls, parameters: Parameters) -> Graph:
        """Declare the spread, its last value, and the spreads that the percentile looks at."""
        spread = minus(sma(parameters.short_window), sma(parameters.long_window))
        return {
            "spread": spread,
            "before": previous(spread),
            "spreads": recent(spread, parameters.long_window + 2),
        }

    def on_values(self, bar: Bar, spread: float, before: float, spreads: Recent) -> Decision | None:
        """Decide on a change of sign; a spread of exactly 0 belongs to neither side."""
        if spread > 0.0 >= before:
            upward = True
        elif spread < 0.0 <= before:
            upward = False
        else:
            return None
        values = spreads.values()
        if len(values) < self.parameters.long_window + 2:
            return None
        confidence = _steepness(values)
        return self._decision(upward, confidence)

    def _decision(self, upward: bool, confidence: float) -> Decision | None:
        short, long, wanted = (
            self.parameters.short_window,
            self.parameters.long_window,
            self.parameters.min_confidence,
        )
        crossing = f"SMA {short} crossed {'above' if upward else 'below'} SMA {long}"
        reason = f"{crossing}, steeper than {confidence:.0%} of the last {long} bars"
        if confidence >= wanted:
            return Decision(SignalType.BUY if upward else SignalType.SELL, confidence, reason)
        if not upward:
            return Decision(SignalType.EXIT_LONG, confidence, reason)
        if self.parameters.allow_short:
            return Decision(SignalType.EXIT_SHORT, confidence, reason)
        return None


def _steepness(spreads: list[float]) -> float:
    """Return the share of the earlier changes that were smaller in size than the last one."""
    changes = [abs(after - before) for before, after in pairwise(spreads)]
    now = changes.pop()
    return sum(change < now for change in changes) / len(changes)
