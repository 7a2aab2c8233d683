from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from shared.models import Bar, SignalType
from strategy.base import Decision, Evaluator
from strategy.config import StrategyConfig, build

Bars = Callable[..., list[Bar]]
SEESAW = [100.0, 101.0] * 8


def _run(bars: Bars, closes: Sequence[float], **parameters: Any) -> list[tuple[int, Decision]]:
    evaluator = Evaluator(build(StrategyConfig("r", "rsi", ("RELIANCE",), {"period": 4} | parameters)))
    found = ((index, evaluator.update(bar)) for index, bar in enumerate(bars(closes)))
    return [(index, decision) for index, decision in found if decision is not None]


def test_fall_into_the_zone_buys_once(bars: Bars) -> None:
    found = _run(bars, [*SEESAW, 98.0, 95.0, 92.0, 89.0])
    assert [decision.signal_type for _, decision in found] == [SignalType.BUY]
    assert found[0][1].confidence > 0.5


def test_rise_into_the_zone_sells_once(bars: Bars) -> None:
    found = _run(bars, [*SEESAW, 104.0, 108.0, 112.0])
    assert [decision.signal_type for _, decision in found] == [SignalType.SELL]


def test_shallow_rise_below_min_confidence_only_exits(bars: Bars) -> None:
    found = _run(bars, [*SEESAW, 104.0, 108.0], min_confidence=0.99)
    assert [decision.signal_type for _, decision in found] == [SignalType.EXIT_LONG]


def test_shallow_fall_below_min_confidence_says_nothing(bars: Bars) -> None:
    assert _run(bars, [*SEESAW, 98.0], min_confidence=0.99) == []


@pytest.mark.parametrize(("index", "confidence"), [(30.0, 0.5), (15.0, 0.75), (0.0, 1.0)])
def test_confidence_is_linear_in_the_depth(bars: Bars, index: float, confidence: float) -> None:
    strategy = build(StrategyConfig("r", "rsi", ("TCS",)))
    decision = strategy.on_values(bars([1.0])[0], index, 50.0)
    assert decision is not None
    assert decision.confidence == pytest.approx(confidence)
