"""Relative strength index: buy weakness, sell strength."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from shared.models import Bar, SignalType
from strategy.base import Decision, Strategy
from strategy.graph import Graph, previous, rsi


class Parameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Zones of the index, 0 to 100.

    Attributes:
        period: Bars of Wilder's smoothing.
        oversold, overbought: Borders of the zones; oversold < overbought.
        min_confidence: An entry needs at least this; 0.5 lets every entry into a zone pass.
    """

    period: Annotated[int, Meta(ge=2, le=1_000)] = 14
    oversold: Annotated[float, Meta(gt=0.0, lt=100.0)] = 30.0
    overbought: Annotated[float, Meta(gt=0.0, lt=100.0)] = 70.0
    min_confidence: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.5

    def __post_init__(self) -> None:
        if self.oversold >= self.overbought:
            raise ValueError(f"oversold ({self.oversold:g}) must be below overbought ({self.overbought:g})")


class RelativeStrength(Strategy[Parameters]):
    """BUY on the bar that enters the oversold zone, SELL on the bar that enters the overbought zone.

    Confidence is 0.5 at the border of the zone and 1.0 at its far end (index 0 or 100), linear between.
    It filters entries; entering the overbought zone below `min_confidence` still says EXIT_LONG. Wilder's
    smoothing never forgets: after ten periods and more the rest is below what a price step moves.
    """

    name = "rsi"
    parameters_type = Parameters

    @property
    def warmup_bars(self) -> int:
        """Fifteen periods: what came before weighs less than (1 - 1/n) ** 15n, about 3 in ten million."""
        return 15 * self.parameters.period + 1

    @classmethod
    def graph(cls, parameters: Parameters) -> Graph:
        """Declare the index and its last value."""
        index = rsi(parameters.period)
        return {"index": index, "before": previous(index)}

    def on_values(self, bar: Bar, index: float, before: float) -> Decision | None:
        """Decide on the bar that crosses into a zone."""
        oversold, overbought = self.parameters.oversold, self.parameters.overbought
        if index <= oversold < before:
            confidence = 0.5 + 0.5 * (oversold - index) / oversold
            if confidence < self.parameters.min_confidence:
                return None
            return Decision(SignalType.BUY, confidence, f"RSI fell to {index:.1f}, below {oversold:g}")
        if index >= overbought > before:
            confidence = 0.5 + 0.5 * (index - overbought) / (100.0 - overbought)
            sure = confidence >= self.parameters.min_confidence
            return Decision(
                SignalType.SELL if sure else SignalType.EXIT_LONG,
                confidence,
                f"RSI rose to {index:.1f}, above {overbought:g}",
            )
        return None
