from __future__ import annotations

from collections.abc import Callable, Sequence

from hypothesis import given
from hypothesis import strategies as st

from shared.models import Bar
from strategy.graph import (
    Graph,
    LiveGraph,
    Recent,
    atr,
    close,
    columns,
    ema,
    high,
    low,
    minus,
    previous,
    recent,
    rsi,
    sma,
    volume,
)


def _bars(closes: Sequence[float]) -> list[Bar]:
    return [Bar("X", "1m", i, i + 1, c, c + 1, c - 1, c, 10 * i) for i, c in enumerate(closes)]


def _graph() -> Graph:
    spread = minus(sma(2), sma(5))
    return {
        "spread": spread,
        "before": previous(spread),
        "spreads": recent(spread, 3),
        "smooth": ema(3, of=rsi(4)),
        "range": atr(3),
        "traded": volume(),
        "width": minus(high(), low()),
    }


def _plain(values: Sequence[object]) -> list[object]:
    return [value.values() if isinstance(value, Recent) else value for value in values]


@given(st.lists(st.floats(min_value=1, max_value=1e5, allow_nan=False), max_size=60))
def test_live_and_columns_agree_on_every_bar(closes: list[float]) -> None:
    bars = _bars(closes)
    live = LiveGraph(_graph())
    expected = [None if (values := live.update(bar)) is None else _plain(values) for bar in bars]
    first, found = columns(_graph(), bars)
    rows = [_plain(row) for row in zip(*found, strict=True)]
    assert [None] * min(first, len(bars)) + rows == expected


def test_values_wait_for_the_slowest_node() -> None:
    live = LiveGraph({"fast": sma(1), "slow": sma(3)})
    assert [live.update(bar) for bar in _bars([1, 2, 3])] == [None, None, (3.0, 2.0)]


def test_shared_node_is_computed_once() -> None:
    made = 0

    class Counting:
        def __init__(self) -> None:
            nonlocal made
            made += 1
            self.update: Callable[[float], float] = lambda value: value

    from strategy.graph import Node

    node = Node(Counting, (close(),))
    live = LiveGraph({"a": node, "b": node, "c": minus(node, node)})
    assert live.update(_bars([5.0])[0]) == (5.0, 5.0, 0.0)
    assert made == 1


def test_columns_of_no_bars_are_empty() -> None:
    _, found = columns(_graph(), [])
    assert [list(column) for column in found] == [[]] * 7
