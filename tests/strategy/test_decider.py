from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from shared.calendar import Calendar
from shared.errors import ConfigurationError
from shared.ids import signal_id
from shared.instruments import Instruments
from shared.models import Bar, Signal, SignalType
from strategy import decider as module
from strategy.bars import session_grid
from strategy.base import Decision, Strategy
from strategy.config import StrategyConfig
from strategy.decider import Decider
from strategy.graph import Graph, close
from strategy.sources.base import MarketBatch

Bars = Callable[..., list[Bar]]


class _NoParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class _Echo(Strategy[_NoParameters]):
    """Does what the price says: 13 raises, 14 and 15 are bad decisions, a round hundred is nothing."""

    name = "echo"
    parameters_type = _NoParameters
    warmup_bars = 1

    @classmethod
    def graph(cls, parameters: _NoParameters) -> Graph:
        return {"price": close()}

    def on_values(self, bar: Bar, price: float) -> Decision | None:
        if price == 13:
            raise KeyError("unlucky")
        if price == 14:
            return Decision(SignalType.BUY, 1.5, "too sure")
        if price == 15:
            return Decision(SignalType.BUY, 0.9, "too few", quantity=-1)
        if price % 100 == 0:
            return None
        return Decision(SignalType.BUY, 0.9, "up", stop=Decimal("1.234"), quantity=7)


@pytest.fixture(autouse=True)
def _echo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "build", lambda config: _Echo(_NoParameters()))


def _decider(*configs: StrategyConfig, run: str = "replay-x") -> Decider:
    grid = session_grid(Calendar.load())
    return Decider(configs, run=run, timeframe="1m", instruments=Instruments.load(), session_of=grid)


def _config(name: str = "e", **changes: Any) -> StrategyConfig:
    return StrategyConfig(name, "echo", ("RELIANCE",), **changes)


def _feed(decider: Decider, bars: list[Bar], accepted_us: int = 10**15) -> list[Signal]:
    return [s for bar in bars for s in decider.decide(MarketBatch(bar.close_us, [], [bar]), accepted_us)]


def test_signal_carries_the_bar_and_the_deadline(bars: Bars) -> None:
    [bar] = bars([2500.07])
    [signal] = _feed(_decider(_config()), [bar])
    assert signal.signal_id == signal_id("replay-x", "e", "RELIANCE", "1m", bar.close_us, 0)
    assert (signal.price, signal.stop, signal.bar_volume) == (Decimal("2500.05"), Decimal("1.25"), 100)
    assert signal.quantity == 7
    assert signal.bar_close == bar.closed_at
    assert signal.valid_until - signal.accepted_at == timedelta(seconds=60)


def test_live_signal_is_valid_from_its_bar_not_from_its_acceptance(bars: Bars) -> None:
    [bar] = bars([101.0])
    [signal] = _feed(_decider(_config(), run="live"), [bar])
    assert signal.valid_until == bar.closed_at + timedelta(seconds=60)


def test_bars_up_to_the_checkpoint_warm_up_and_never_emit(bars: Bars) -> None:
    three = bars([101.0, 102.0, 103.0])
    decider = _decider(_config())
    decider.resume({("e", "RELIANCE", "1m"): three[1].close_us})
    assert [signal.bar_close for signal in _feed(decider, three)] == [three[2].closed_at]
    assert decider.dirty == {("e", "RELIANCE", "1m"): three[2].close_us}


def test_bar_that_came_before_is_not_taken_again(bars: Bars) -> None:
    one, two = bars([101.0, 102.0])
    decider = _decider(_config())
    assert len(_feed(decider, [one, two, one, two])) == 2


def test_failing_strategy_is_counted_and_the_others_go_on(bars: Bars) -> None:
    decider = _decider(_config("first"), _config("second"))
    signals = _feed(decider, bars([101.0, 13.0, 14.0, 15.0, 102.0]))
    assert [signal.strategy_id for signal in signals] == ["first", "second"] * 2
    assert decider.failures == {"first": 3, "second": 3}


def test_larger_timeframe_decides_on_its_own_bars(bars: Bars) -> None:
    decider = _decider(_config(timeframe="5m"))
    signals = _feed(decider, bars([100.0] * 4 + [101.0] + [100.0] * 4 + [102.0, 101.0]))
    assert [(signal.timeframe, signal.price) for signal in signals] == [
        ("5m", Decimal("101.00")),
        ("5m", Decimal("102.00")),
    ]
    assert {signal.valid_until - signal.accepted_at for signal in signals} == {timedelta(seconds=60)}


def test_other_symbols_close_a_late_bar(bars: Bars) -> None:
    decider = _decider(_config(timeframe="5m"))
    reliance = bars([101.0, 101.0])
    _feed(decider, reliance)
    [signal] = _feed(decider, bars([100.0] * 5, symbol="TCS"))
    assert signal.symbol == "RELIANCE"


def test_warm_up_feeds_history_and_says_nothing(bars: Bars) -> None:
    asked: list[tuple[str, str, int]] = []
    decider = _decider(_config())

    def history(symbol: str, timeframe: str, count: int) -> list[Bar]:
        asked.append((symbol, timeframe, count))
        return bars([101.0])

    decider.warm_up(history)
    assert asked == [("RELIANCE", "1m", 1)]
    assert decider.dirty == {}


def test_smaller_timeframe_than_the_data_is_refused() -> None:
    grid = session_grid(Calendar.load())
    with pytest.raises(ConfigurationError, match="wants 1m bars"):
        Decider(
            [_config(timeframe="1m")],
            run="r",
            timeframe="5m",
            instruments=Instruments.load(),
            session_of=grid,
        )


def test_bar_of_the_history_is_not_fed_again(bars: Bars) -> None:
    decider = _decider(_config())
    decider.warm_up(lambda *of: bars([101.0]))
    assert [signal.price for signal in _feed(decider, bars([101.0, 102.0]))] == [Decimal("102.00")]
