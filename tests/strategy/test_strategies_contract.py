"""What every strategy must keep, found by itself: a new file in strategy/strategies/ is tested here."""

from __future__ import annotations

import ast
import inspect
import math
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from shared.models import Bar, SignalType
from strategy.base import Decision, Evaluator, Strategy, decide_columns
from strategy.config import StrategyConfig, build, discover

MINUTE = 60_000_000
FORBIDDEN = {
    "asyncio", "datetime", "io", "numpy", "os", "pathlib", "random", "requests", "secrets", "socket",
    "subprocess", "sys", "threading", "time", "urllib", "uuid",
}  # fmt: skip


def _walk(seed: int, count: int = 1500) -> list[Bar]:
    draw, price, bars = random.Random(seed), 1000.0, []
    for index in range(count):
        before = price
        price = round(max(price * (1 + draw.gauss(0.0002 * math.sin(index / 60), 0.001)), 1.0), 2)
        high, low = max(before, price) + 0.5, min(before, price) - 0.5
        bars.append(Bar("TCS", "1m", index * MINUTE, (index + 1) * MINUTE, before, high, low, price, 100))
    return bars


def _decisions(strategy: Strategy[Any], bars: list[Bar]) -> list[tuple[int, Decision]]:
    evaluator = Evaluator(strategy)
    found = ((index, evaluator.update(bar)) for index, bar in enumerate(bars))
    return [(index, decision) for index, decision in found if decision is not None]


@pytest.fixture(params=sorted(discover()))
def strategy(request: pytest.FixtureRequest) -> Strategy[Any]:
    return build(StrategyConfig("contract", request.param, ("TCS",)))


def test_strategy_decides_something_on_an_ordinary_walk(strategy: Strategy[Any]) -> None:
    assert _decisions(strategy, _walk(1))


def test_strategy_same_bars_same_decisions(strategy: Strategy[Any]) -> None:
    assert _decisions(strategy, _walk(2)) == _decisions(strategy, _walk(2))


def test_strategy_columns_decide_like_the_stream(strategy: Strategy[Any]) -> None:
    for seed in range(3, 6):
        bars = _walk(seed)
        assert list(decide_columns(strategy, bars)) == _decisions(strategy, bars)


def test_strategy_sees_closed_bars_only(strategy: Strategy[Any]) -> None:
    bars = _walk(7)
    whole = _decisions(strategy, bars)
    for cut in (300, 777, 1200):
        assert _decisions(strategy, bars[:cut]) == [entry for entry in whole if entry[0] < cut]


def test_strategy_warmed_up_decides_like_one_with_all_history(strategy: Strategy[Any]) -> None:
    bars = _walk(8)
    start = 600
    warm = [
        (index + start - strategy.warmup_bars, decision)
        for index, decision in _decisions(strategy, bars[start - strategy.warmup_bars :])
    ]
    late = [(i, d.signal_type) for i, d in warm if i >= start]
    assert late == [(i, d.signal_type) for i, d in _decisions(strategy, bars) if i >= start]
    assert late


def test_strategy_keeps_no_state_of_its_own(strategy: Strategy[Any]) -> None:
    bars = _walk(9)
    first, second = Evaluator(strategy), Evaluator(strategy)
    for bar in bars[:700]:
        first.update(bar)
    fresh = Evaluator(build(StrategyConfig("other", strategy.name, ("TCS",))))
    assert [second.update(bar) for bar in bars] == [fresh.update(bar) for bar in bars]


def test_strategy_confidence_is_a_share_and_the_reason_is_one_line(strategy: Strategy[Any]) -> None:
    for _, decision in _decisions(strategy, _walk(10)):
        assert 0.0 <= decision.confidence <= 1.0
        assert decision.signal_type is not SignalType.HOLD
        assert decision.reason and "\n" not in decision.reason


def test_strategy_confidence_never_holds_back_an_exit(strategy: Strategy[Any]) -> None:
    if "min_confidence" not in strategy.parameters_type.__struct_fields__:
        pytest.skip(f"{strategy.name} has no min_confidence")
    exits = {SignalType.SELL, SignalType.EXIT_LONG}
    bars = _walk(11)
    strict = build(StrategyConfig("strict", strategy.name, ("TCS",), {"min_confidence": 1.0}))
    loose = build(StrategyConfig("loose", strategy.name, ("TCS",), {"min_confidence": 0.0}))
    exits_of = [[i for i, d in _decisions(s, bars) if d.signal_type in exits] for s in (strict, loose)]
    assert exits_of[0] == exits_of[1] != []


def test_strategy_reads_no_clock_no_randomness_and_no_file(strategy: Strategy[Any]) -> None:
    tree = ast.parse(Path(inspect.getfile(type(strategy))).read_text())
    imported: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").split(".")[0])
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in {"open", "eval", "exec", "__import__", "print", "input"}
    assert not imported & FORBIDDEN


def test_strategy_default_parameters_are_valid_and_frozen(strategy: Strategy[Any]) -> None:
    assert strategy.parameters == strategy.parameters_type()
    assert strategy.parameters_type.__struct_config__.frozen
    assert strategy.parameters_type.__struct_config__.forbid_unknown_fields
    plain = msgspec.to_builtins(strategy.parameters)
    assert msgspec.convert(plain, strategy.parameters_type) == strategy.parameters


def test_new_strategy_is_one_file(tmp_path: Path) -> None:
    """A file dropped beside the others is found, in a process of its own."""
    (tmp_path / "always.py").write_text(
        "from __future__ import annotations\n"
        "import msgspec\n"
        "from shared.models import Bar, SignalType\n"
        "from strategy.base import Decision, Strategy\n"
        "from strategy.graph import Graph, close\n"
        "class Parameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):\n"
        "    pass\n"
        "class Always(Strategy[Parameters]):\n"
        "    name = 'always'\n"
        "    parameters_type = Parameters\n"
        "    warmup_bars = 1\n"
        "    @classmethod\n"
        "    def graph(cls, parameters: Parameters) -> Graph:\n"
        "        return {'price': close()}\n"
        "    def on_values(self, bar: Bar, price: float) -> Decision | None:\n"
        "        return Decision(SignalType.BUY, 1.0, 'always')\n"
    )
    code = (
        "import sys\n"
        "from strategy import strategies\n"
        "strategies.__path__.append(sys.argv[1])\n"
        "from strategy.config import StrategyConfig, build, discover\n"
        "assert set(discover()) >= {'always', 'moving_average', 'rsi'}, discover()\n"
        "print(build(StrategyConfig('a', 'always', ['TCS'])).name)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        env={"PYTHONPATH": ":".join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout.strip(), done.stderr) == ("always", "")
