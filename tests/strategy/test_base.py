from __future__ import annotations

import msgspec
import pytest

from shared.models import Bar, SignalType
from strategy.base import Decision, Evaluator, Strategy, decide_columns
from strategy.graph import Graph, close, sma


class _Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class _Above(Strategy[_Nothing]):
    name = "above"
    parameters_type = _Nothing
    warmup_bars = 2

    @classmethod
    def graph(cls, parameters: _Nothing) -> Graph:
        return {"mean": sma(2), "price": close()}

    # In another order than the graph: values are matched by name.
    def on_values(self, bar: Bar, price: float, mean: float) -> Decision | None:
        return Decision(SignalType.BUY, 1.0, f"{price} above {mean}") if price > mean else None


class _Misnamed(_Above):
    def on_values(self, bar: Bar, price: float, average: float) -> Decision | None:
        return None


def _bars() -> list[Bar]:
    return [Bar("X", "1m", i, i + 1, c, c, c, c) for i, c in enumerate([1.0, 3.0, 2.0, 4.0])]


def test_values_are_matched_by_name() -> None:
    evaluator = Evaluator(_Above(_Nothing()))
    found = [evaluator.update(bar) for bar in _bars()]
    reasons = [decision and decision.reason for decision in found]
    assert reasons == [None, "3.0 above 2.0", None, "4.0 above 3.0"]


def test_columns_give_the_index_of_the_bar() -> None:
    assert [index for index, _ in decide_columns(_Above(_Nothing()), _bars())] == [1, 3]


def test_names_that_differ_from_the_graph_are_refused_at_once() -> None:
    with pytest.raises(TypeError, match=r"misnamed|above.*average"):
        Evaluator(_Misnamed(_Nothing()))
