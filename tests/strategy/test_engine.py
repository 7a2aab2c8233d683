from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from shared.clock import ManualClock
from shared.errors import ConfigurationError, StoreError
from shared.models import Quote, Signal
from shared.quotes import QuoteBoard
from strategy.engine import StrategyConfig, StrategyEngine, StrategyType
from strategy.sources.replay import ReplaySource
from strategy.sources.simulated import SimulatedSource

MemoryOutbox = Any  # lives in conftest, which cannot be imported

CONFIGS = (
    StrategyConfig("ma", StrategyType.MOVING_AVERAGE, ("TCS",), {"short_window": 3, "long_window": 8}),
    StrategyConfig("rsi", StrategyType.RSI, ("TCS", "INFY"), {"period": 5}),
)


class _Relay:
    """Counts what the engine asks of a relay."""

    def __init__(self, taken: bool = True) -> None:
        self.taken = taken
        self.waited: list[int] = []
        self.woken = 0
        self.quotes: list[Quote] = []

    def wake(self) -> None:
        self.woken += 1

    async def wait_taken(self, seq: int, timeout_s: float) -> bool:
        self.waited.append(seq)
        await asyncio.sleep(0)
        return self.taken

    async def publish_quotes(self, run: str, quotes: Sequence[Quote]) -> None:
        self.quotes += quotes


class _Killed(BaseException):
    """The process ends here."""


class _Dying(_Relay):
    """Kills the engine between the commit and whatever comes after it."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self._left = after

    def wake(self) -> None:
        self._left -= 1
        if self._left == 0:
            raise _Killed


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = []
    for symbol in ("TCS", "INFY"):
        draw, price, rows = random.Random(symbol), 1000.0, []
        for minute in range(300):
            price = round(price * (1 + draw.gauss(0, 0.002)), 2)
            at = minute + 555
            rows.append(f"2021-04-12 {at // 60:02}:{at % 60:02},{price},{price},{price},{price},100\n")
        path = tmp_path / f"{symbol}.csv"
        path.write_text("ts,open,high,low,close,volume\n" + "".join(rows))
        paths.append(path)
    return paths


async def _engine(outbox: MemoryOutbox, files: list[Path], **changes: object) -> StrategyEngine:
    engine = StrategyEngine(configs=CONFIGS, market_data=ReplaySource(files), outbox=outbox, **changes)  # type: ignore[arg-type]  # test helper
    await engine.initialize()
    return engine


async def test_replay_makes_the_same_signals_by_every_path(outbox: MemoryOutbox, files: list[Path]) -> None:
    engine = await _engine(outbox, files)
    signals = await engine.run_all_strategies()
    await engine.close()
    assert signals == outbox.signals
    assert {signal.strategy_id for signal in signals} == {"ma", "rsi"}
    for speed in (None, 1e9):
        other = type(outbox)()
        engine = await _engine(other, files)
        await engine.run_source(speed=speed, until_end=True)
        await engine.close()
        assert other.ids == outbox.ids


async def test_second_replay_adds_nothing_and_again_is_a_new_run(
    outbox: MemoryOutbox, files: list[Path]
) -> None:
    first = await _engine(outbox, files)
    made = len(await first.run_all_strategies())
    await first.close()
    second = await _engine(outbox, files)
    assert await second.run_all_strategies() == []
    again = StrategyEngine(configs=CONFIGS, market_data=ReplaySource(files, again=1), outbox=outbox)
    await again.initialize()
    assert len(await again.run_all_strategies()) == made
    assert len(set(outbox.ids)) == 2 * made


async def test_restarted_replay_does_not_pace_through_what_it_has_decided(
    outbox: MemoryOutbox, files: list[Path]
) -> None:
    first = await _engine(outbox, files)
    made = list(await first.run_all_strategies())
    await first.close()
    clock = ManualClock()
    second = await _engine(outbox, files, clock=clock)
    # At one session second a second nothing would be due for hours: the clock stands still.
    await asyncio.wait_for(second.run_source(speed=1.0, until_end=True), 10)
    assert second.bars_decided > 0
    assert outbox.signals == made
    await second.close()


async def test_crash_at_any_commit_ends_with_the_same_signals(
    files: list[Path], outbox: MemoryOutbox
) -> None:
    engine = await _engine(outbox, files)
    await engine.run_all_strategies()
    broken = type(outbox)()
    lives, done = 0, False
    while not done:
        # Each life dies at its third commit: nothing is flushed, nothing is closed.
        life = await _engine(broken, files, relay=_Dying(after=3))
        lives += 1
        try:
            await life.run_all_strategies()
            done = True
        except _Killed:
            continue
    assert lives > 5
    assert broken.ids == outbox.ids


async def test_commit_that_fails_keeps_its_signals_for_the_next_try(
    files: list[Path], outbox: MemoryOutbox
) -> None:
    good = await _engine(outbox, files)
    await good.run_all_strategies()
    full = type(outbox)()
    engine = await _engine(full, files)
    full.error = StoreError("The disk is full.")
    with pytest.raises(StoreError):
        await engine.run_all_strategies()
    with pytest.raises(StoreError):
        await engine.run_all_strategies()
    full.error = None
    await engine.run_all_strategies()
    assert full.ids == outbox.ids


async def test_relay_is_woken_and_waited_for_at_each_commit(files: list[Path], outbox: MemoryOutbox) -> None:
    relay = _Relay()
    engine = await _engine(outbox, files, relay=relay)
    signals = await engine.run_all_strategies()
    assert relay.waited[-1] == len(signals)
    assert relay.woken == len(relay.waited) == len({signal.bar_close for signal in signals})
    assert {quote.symbol for quote in relay.quotes} == {"TCS", "INFY"}


async def test_order_side_that_is_away_delays_but_does_not_end_a_replay(
    files: list[Path], outbox: MemoryOutbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("strategy.publisher.REPLAY_PATIENCE_S", 0.01)
    monkeypatch.setattr("strategy.publisher.PROBE_S", 0.0)
    engine = await _engine(outbox, files, relay=_Relay(taken=False))
    assert await engine.run_all_strategies()


async def test_quotes_are_shown_before_the_decision_on_them(files: list[Path], outbox: MemoryOutbox) -> None:
    board = QuoteBoard()
    engine = await _engine(outbox, files, quotes=board)
    seen: list[bool] = []

    def look(signal: Signal, seq: int) -> None:
        quote = board.latest(signal.symbol)
        seen.append(quote is not None and abs(quote.price - signal.price) <= quote.price / 1000)

    engine.on_signal(look)
    await engine.run_all_strategies()
    assert board.run == engine.run
    assert seen and all(seen)


async def test_default_market_goes_on_with_the_next_session(outbox: MemoryOutbox) -> None:
    config = StrategyConfig("ma", "moving_average", ("TCS",))
    labels, prices = [], []
    for _ in range(2):
        engine = StrategyEngine(configs=[config], outbox=outbox, clock=ManualClock())
        await engine.initialize()
        await engine.run_all_strategies()
        labels.append(engine.source.label)
        prices.append(outbox.values["sim_prices"])
        await engine.close()
    assert labels == ["SIMULATED market, seed 7, session 1", "SIMULATED market, seed 7, session 2"]
    assert outbox.values["sim_session"] == "2"
    assert prices[0] != prices[1]
    assert len(set(outbox.ids)) == len(outbox.ids)


async def test_session_number_is_durable_before_its_first_signal(outbox: MemoryOutbox) -> None:
    clock = ManualClock()
    source = SimulatedSource(("TCS",), clock=clock, speed=1.0)
    engine = StrategyEngine(
        configs=[StrategyConfig("ma", "moving_average", ("TCS",))],
        market_data=source,
        outbox=outbox,
        clock=clock,
    )
    await engine.initialize()
    noted: list[tuple[str, str]] = []
    engine.on_signal(lambda _, seq: noted.append((outbox.values["sim_session"], str(source.session))))
    for _ in range(4):
        clock.advance(7000.0)
        await engine.run_all_strategies()
    assert [before for before, _ in noted] == [session for _, session in noted]
    assert {"1", "2"} <= {session for _, session in noted}


async def test_continuous_execution_repeats_and_stops_cleanly(outbox: MemoryOutbox) -> None:
    clock = ManualClock()
    engine = StrategyEngine(
        configs=[StrategyConfig("ma", "moving_average", ("TCS",))], outbox=outbox, clock=clock
    )
    await engine.initialize()
    passes = asyncio.Event()
    seen = []

    async def run() -> list[Signal]:
        seen.append(clock.now_us())
        if len(seen) == 3:
            passes.set()
        return []

    engine.run_all_strategies = run  # type: ignore[method-assign]  # counts passes
    await engine.start_continuous_execution(interval_seconds=0.001)
    async with asyncio.timeout(5):
        await passes.wait()
        states = [engine.running]
        await engine.stop_continuous_execution()
        states.append(engine.running)
    assert states == [True, False]
    await engine.stop_continuous_execution()
    await engine.close()
    await engine.close()


async def test_continuous_execution_survives_a_full_disk(outbox: MemoryOutbox, files: list[Path]) -> None:
    engine = await _engine(outbox, files)
    outbox.error = StoreError("The disk is full.")
    await engine.start_continuous_execution(interval_seconds=0.001)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert engine.running
    outbox.error = None
    committed = asyncio.Event()
    engine.on_signal(lambda signal, seq: committed.set())
    async with asyncio.timeout(5):
        await committed.wait()
        await engine.stop_continuous_execution()
    assert outbox.signals


async def test_stop_ends_a_replay_that_stays_open(outbox: MemoryOutbox, files: list[Path]) -> None:
    engine = await _engine(outbox, files)
    committed = asyncio.Event()
    engine.on_signal(lambda signal, seq: committed.set())
    going = asyncio.create_task(engine.run_source(until_end=False))
    async with asyncio.timeout(5):
        await committed.wait()
        await engine.stop_continuous_execution()
        await going
    assert engine.source.run in {run for run, *_ in outbox.kept}


async def test_interval_must_be_positive(outbox: MemoryOutbox, files: list[Path]) -> None:
    engine = await _engine(outbox, files)
    with pytest.raises(ValueError, match="positive"):
        await engine.start_continuous_execution(interval_seconds=0)


async def test_data_that_no_strategy_looks_at_is_refused(outbox: MemoryOutbox, files: list[Path]) -> None:
    config = StrategyConfig("ma", "moving_average", ("SBIN",))
    engine = StrategyEngine(configs=[config], market_data=ReplaySource(files), outbox=outbox)
    with pytest.raises(ConfigurationError, match=r"No strategy looks at INFY, TCS.*SBIN"):
        await engine.initialize()


async def test_wrong_configuration_is_refused_before_anything_opens(outbox: MemoryOutbox) -> None:
    engine = StrategyEngine(configs=[StrategyConfig("x", "magic", ("TCS",))], outbox=outbox)
    with pytest.raises(ConfigurationError, match="magic"):
        await engine.initialize()
    with pytest.raises(ConfigurationError, match="initialize"):
        await engine.run_all_strategies()
