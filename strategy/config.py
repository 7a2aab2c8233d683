"""Which strategies run on what, checked as a whole before anything starts."""

from __future__ import annotations

import importlib
import pkgutil
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from shared.errors import ConfigurationError
from shared.instruments import Instruments
from strategy import strategies
from strategy.bars import TIMEFRAMES
from strategy.base import Strategy

_ID = re.compile(r"[a-z0-9][a-z0-9_.-]{0,39}", re.IGNORECASE)


class StrategyType(StrEnum):
    """The strategies that the specification names; others are given by their name."""

    MOVING_AVERAGE = "moving_average"
    RSI = "rsi"


@dataclass(frozen=True, slots=True)
class StrategyConfig:
    """One strategy at work.

    Attributes:
        strategy_id: Your name for it: up to 40 letters, digits, `_`, `.` and `-`.
        strategy_type: A `StrategyType` or the name of any strategy in `strategy/strategies/`.
        symbols: What it trades.
        parameters: The strategy's own; what is left out has its default.
        timeframe: `1m`, `5m`, `15m`, `30m`, `1h` or `1d`; None takes the bars of the market data.
    """

    strategy_id: str
    strategy_type: StrategyType | str
    symbols: Sequence[str]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    timeframe: str | None = None


DEFAULT_CONFIGS = (
    StrategyConfig(
        strategy_id="ma_crossover",
        strategy_type=StrategyType.MOVING_AVERAGE,
        symbols=("RELIANCE", "TCS", "INFY"),
        parameters={"short_window": 10, "long_window": 50, "min_confidence": 0.7},
    ),
)


@cache
def discover() -> dict[str, type[Strategy[Any]]]:
    """Return every strategy in `strategy/strategies/` by its name."""
    found: dict[str, type[Strategy[Any]]] = {}
    for module in sorted(pkgutil.iter_modules(strategies.__path__), key=lambda info: info.name):
        namespace = vars(importlib.import_module(f"{strategies.__name__}.{module.name}"))
        for value in namespace.values():
            if not (isinstance(value, type) and issubclass(value, Strategy) and value is not Strategy):
                continue
            if value.__module__ != namespace["__name__"]:
                continue
            if value.name in found:
                raise ConfigurationError(f"Two strategies call themselves {value.name!r}.")
            found[value.name] = value
    return found


def build(config: StrategyConfig) -> Strategy[Any]:
    """Return the strategy of *config* with its parameters checked.

    Raises:
        ConfigurationError: Unknown type, unknown parameter, or a value out of bounds.
    """
    known = discover()
    kind = known.get(str(config.strategy_type))
    if kind is None:
        raise ConfigurationError(
            f"{config.strategy_id}: no strategy_type {str(config.strategy_type)!r}.",
            remedy=f"Known: {', '.join(sorted(known))}.",
        )
    unknown = sorted(set(config.parameters) - set(kind.parameters_type.__struct_fields__))
    if unknown:
        raise ConfigurationError(
            f"{config.strategy_id}: unknown parameter {', '.join(unknown)}.",
            remedy=f"Known: {', '.join(kind.parameters_type.__struct_fields__)}.",
        )
    try:
        return kind(msgspec.convert(dict(config.parameters), kind.parameters_type))
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"{config.strategy_id}: {error}.") from error


def check(configs: Sequence[StrategyConfig], instruments: Instruments) -> None:
    """Check everything about *configs*.

    Raises:
        ConfigurationError: All findings in one message.
    """
    findings: list[str] = []
    seen: set[str] = set()
    for config in configs:
        name = config.strategy_id
        if not _ID.fullmatch(name):
            findings.append(f"strategy_id {name!r}: up to 40 letters, digits, '_', '.' or '-'.")
        if name in seen:
            findings.append(f"{name}: strategy_id occurs twice.")
        seen.add(name)
        if config.timeframe is not None and config.timeframe not in TIMEFRAMES:
            findings.append(f"{name}: timeframe {config.timeframe!r} is none of {', '.join(TIMEFRAMES)}.")
        if not config.symbols or isinstance(config.symbols, str):
            findings.append(f"{name}: symbols must be a list of at least one symbol.")
        elif len(set(config.symbols)) != len(config.symbols):
            findings.append(f"{name}: a symbol occurs twice.")
        else:
            unknown = [symbol for symbol in config.symbols if symbol not in instruments]
            findings += [f"{name}: {instruments.unknown(symbol)}" for symbol in unknown]
        try:
            build(config)
        except ConfigurationError as error:
            findings.append(str(error))
    if not configs:
        findings.append("no strategy is configured.")
    if findings:
        raise ConfigurationError("\n".join(["Strategies cannot start:", *(f"  - {f}" for f in findings)]))


def wanted_bars(configs: Sequence[StrategyConfig], timeframe: str) -> dict[tuple[str, str], int]:
    """Return how many closed bars of each (symbol, timeframe) warm up all of *configs*.

    Args:
        configs: Checked ones.
        timeframe: What a strategy gets that names none.
    """
    wanted: dict[tuple[str, str], int] = {}
    for config in configs:
        bars = build(config).warmup_bars
        for symbol in config.symbols:
            key = symbol, config.timeframe or timeframe
            wanted[key] = max(wanted.get(key, 0), bars)
    return wanted


class _Entry(msgspec.Struct, forbid_unknown_fields=True):
    strategy_id: str
    strategy_type: str
    symbols: list[str]
    parameters: dict[str, Any] = {}
    timeframe: str | None = None


class _File(msgspec.Struct, forbid_unknown_fields=True):
    strategy: list[_Entry]


def load_configs(path: Path | None) -> tuple[StrategyConfig, ...]:
    """Read strategies from a TOML file of `[[strategy]]` tables; without *path* the default one.

    Raises:
        ConfigurationError: The file cannot be read or has a wrong key or type.
    """
    if path is None:
        return DEFAULT_CONFIGS
    try:
        table = msgspec.convert(tomllib.loads(path.read_text("utf-8")), _File)
    except OSError as error:
        raise ConfigurationError(f"Cannot read {path}: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise ConfigurationError(
            f"{path}: {error}.",
            remedy="Each [[strategy]] has strategy_id, strategy_type, symbols, [parameters], [timeframe].",
        ) from error
    return tuple(
        StrategyConfig(e.strategy_id, e.strategy_type, tuple(e.symbols), e.parameters, e.timeframe)
        for e in table.strategy
    )
