from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from shared.models import Bar, Signal

DATA = Path(
    os.environ.get("TRADING_TEST_DATA") or Path(__file__).resolve().parents[3] / "shared" / "market-data"
)
MINUTE = 60_000_000
OPEN = 1_618_199_100_000_000  # 2021-04-12 09:15 IST


@pytest.fixture
def recorded() -> Callable[[str], Path]:
    """Return the path of a recorded file, or skip where the recordings are not there."""

    def path(name: str) -> Path:
        if not (DATA / name).exists():
            pytest.skip(f"recorded market data is not at {DATA / name} (TRADING_TEST_DATA moves it)")
        return DATA / name

    return path


@pytest.fixture
def bars() -> Callable[..., list[Bar]]:
    """Return 1-minute bars that close at the given prices."""

    def make(closes: Sequence[float], symbol: str = "RELIANCE", start_us: int = OPEN) -> list[Bar]:
        return [
            Bar(symbol, "1m", at, at + MINUTE, close, close, close, close, 100)
            for at, close in zip(
                range(start_us, start_us + len(closes) * MINUTE, MINUTE), closes, strict=True
            )
        ]

    return make


class MemoryOutbox:
    """An outbox without a disk, that fails when told to."""

    def __init__(self) -> None:
        self.signals: list[Signal] = []
        self.kept: dict[tuple[str, str, str, str], int] = {}
        self.values: dict[str, str] = {}
        self.commits = 0
        self.error: Exception | None = None

    async def checkpoints(self, run: str) -> dict[tuple[str, str, str], int]:
        return {key[1:]: close_us for key, close_us in self.kept.items() if key[0] == run}

    async def commit(
        self, run: str, signals: Sequence[Signal], checkpoints: Mapping[tuple[str, str, str], int]
    ) -> list[int]:
        if self.error is not None:
            raise self.error
        self.commits += 1
        ids = [signal.signal_id for signal in self.signals]
        for signal in signals:
            if signal.signal_id not in ids:
                self.signals.append(signal)
                ids.append(signal.signal_id)
        for (strategy_id, symbol, timeframe), close_us in checkpoints.items():
            self.kept[(run, strategy_id, symbol, timeframe)] = close_us
        return [ids.index(signal.signal_id) + 1 for signal in signals]

    async def meta(self, key: str) -> str | None:
        return self.values.get(key)

    async def set_meta(self, values: Mapping[str, str]) -> None:
        self.values.update(values)

    @property
    def ids(self) -> list[str]:
        return [signal.signal_id for signal in self.signals]


@pytest.fixture
def outbox() -> MemoryOutbox:
    return MemoryOutbox()
