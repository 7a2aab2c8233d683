"""What a strategy is: a pure function of closed bars, declared once for live, backtest and columns."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from typing import Any, ClassVar, Generic, TypeVar

import msgspec

from shared.models import Bar, SignalType
from strategy.graph import Graph, LiveGraph, columns

P = TypeVar("P", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True)
class Decision:
    """What a strategy wants after one bar.

    Attributes:
        signal_type: Never HOLD; a strategy that wants nothing returns None.
        confidence: 0 to 1; each strategy states what it means.
        reason: For a human, one line.
        stop, target: Protective and profit price, rupees, where the strategy has them.
        add: Adds to a position of the same direction.
        quantity: Shares, for users who take a multiple of them; 0: it names none.
    """

    signal_type: SignalType
    confidence: float
    reason: str
    stop: Decimal | None = None
    target: Decimal | None = None
    add: bool = False
    quantity: int = 0


class Strategy(Generic[P]):
    """Base of all strategies; a new one is one new file in `strategy/strategies/`.

    A subclass names itself (`name`), describes its parameters as a `msgspec.Struct` with defaults and
    bounds (`parameters_type`; checks between several of them go into its `__post_init__`), declares its
    `graph`, and decides in `on_values`. It holds no state of its own and reads no clock, no randomness
    and no file: what it needs from the past is a node of the graph.
    """

    name: ClassVar[str]
    parameters_type: ClassVar[type[msgspec.Struct]]

    def __init__(self, parameters: P) -> None:
        self.parameters = parameters

    @property
    def warmup_bars(self) -> int:
        """Bars of history to feed before a decision equals that of an endless history."""
        raise NotImplementedError

    @classmethod
    def graph(cls, parameters: P) -> Graph:
        """Return the named nodes whose values `on_values` gets."""
        raise NotImplementedError

    def on_values(self, bar: Bar, *values: Any, **named: Any) -> Decision | None:
        """Decide after *bar* has closed; called only when every value is there.

        A subclass names its values as plain arguments after *bar*, one for each node of its graph.
        """
        raise NotImplementedError


class Evaluator:
    """Runs one strategy on one instrument, bar by bar."""

    def __init__(self, strategy: Strategy[Any]) -> None:
        graph = strategy.graph(strategy.parameters)
        self._decide = strategy.on_values
        self._graph = LiveGraph({name: graph[name] for name in _arguments(strategy, graph)})

    def update(self, bar: Bar) -> Decision | None:
        """Take the next closed bar and return the decision, if any."""
        values = self._graph.update(bar)
        return None if values is None else self._decide(bar, *values)


def decide_columns(strategy: Strategy[Any], bars: Sequence[Bar]) -> Iterator[tuple[int, Decision]]:
    """Yield (index of the bar, decision) over *bars*, oldest first: the same as an `Evaluator` gives."""
    graph = strategy.graph(strategy.parameters)
    first, values = columns({name: graph[name] for name in _arguments(strategy, graph)}, bars)
    decisions = map(strategy.on_values, islice(bars, first, None), *values)
    return ((index, decision) for index, decision in enumerate(decisions, first) if decision is not None)


def _arguments(strategy: Strategy[Any], graph: Graph) -> tuple[str, ...]:
    # Values are matched by name once, here, and handed over by position at each bar.
    names = tuple(inspect.signature(strategy.on_values).parameters)[1:]
    if set(names) != set(graph):
        raise TypeError(f"{strategy.name}: on_values takes {names}, its graph declares {tuple(graph)}")
    return names
