"""Declared graphs of indicators: one declaration, evaluated value by value or by whole columns.

A strategy declares what it needs as nodes (`{"fast": sma(10), "slow": sma(50)}`). Live, a `LiveGraph` is
fed one bar at a time; over history, `columns` computes the same nodes over arrays. A node that occurs
twice in a graph is computed once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from operator import attrgetter, sub
from typing import Any

from shared.models import Bar
from strategy.indicators import Atr, Ema, Previous, Rsi, Sma


@dataclass(frozen=True, eq=False, slots=True)
class Node:
    """One declared value.

    Attributes:
        inputs: What it is computed from; empty for a field of the bar, which `make` then reads.
        make: Returns a fresh computation with `update(*inputs)` and `batch(*columns)`.
    """

    make: Callable[[], Any]
    inputs: tuple[Node, ...] = ()


Graph = Mapping[str, Node]


class Recent:
    """The last values of a node, oldest first; valid only while the present bar is decided on."""

    __slots__ = ("_column", "_count", "_end", "_held")

    def __init__(self, count: int, held: deque[float] | None = None, column: Sequence[float] = ()) -> None:
        self._count = count
        self._held = held
        self._column = column
        self._end = 0

    def values(self) -> list[float]:
        """Return up to *count* values, oldest first, the present one last."""
        if self._held is not None:
            return list(self._held)
        return list(self._column[max(self._end - self._count, 0) : self._end])


class _BarField:
    """Reads one field of the bar, or the bar itself."""

    def __init__(self, field: str) -> None:
        self.update: Callable[[Bar], Any] = attrgetter(field) if field else lambda bar: bar

    def batch(self, bars: Sequence[Bar]) -> list[Any]:
        return list(map(self.update, bars))


class _Minus:
    """The difference of two nodes."""

    update = staticmethod(sub)

    def batch(self, left: Sequence[float], right: Sequence[float]) -> list[float]:
        return list(map(sub, left, right))


class _Recent:
    """Hands out a window over a node without copying it at each bar."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._held: deque[float] = deque(maxlen=count)
        self._window = Recent(count, held=self._held)

    def update(self, value: float) -> Recent:
        self._held.append(value)
        return self._window

    def batch(self, values: Sequence[float]) -> Iterator[Recent]:
        window = Recent(self._count, column=values)
        for end in range(1, len(values) + 1):
            window._end = end
            yield window


def _field(name: str) -> Node:
    return Node(lambda: _BarField(name))


_BAR = _field("")
_CLOSE = _field("close")
_HIGH = _field("high")
_LOW = _field("low")
_VOLUME = _field("volume")


def close() -> Node:
    """Return the bar's closing price, rupees."""
    return _CLOSE


def volume() -> Node:
    """Return the bar's volume, shares."""
    return _VOLUME


def high() -> Node:
    """Return the bar's highest price, rupees."""
    return _HIGH


def low() -> Node:
    """Return the bar's lowest price, rupees."""
    return _LOW


def sma(window: int, of: Node = _CLOSE) -> Node:
    """Return the simple moving average of the last *window* values of *of*."""
    return Node(lambda: Sma(window), (of,))


def ema(window: int, of: Node = _CLOSE) -> Node:
    """Return the exponential moving average of *of*, smoothing 2 / (window + 1)."""
    return Node(lambda: Ema(window), (of,))


def rsi(period: int, of: Node = _CLOSE) -> Node:
    """Return Wilder's relative strength index of *of*, 0 to 100."""
    return Node(lambda: Rsi(period), (of,))


def atr(period: int) -> Node:
    """Return Wilder's average true range of the bars, rupees."""
    return Node(lambda: Atr(period), (_BAR,))


def minus(left: Node, right: Node) -> Node:
    """Return *left* - *right*."""
    return Node(_Minus, (left, right))


def previous(of: Node, lag: int = 1) -> Node:
    """Return the value of *of* as it was *lag* bars ago."""
    return Node(lambda: Previous(lag), (of,))


def recent(of: Node, count: int) -> Node:
    """Return the last *count* values of *of* as a `Recent`; fewer while they are being gathered."""
    return Node(lambda: _Recent(count), (of,))


def _in_order(graph: Graph) -> list[Node]:
    order: dict[Node, None] = {}

    def visit(node: Node) -> None:
        if node not in order:
            for source in node.inputs:
                visit(source)
            order[node] = None

    for node in graph.values():
        visit(node)
    return list(order)


class LiveGraph:
    """A graph fed bar by bar."""

    def __init__(self, graph: Graph) -> None:
        order = _in_order(graph)
        slot = {node: index for index, node in enumerate(order)}
        self._slots: list[Any] = [None] * len(order)
        self._steps = [
            (index, node.make().update, tuple(slot[source] for source in node.inputs))
            for index, node in enumerate(order)
        ]
        self._named = tuple(slot[node] for node in graph.values())

    def update(self, bar: Bar) -> tuple[Any, ...] | None:
        """Take the next closed bar; return the values in the order of the names.

        None while any of them is warming up.
        """
        slots = self._slots
        for index, step, sources in self._steps:
            if not sources:
                slots[index] = step(bar)
                continue
            inputs = [slots[source] for source in sources]
            slots[index] = None if None in inputs else step(*inputs)
        values = tuple([slots[index] for index in self._named])
        return None if None in values else values


def columns(graph: Graph, bars: Sequence[Bar]) -> tuple[int, list[Iterator[Any]]]:
    """Compute the graph over whole columns.

    Returns:
        The index of the first bar at which every node has a value, and for each name of the graph, in its
        order, an iterator over the values from that bar on.
    """
    starts: dict[Node, int] = {}
    found: dict[Node, Any] = {}
    for node in _in_order(graph):
        if not node.inputs:
            starts[node], found[node] = 0, node.make().batch(bars)
            continue
        start = max(starts[source] for source in node.inputs)
        inputs = [_from(found[source], start - starts[source]) for source in node.inputs]
        column = node.make().batch(*inputs)
        warming = _leading_none(column) if isinstance(column, list) else 0
        starts[node], found[node] = start + warming, _from(column, warming)
    first = max((starts[node] for node in graph.values()), default=0)
    return first, [islice(iter(found[node]), first - starts[node], None) for node in graph.values()]


def _from(column: Any, start: int) -> Any:
    return column[start:] if start else column


def _leading_none(column: list[Any]) -> int:
    for index, value in enumerate(column):
        if value is not None:
            return index
    return len(column)
