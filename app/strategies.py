"""A configured strategy as `trading strategies` shows it."""

from __future__ import annotations

import msgspec

from strategy.config import StrategyConfig, build


class StrategyView(msgspec.Struct, frozen=True):
    """A configured strategy.

    Attributes:
        timeframe: None takes the bars of the market data.
        parameters: With the defaults filled in.
    """

    strategy_id: str
    strategy_type: str
    symbols: list[str]
    timeframe: str | None
    parameters: dict[str, object]

    @classmethod
    def of(cls, config: StrategyConfig) -> StrategyView:
        """Return what there is to show of *config*.

        Raises:
            ConfigurationError: Its type or parameters are wrong.
        """
        parameters = msgspec.to_builtins(build(config).parameters)
        return cls(
            config.strategy_id, str(config.strategy_type), list(config.symbols), config.timeframe, parameters
        )
