"""What the configured strategies are, for whoever arms accounts: their code and how they are set."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path

import msgspec

from order.fingerprint import Fingerprint
from strategy.config import StrategyConfig, build


def fingerprints(configs: Iterable[StrategyConfig]) -> dict[str, Fingerprint]:
    """Return what strategies are, by id.

    Raises:
        ConfigurationError: A type or a parameter is wrong.
    """
    return {config.strategy_id: _of(config) for config in configs}


def _of(config: StrategyConfig) -> Fingerprint:
    strategy = build(config)
    source = Path(inspect.getfile(type(strategy))).read_bytes()
    parameters = msgspec.to_builtins(strategy.parameters)
    return Fingerprint(
        str(config.strategy_type),
        blake2b(source, digest_size=8).hexdigest(),
        {name: str(value) for name, value in parameters.items()},
        tuple(config.symbols),
        config.timeframe or "",
    )
