"""Indicators that are fed value by value, or whole columns at once, with bitwise the same results.

Each indicator is an object with state. `update` takes the next value and returns the indicator's value,
or None while it is still warming up; `batch` takes a whole column, oldest first, on a fresh indicator and
returns a column of the same length. Both do the same float operations in the same order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

from shared.models import Bar

T_contra = TypeVar("T_contra", contravariant=True)
Column = list[float | None]

# Every finite double of at least 2**-28 in size is a whole multiple of 2**-80: sums of such integers are
# exact, so the value of a moving average depends on its window alone and not on where the data began.
_SCALE = 2.0**80


class Indicator(Protocol[T_contra]):
    """One running computation over a series."""

    def update(self, value: T_contra) -> float | None:
        """Take the next value; return the indicator's value, None while warming up."""
        ...

    def batch(self, values: Sequence[T_contra]) -> Column:
        """Return the column that `update` would give for *values*, oldest first, shape (n,)."""
        ...


class _ByUpdate(Generic[T_contra]):
    """Batch results by the very same steps as `update`."""

    def update(self, value: T_contra) -> float | None:
        raise NotImplementedError

    def batch(self, values: Sequence[T_contra]) -> Column:
        """Return the column that `update` would give for *values*, oldest first, shape (n,)."""
        update = self.update
        return [update(value) for value in values]


class Sma:
    """Simple moving average over the last *window* values: `math.fsum(window) / n`, bit for bit."""

    def __init__(self, window: int) -> None:
        _at_least_one(window)
        self._divisor = window * _SCALE
        self._missing = window
        self._window: deque[int] = deque([0] * window, maxlen=window)
        self._sum = 0

    def update(self, value: float) -> float | None:
        """Take the next value; return the mean once *window* values are in."""
        scaled = int(value * _SCALE)
        self._sum += scaled - self._window[0]
        self._window.append(scaled)
        if self._missing > 1:
            self._missing -= 1
            return None
        self._missing = 0
        return self._sum / self._divisor

    def batch(self, values: Sequence[float]) -> Column:
        """Return the means of *values*, oldest first, shape (n,); None before the window is full."""
        # The body of `update` with its attributes in locals: twice as fast over a million bars.
        window, total, divisor = self._window, self._sum, self._divisor
        means: Column = []
        take, put = window.append, means.append
        for value in values:
            scaled = int(value * _SCALE)
            total += scaled - window[0]
            take(scaled)
            put(total / divisor)
        warming = min(max(self._missing - 1, 0), len(means))
        means[:warming] = [None] * warming
        self._missing = max(self._missing - len(means), 0)
        self._sum = total
        return means


class Ema(_ByUpdate[float]):
    """Exponential moving average, smoothing 2 / (n + 1), seeded with the mean of the first n values."""

    def __init__(self, window: int) -> None:
        _at_least_one(window)
        self._seed = Sma(window)
        self._weight = 2.0 / (window + 1)
        self._value: float | None = None

    def update(self, value: float) -> float | None:
        """Take the next value; return the average, None while the seed is being gathered."""
        if self._value is None:
            self._value = self._seed.update(value)
        else:
            self._value += self._weight * (value - self._value)
        return self._value


class _Wilder:
    """Wilder's smoothing: the mean of the first n values, then (previous * (n - 1) + value) / n."""

    def __init__(self, period: int) -> None:
        _at_least_one(period)
        self._period = period
        self._seed = Sma(period)
        self.value: float | None = None

    def update(self, value: float) -> float | None:
        if self.value is None:
            self.value = self._seed.update(value)
        else:
            self.value = (self.value * (self._period - 1) + value) / self._period
        return self.value


class Rsi(_ByUpdate[float]):
    """Relative strength index of Wilder, 0 to 100; 50 where nothing moved.

    Its memory is endless: feed at least ten periods before trusting it to agree with a longer history.
    """

    def __init__(self, period: int) -> None:
        self._gain = _Wilder(period)
        self._loss = _Wilder(period)
        self._last: float | None = None

    def update(self, value: float) -> float | None:
        """Take the next value; return the index once *period* changes are in."""
        last, self._last = self._last, value
        if last is None:
            return None
        change = value - last
        gain = self._gain.update(change if change > 0.0 else 0.0)
        loss = self._loss.update(-change if change < 0.0 else 0.0)
        if gain is None or loss is None:
            return None
        total = gain + loss
        return 100.0 * gain / total if total > 0.0 else 50.0


class Atr(_ByUpdate[Bar]):
    """Average true range of Wilder over bars, rupees; the first bar's range is its high minus low."""

    def __init__(self, period: int) -> None:
        self._range = _Wilder(period)
        self._close: float | None = None

    def update(self, value: Bar) -> float | None:
        """Take the next bar; return the range once *period* bars are in."""
        before = value.close if self._close is None else self._close
        self._close = value.close
        return self._range.update(max(value.high, before) - min(value.low, before))


class Previous(_ByUpdate[float]):
    """The value *lag* steps ago."""

    def __init__(self, lag: int = 1) -> None:
        _at_least_one(lag)
        self._held: deque[float] = deque(maxlen=lag)

    def update(self, value: float) -> float | None:
        """Take the next value; return the one *lag* steps earlier, None where there is none yet."""
        held = self._held
        before = held[0] if len(held) == held.maxlen else None
        held.append(value)
        return before


def _at_least_one(count: int) -> None:
    if count < 1:
        raise ValueError(f"an indicator needs a window of at least 1, not {count}")
