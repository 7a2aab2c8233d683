from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.models import Bar
from strategy.indicators import Atr, Ema, Previous, Rsi, Sma

prices = st.lists(st.floats(min_value=0.01, max_value=1e6, allow_nan=False), max_size=120)
kinds: list[Callable[[], Any]] = [
    lambda: Sma(1),
    lambda: Sma(7),
    lambda: Ema(5),
    lambda: Rsi(4),
    lambda: Previous(3),
]


@pytest.mark.parametrize("make", kinds)
@given(values=prices)
def test_batch_equals_updates_bit_for_bit(make: Callable[[], Any], values: list[float]) -> None:
    one = make()
    assert make().batch(values) == [one.update(value) for value in values]


@given(values=prices, cut=st.integers(min_value=0, max_value=120))
def test_sma_batch_can_be_cut_anywhere(values: list[float], cut: int) -> None:
    whole, parts = Sma(7), Sma(7)
    assert whole.batch(values) == parts.batch(values[:cut]) + parts.batch(values[cut:])


@given(values=prices, window=st.integers(min_value=1, max_value=20))
def test_sma_is_the_exact_sum_of_its_window_alone(values: list[float], window: int) -> None:
    column = Sma(window).batch(values)
    for index, value in enumerate(column):
        if index < window - 1:
            assert value is None
        else:
            assert value == math.fsum(values[index - window + 1 : index + 1]) / window


def _bars(closes: list[float]) -> list[Bar]:
    return [Bar("X", "1m", i, i + 1, c, c * 1.01, c * 0.98, c) for i, c in enumerate(closes)]


@given(values=prices)
def test_atr_batch_equals_updates_bit_for_bit(values: list[float]) -> None:
    bars, one = _bars(values), Atr(5)
    assert Atr(5).batch(bars) == [one.update(bar) for bar in bars]


def test_rsi_of_a_straight_line_is_extreme_and_of_a_flat_one_is_fifty() -> None:
    assert Rsi(3).batch([1.0, 2.0, 3.0, 4.0])[-1] == 100.0
    assert Rsi(3).batch([4.0, 3.0, 2.0, 1.0])[-1] == 0.0
    assert Rsi(3).batch([2.0, 2.0, 2.0, 2.0])[-1] == 50.0
    assert Rsi(3).batch([1.0, 2.0, 3.0])[-1] is None


def test_rsi_matches_wilder_by_hand() -> None:
    # Changes +2, -1, +1: averages 1 and 1/3 -> 75; then +3: (2 * 1 + 3) / 3 and (2 / 3) / 3.
    first, second = Rsi(3).batch([10.0, 12.0, 11.0, 12.0, 15.0])[-2:]
    assert first == pytest.approx(75.0)
    assert second == pytest.approx(100.0 * (5 / 3) / (5 / 3 + 2 / 9))


def test_atr_counts_the_gap_from_the_last_close() -> None:
    calm = Bar("X", "1m", 0, 1, 10, 11, 9, 10)
    gap = Bar("X", "1m", 1, 2, 15, 16, 14, 15)
    assert Atr(1).batch([calm, gap]) == [2.0, 6.0]


def test_indicators_agree_with_ta_lib() -> None:
    talib = pytest.importorskip("talib", reason="TA-Lib is an oracle of the dev extras")
    np = pytest.importorskip("numpy")
    closes = [100 + 10 * math.sin(i / 3) + i % 7 for i in range(300)]
    bars = _bars(closes)
    column = np.array(closes)
    high, low = np.array([bar.high for bar in bars]), np.array([bar.low for bar in bars])
    assert Sma(10).batch(closes)[-50:] == pytest.approx(list(talib.SMA(column, 10)[-50:]))
    assert Ema(10).batch(closes)[-50:] == pytest.approx(list(talib.EMA(column, 10)[-50:]))
    assert Rsi(14).batch(closes)[-50:] == pytest.approx(list(talib.RSI(column, 14)[-50:]))
    # TA-Lib leaves the first bar out of its seed; after 250 bars of 5 periods nothing is left of it.
    assert Atr(5).batch(bars)[-50:] == pytest.approx(list(talib.ATR(high, low, column, 5)[-50:]))


@pytest.mark.parametrize("make", [Sma, Ema, Rsi, Atr, Previous])
def test_window_below_one_is_refused(make: Callable[[int], object]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        make(0)
