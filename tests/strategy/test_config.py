from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from shared.errors import ConfigurationError
from shared.instruments import Instruments
from strategy.config import (
    DEFAULT_CONFIGS,
    StrategyConfig,
    StrategyType,
    build,
    check,
    discover,
    load_configs,
)


def _config(**changes: Any) -> StrategyConfig:
    values: dict[str, Any] = {"strategy_id": "a", "strategy_type": StrategyType.RSI, "symbols": ("TCS",)}
    return StrategyConfig(**(values | changes))


def test_default_is_the_crossover_of_the_specification() -> None:
    [config] = DEFAULT_CONFIGS
    assert (config.strategy_id, config.strategy_type, tuple(config.symbols)) == (
        "ma_crossover",
        StrategyType.MOVING_AVERAGE,
        ("RELIANCE", "TCS", "INFY"),
    )
    parameters = build(config).parameters
    assert (parameters.short_window, parameters.long_window, parameters.min_confidence) == (10, 50, 0.7)
    check(DEFAULT_CONFIGS, Instruments.load())


def test_discover_finds_every_named_type() -> None:
    assert set(StrategyType) <= set(discover())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"strategy_type": "magic"}, "no strategy_type 'magic'.*moving_average, rsi"),
        ({"parameters": {"perod": 3}}, "unknown parameter perod.*period"),
        ({"parameters": {"period": 1}}, "period"),
        ({"parameters": {"period": "14"}}, "period"),
        ({"parameters": {"period": True}}, "period"),
        ({"parameters": {"oversold": float("nan")}}, "oversold"),
        ({"parameters": {"oversold": 80.0}}, r"oversold \(80\) must be below overbought"),
        (
            {"strategy_type": "moving_average", "parameters": {"short_window": 50}},
            r"short_window \(50\) must be smaller than long_window",
        ),
        ({"symbols": ()}, "at least one symbol"),
        ({"symbols": "TCS"}, "must be a list"),
        ({"symbols": ("TCS", "TCS")}, "occurs twice"),
        ({"symbols": ("TSC",)}, "'TSC'.*TCS"),
        ({"timeframe": "7m"}, "'7m' is none of 1m"),
        ({"strategy_id": "a b"}, "strategy_id 'a b'"),
    ],
)
def test_check_wrong_configuration_says_what(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        check([_config(**changes)], Instruments.load())


def test_check_reports_everything_at_once() -> None:
    with pytest.raises(ConfigurationError) as caught:
        check(
            [_config(symbols=("NONE1",), timeframe="x"), _config(parameters={"period": 0})],
            Instruments.load(),
        )
    for finding in ("NONE1", "timeframe 'x'", "occurs twice", "period"):
        assert finding in str(caught.value)


def test_check_nothing_configured_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="no strategy is configured"):
        check([], Instruments.load())


def test_load_configs_reads_toml(tmp_path: Path) -> None:
    path = tmp_path / "strategies.toml"
    path.write_text(
        '[[strategy]]\nstrategy_id = "calm"\nstrategy_type = "rsi"\nsymbols = ["SBIN"]\ntimeframe = "5m"\n'
        "[strategy.parameters]\nperiod = 21\n"
    )
    [config] = load_configs(path)
    assert config == StrategyConfig("calm", "rsi", ("SBIN",), {"period": 21}, "5m")
    assert load_configs(None) == DEFAULT_CONFIGS


@pytest.mark.parametrize("text", ["[[strategy]]\nid = 1", "not toml at all", "[strategy]\nx=1", "x = 1"])
def test_load_configs_wrong_file_says_so(tmp_path: Path, text: str) -> None:
    path = tmp_path / "strategies.toml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=r"strategies\.toml"):
        load_configs(path)


def test_load_configs_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="Cannot read"):
        load_configs(tmp_path / "none.toml")
