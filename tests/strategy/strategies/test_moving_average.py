from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from shared.models import Bar, SignalType
from strategy.base import Decision, Evaluator
from strategy.config import StrategyConfig, build
from strategy.graph import Recent

Bars = Callable[..., list[Bar]]
QUIET = [100.0, 100.0] * 10


def _run(bars: Bars, closes: Sequence[float], **parameters: Any) -> list[tuple[int, Decision]]:
    config = StrategyConfig(
        "ma", "moving_average", ("RELIANCE",), {"short_window": 2, "long_window": 4} | parameters
    )
    evaluator = Evaluator(build(config))
    found = ((index, evaluator.update(bar)) for index, bar in enumerate(bars(closes)))
    return [(index, decision) for index, decision in found if decision is not None]


def test_upward_cross_out_of_quiet_is_a_sure_buy(bars: Bars) -> None:
    [(index, decision)] = _run(bars, [*QUIET, 110.0, 120.0, 130.0])
    assert index == len(QUIET)
    assert (decision.signal_type, decision.confidence) == (SignalType.BUY, 1.0)
    assert "SMA 2 crossed above SMA 4" in decision.reason


def test_downward_cross_out_of_quiet_is_a_sell(bars: Bars) -> None:
    [(_, decision)] = _run(bars, [*QUIET, 90.0, 80.0, 70.0])
    assert decision.signal_type is SignalType.SELL


def test_confidence_is_the_share_of_smaller_changes(bars: Bars) -> None:
    # Spreads after the last five bars 0, 10, 0, 0, 0 and then 1: |changes| by hand.
    closes = [100.0] * 12 + [140.0] + [100.0] * 5 + [104.0]
    *_, (index, decision) = _run(bars, closes, min_confidence=0.0)
    assert index == len(closes) - 1
    spreads = []
    for end in range(len(closes) - 5, len(closes) + 1):
        window = closes[:end]
        spreads.append(sum(window[-2:]) / 2 - sum(window[-4:]) / 4)
    changes = [abs(b - a) for a, b in pairwise(spreads)]
    assert decision.confidence == sum(change < changes[-1] for change in changes[:-1]) / 4


def test_slow_cross_below_min_confidence_exits_but_never_enters(bars: Bars) -> None:
    # A wild stretch first, then crossings so slow that nearly every earlier change was larger.
    wild = [100.0, 130.0, 90.0, 140.0, 80.0, 120.0, 85.0, 130.0, 100.0, 100.0, 100.0, 100.0]
    creep = [100.0, 100.2, 100.4, 100.3, 100.0, 99.7, 99.5]
    found = _run(bars, wild + creep, min_confidence=1.0, long_window=8, short_window=3)
    assert {decision.signal_type for _, decision in found} == {SignalType.EXIT_LONG}


def test_slow_upward_cross_closes_a_short_only_where_shorts_are_allowed(bars: Bars) -> None:
    wild = [100.0, 130.0, 90.0, 140.0, 80.0, 120.0, 85.0, 130.0, 100.0, 100.0, 100.0, 100.0]
    creep = [99.9, 99.8, 99.9, 100.1, 100.3, 100.4]
    plain = _run(bars, wild + creep, min_confidence=1.0, long_window=8, short_window=3)
    short = _run(bars, wild + creep, min_confidence=1.0, long_window=8, short_window=3, allow_short=True)
    assert SignalType.EXIT_SHORT not in {decision.signal_type for _, decision in plain}
    assert SignalType.EXIT_SHORT in {decision.signal_type for _, decision in short}


def test_nothing_is_decided_before_the_percentile_is_full(bars: Bars) -> None:
    strategy = build(StrategyConfig("ma", "moving_average", ("TCS",), {"short_window": 2, "long_window": 4}))
    assert strategy.warmup_bars == 9
    assert _run(bars, [100.0] * 7 + [110.0]) == []
    assert len(_run(bars, [100.0] * 8 + [110.0])) == 1


def test_equal_changes_are_not_smaller(bars: Bars) -> None:
    strategy = build(StrategyConfig("ma", "moving_average", ("TCS",), {"short_window": 2, "long_window": 4}))
    ramp = Recent(6, column=[-4.0, -3.0, -2.0, -1.0, 0.0, 1.0])
    ramp._end = 6
    decision = strategy.on_values(bars([1.0])[0], 1.0, 0.0, ramp)
    assert decision is None  # confidence 0: every earlier change was as large
    below = Recent(6, column=[4.0, 3.0, 2.0, 1.0, 0.0, -1.0])
    below._end = 6
    decision = strategy.on_values(bars([1.0])[0], -1.0, 0.0, below)
    assert decision is not None
    assert (decision.signal_type, decision.confidence) == (SignalType.EXIT_LONG, 0.0)
