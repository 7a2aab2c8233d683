"""`replay_ticks`: recorded ticks through repair, bars and both strategies, on one core."""

from __future__ import annotations

import csv
import gzip
import time
from pathlib import Path

from app.bench.figures import Figure, single
from shared.calendar import Calendar
from shared.errors import DataError
from shared.instruments import Instruments
from strategy.bars import session_grid
from strategy.config import StrategyConfig, StrategyType
from strategy.decider import Decider
from strategy.sources.replay import ReplaySource

SYMBOLS = ("RELIANCE", "SBIN", "TCS", "NIFTY50", "BANKNIFTY")
DAY = "2021-04-12"
LIMIT = 200_000.0


def replay_ticks(data: Path, rounds: int) -> Figure:
    """Measure the five tick files of one day, read, repaired, made into bars and decided on.

    Raises:
        DataError: The recorded ticks are not there.
    """
    files = [data / "ticks" / f"{symbol}_{DAY}.csv.gz" for symbol in SYMBOLS]
    missing = [path for path in files if not path.exists()]
    if missing:
        raise DataError(f"There is no {missing[0]}.", remedy="Give the folder of recorded data with --data.")
    rates, floors = [], []
    for _ in range(rounds):
        floors.append(_bare(files))
        start = time.perf_counter()
        rows = _through(files)
        rates.append(rows / (time.perf_counter() - start))
    return single(
        "replay_ticks",
        "ticks/s",
        sorted(rates)[len(rates) // 2],
        sorted(floors)[len(floors) // 2],
        LIMIT,
        f"median of {rounds}; floor: the same files through csv.reader alone",
        at_least=True,
    )


def _through(files: list[Path]) -> int:
    source = ReplaySource(files)
    configs = [
        StrategyConfig("ma_crossover", StrategyType.MOVING_AVERAGE, SYMBOLS),
        StrategyConfig("rsi", StrategyType.RSI, SYMBOLS),
    ]
    decider = Decider(
        configs,
        run=source.run,
        timeframe=source.timeframe,
        instruments=Instruments.load(),
        session_of=session_grid(Calendar.load()),
    )
    decider.resume({})
    end_us = source.now_us()
    while (batch := source.next_batch(end_us)) is not None:
        decider.decide(batch, 0)
    return source.rows


def _bare(files: list[Path]) -> float:
    start, rows = time.perf_counter(), 0
    for path in files:
        with gzip.open(path, "rt", newline="") as lines:
            rows += sum(1 for _ in csv.reader(lines))
    return rows / (time.perf_counter() - start)
