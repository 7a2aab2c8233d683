"""The strategy engine: market data in, durable signals out.

One path serves everything (`run_all_strategies`, continuous execution, a paced replay): take batches of
the market, show their quotes, decide on their closed bars, commit signals and checkpoints in one
transaction, wake the relay. In a replay it then waits until the order side has the signal, so that
speed changes no outcome.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import structlog

from shared.calendar import Calendar
from shared.clock import Clock, SystemClock
from shared.errors import BusUnavailable, ConfigurationError, RefusedBySafety, StoreError
from shared.instruments import Instruments
from shared.models import Quote, Signal
from shared.quotes import QuoteBoard
from strategy.bars import session_grid
from strategy.config import StrategyConfig, StrategyType, check, load_configs
from strategy.decider import Decider
from strategy.market_data import MarketDataProvider
from strategy.sources.base import MarketBatch, MarketDataSource
from strategy.sources.simulated import SimulatedSource

if TYPE_CHECKING:
    from shared.settings import Settings

__all__ = ["StrategyConfig", "StrategyEngine", "StrategyType"]

REPLAY_PATIENCE_S = 60.0
"""How long a replay waits for the order side to take a signal: as long as an entry is good."""

SIM_PATIENCE_S = 5.0
PROBE_S = 0.02
"""The wait at each signal once the order side has been given up on, until it is back."""

WAIT_SLICE_S = 0.5

CHECKPOINT_S = 1.0
CHECKPOINT_BARS = 2_000
QUOTES_EVERY_S = 0.25
YIELD_S = 0.002
MIN_PAUSE_S = 0.02
MAX_PAUSE_S = 1.0
RETRY_S = 1.0

log = structlog.get_logger(__name__)

CheckpointKey = tuple[str, str, str]


class SignalStore(Protocol):
    """What the engine needs of an outbox."""

    async def checkpoints(self, run: str) -> dict[CheckpointKey, int]:
        """Return how far each (strategy, symbol, timeframe) has decided in *run*, µs UTC."""
        ...

    async def commit(
        self, run: str, signals: Sequence[Signal], checkpoints: Mapping[CheckpointKey, int]
    ) -> list[int]:
        """Accept all in one transaction; return the number of each signal."""
        ...

    async def meta(self, key: str) -> str | None:
        """Return what is kept under *key*."""
        ...

    async def set_meta(self, values: Mapping[str, str]) -> None:
        """Keep *values*."""
        ...


class SignalRelay(Protocol):
    """What the engine needs of a relay."""

    def wake(self) -> None:
        """Send what is new."""
        ...

    async def wait_taken(self, seq: int, timeout_s: float) -> bool:
        """Return True once every known group has signal *seq*."""
        ...

    async def publish_quotes(self, quotes: Sequence[Quote]) -> None:
        """Publish the latest prices."""
        ...


class StrategyEngine:
    """Runs strategies on one market.

    Args:
        configs: What to run; without them those of `STRATEGIES_FILE`, else the default crossover.
        market_data: A provider or a source; without one the simulated market goes on with its next session.
        outbox: Where signals become durable; opened from the settings where not given.
        relay: Carries them to the bus; opened together with the outbox.
        settings: Read from the environment where not given.
        clock: The machine's where not given.
        quotes: Is shown every price in front of the decisions made on it.
    """

    def __init__(
        self,
        *,
        configs: Sequence[StrategyConfig] | None = None,
        market_data: MarketDataProvider | MarketDataSource | None = None,
        outbox: SignalStore | None = None,
        relay: SignalRelay | None = None,
        settings: Settings | None = None,
        clock: Clock | None = None,
        quotes: QuoteBoard | None = None,
    ) -> None:
        self.settings = settings
        self.quotes = quotes or QuoteBoard()
        self.signal_count = 0
        self._clock = clock or SystemClock()
        self._configs = tuple(configs) if configs is not None else None
        self._market = market_data
        self._outbox = outbox
        self._relay = relay
        self._resources = contextlib.AsyncExitStack()
        self._provider: MarketDataProvider | None = None
        self._decider: Decider | None = None
        self._calendar = Calendar.load()
        self._instruments = Instruments.load()
        self._lock = asyncio.Lock()
        self._stop = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._task: asyncio.Task[None] | None = None
        self._uncommitted: list[Signal] = []
        self._unsent: dict[str, Quote] = {}
        self._unsent_since_s = self._flushed_s = self._clock.boot_s()
        self._flushed_bars = 0
        self._noted_session = 0
        self._order_side_away = False
        self._listeners: list[Callable[[Signal, int], None]] = []

    async def initialize(self) -> None:
        """Check the strategies, open outbox, bus and market, warm up from history; harmless when repeated.

        Raises:
            ConfigurationError: Strategies or settings are wrong; all findings in one message.
            LockHeld: Another engine has the outbox.
            RefusedBySafety: Live trading, which does not exist yet.
            BusUnavailable: `REDIS_URL` is set and nobody answers there.
        """
        if self._decider is not None:
            return
        try:
            await self._open()
        except BaseException:
            await self._resources.aclose()
            raise

    async def _open(self) -> None:
        if self.settings is None and (self._configs is None or self._outbox is None):
            self.settings = _settings()
        if self._configs is None:
            self._configs = load_configs(self.settings.strategies_file if self.settings else None)
        check(self._configs, self._instruments)
        if self._outbox is None:
            await self._open_outbox()
        provider = await self._open_market()
        source = provider.source
        decider = Decider(
            self._configs,
            run=source.run,
            timeframe=source.timeframe,
            instruments=self._instruments,
            session_of=session_grid(self._calendar),
        )
        if not set(decider.symbols) & set(source.symbols):
            raise ConfigurationError(
                f"No strategy looks at {', '.join(source.symbols)}; they want {', '.join(decider.symbols)}.",
                remedy="Name the symbols in the strategies' configuration (STRATEGIES_FILE).",
            )
        decider.resume(await self._store.checkpoints(source.run))
        decider.warm_up(lambda *of: source.history(*of) if of[0] in source.symbols else [])
        self.quotes.run = source.run
        self._provider, self._decider = provider, decider
        log.info("engine is ready", market=source.label, run=source.run, strategies=len(self._configs))

    async def _open_outbox(self) -> None:
        # Imported here: an engine with everything passed in needs neither store nor bus.
        from shared.bus.client import Bus
        from shared.bus.signing import load_signal_key
        from strategy.outbox import Outbox
        from strategy.relay import Relay

        settings = self.settings or _settings()
        if not settings.paper_trading:
            raise RefusedBySafety(
                "Live trading is not part of this version.", remedy="Set PAPER_TRADING=true, or leave it out."
            )
        outbox = await Outbox.open(settings.home, "paper", self._clock)
        self._resources.push_async_callback(outbox.close)
        bus = await Bus.open(settings.home, settings.redis_url)
        self._resources.push_async_callback(bus.close)
        secret = settings.signal_key
        key = load_signal_key(settings.home, secret.reveal() if secret else None)
        relay = await Relay.open(outbox, bus, key, self._clock)
        self._resources.push_async_callback(relay.close)
        self._outbox, self._relay = outbox, relay

    async def _open_market(self) -> MarketDataProvider:
        market = self._market
        if market is None:
            market = await self._next_session()
        if not isinstance(market, MarketDataProvider):
            market = MarketDataProvider(market, settings=self.settings, clock=self._clock)
        await market.initialize()
        market.driven = True
        return market

    async def _next_session(self) -> SimulatedSource:
        session = int(await self._store.meta("sim_session") or 0) + 1
        prices = json.loads(await self._store.meta("sim_prices") or "{}")
        symbols = sorted({symbol for config in self._configs or () for symbol in config.symbols})
        seed = self.settings.sim_seed if self.settings is not None else 7
        source = SimulatedSource(
            symbols, seed=seed, session=session, start_prices=prices, clock=self._clock,
            instruments=self._instruments, calendar=self._calendar,
        )  # fmt: skip
        await self._note_session(source)
        return source

    async def _note_session(self, source: SimulatedSource) -> None:
        # Durable before the session's first signal: no session number is ever used twice.
        await self._store.set_meta(
            {"sim_session": str(source.session), "sim_prices": json.dumps(source.prices, sort_keys=True)}
        )
        self._noted_session = source.session

    @property
    def source(self) -> MarketDataSource:
        """The market that the engine is on."""
        return self._opened()[0].source

    @property
    def run(self) -> str:
        """The run that the signals belong to: `sim`, `live` or `replay-…`."""
        return self.source.run

    @property
    def market_data(self) -> MarketDataProvider:
        """History, latest ticks and subscriptions of the engine's market."""
        return self._opened()[0]

    @property
    def failures(self) -> Mapping[str, int]:
        """How often each strategy has raised."""
        return self._opened()[1].failures

    @property
    def bars_decided(self) -> int:
        """Bars given to strategies so far; one bar for two strategies counts twice."""
        return self._opened()[1].bars

    @property
    def running(self) -> bool:
        """Whether continuous execution is on."""
        return self._task is not None and not self._task.done()

    def on_signal(self, listener: Callable[[Signal, int], None]) -> None:
        """Call *listener* with each committed signal and its number in the outbox."""
        self._listeners.append(listener)

    async def run_all_strategies(self) -> list[Signal]:
        """Decide every bar closed since the last time; publish and return the signals.

        Raises:
            StoreError: They could not be made durable; they are kept and tried again next time.
        """
        signals = await self._pump(self.source.now_us())
        await self._flush()
        return signals

    async def start_continuous_execution(self, interval_seconds: float = 60) -> None:
        """Repeat `run_all_strategies` in the background every *interval_seconds* until stopped.

        Closed markets are skipped (the simulated one never closes); a full disk or a missing bus delays
        and does not end it. Returns at once; `wait` stays until it ends.

        Raises:
            ValueError: *interval_seconds* is not positive.
        """
        if not interval_seconds > 0:
            raise ValueError(f"interval_seconds must be positive, not {interval_seconds}")
        self._opened()
        if not self.running:
            self._task = asyncio.create_task(self._repeat(interval_seconds), name="strategies")

    async def _repeat(self, interval_s: float) -> None:
        while not self._stop.is_set():
            if self.run != "live" or self._calendar.is_open(self._clock.now_us()):
                await self._keep_going(self.run_all_strategies())
            await self._pause(interval_s)

    async def run_source(self, *, speed: float | None = None, until_end: bool = True) -> None:
        """Go through the market at *speed* session seconds per wall second until told to stop.

        Args:
            speed: None: as fast as signals are taken.
            until_end: Return when the data is through; otherwise stay until `stop_continuous_execution`.
        """
        self.source.pace(speed)
        self._idle.clear()
        try:
            await self._go_through(speed, until_end)
            await self._flush()
        finally:
            self._stop.clear()
            self._idle.set()

    async def _go_through(self, speed: float | None, until_end: bool) -> None:
        source = self.source
        while not self._stop.is_set():
            await self._keep_going(self._pump(source.now_us()))
            if self._uncommitted:
                await self._pause(RETRY_S)
            elif source.done:
                await self._keep_going(self._flush())
                if until_end:
                    return
                await self._stop.wait()
            else:
                due_s = source.due_in_s() or 0.0
                await self._pause(0.0 if speed is None else min(max(due_s, MIN_PAUSE_S), MAX_PAUSE_S))

    async def stop_continuous_execution(self) -> None:
        """Finish the transaction at work and stop; harmless when nothing runs.

        Raises:
            Exception: What ended the execution early, if anything did.
        """
        task, self._task = self._task, None
        if task is None and self._idle.is_set():
            return
        self._stop.set()
        try:
            if task is not None:
                await task
            await self._idle.wait()
        finally:
            self._stop.clear()

    async def wait(self) -> None:
        """Stay until continuous execution ends; what ended it early is raised here."""
        if self._task is not None:
            await asyncio.shield(self._task)

    async def close(self) -> None:
        """Stop, keep the checkpoints, let go of everything opened here; harmless when repeated."""
        try:
            await self.stop_continuous_execution()
            if self._decider is not None:
                await self._flush()
            if self._provider is not None:
                await self._provider.close()
        finally:
            self._decider = self._provider = None
            await self._resources.aclose()

    async def _keep_going(self, step: Awaitable[object]) -> None:
        """Await *step*; a store or a bus that fails now is an alarm and a delay, never an end."""
        try:
            await step
        except (StoreError, BusUnavailable) as error:
            log.error("signals wait", waiting=len(self._uncommitted), why=error.what, remedy=error.remedy)

    async def _pause(self, seconds: float) -> None:
        if seconds <= 0.0:
            await asyncio.sleep(0)
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stop.wait()

    async def _pump(self, until_us: int) -> list[Signal]:
        """Take what the market did up to *until_us*; return the signals committed on the way."""
        provider, decider = self._opened()
        made: list[Signal] = []
        async with self._lock:
            made += await self._commit()
            yielded_s = self._clock.boot_s()
            while not self._stop.is_set():
                batch = provider.next_batch(until_us)
                if batch is None:
                    break
                self._show(batch)
                self._uncommitted += decider.decide(batch, self._clock.now_us())
                made += await self._commit()
                if self._clock.boot_s() - yielded_s > YIELD_S:
                    await self._between()
                    yielded_s = self._clock.boot_s()
            await self._send_quotes()
        return made

    def _show(self, batch: MarketBatch) -> None:
        self.quotes.update(batch.quotes)
        if self._relay is not None:
            self._unsent.update((quote.symbol, quote) for quote in batch.quotes)

    async def _between(self) -> None:
        """Let others run, and keep up with what need not be done at each batch."""
        now_s = self._clock.boot_s()
        if now_s - self._unsent_since_s >= QUOTES_EVERY_S:
            await self._send_quotes()
        if now_s - self._flushed_s >= CHECKPOINT_S or self._bars_ahead() >= CHECKPOINT_BARS:
            await self._save()
        await asyncio.sleep(0)

    def _bars_ahead(self) -> int:
        return self._opened()[1].bars - self._flushed_bars

    async def _commit(self) -> list[Signal]:
        """Make what was decided durable, tell everybody, and in a replay wait for the order side."""
        if not self._uncommitted:
            return []
        await self._send_quotes()
        signals = list(self._uncommitted)
        seqs = await self._save()
        for signal, seq in zip(signals, seqs, strict=True):
            for listener in self._listeners:
                listener(signal, seq)
        self.signal_count += len(signals)
        if self._relay is not None:
            self._relay.wake()
            if self.run != "live":
                await self._wait_taken(self._relay, seqs[-1])
        return signals

    async def _wait_taken(self, relay: SignalRelay, seq: int) -> None:
        """Let the order side catch up before its market moves on; not for ever, and not while stopping."""
        patience_s = SIM_PATIENCE_S if self.run == "sim" else REPLAY_PATIENCE_S
        give_up_s = self._clock.boot_s() + (PROBE_S if self._order_side_away else patience_s)
        while not self._stop.is_set():
            left_s = give_up_s - self._clock.boot_s()
            if await relay.wait_taken(seq, min(max(left_s, 0.0), WAIT_SLICE_S)):
                self._order_side_away = False
                return
            if left_s <= WAIT_SLICE_S:
                if not self._order_side_away:
                    log.warning("the order side does not take signals; going on without it", seq=seq)
                self._order_side_away = True
                return

    async def _save(self) -> list[int]:
        """Commit signals and checkpoints at hand; on failure both stay for the next try."""
        source, decider = self.source, self._opened()[1]
        if isinstance(source, SimulatedSource) and source.session != self._noted_session:
            await self._note_session(source)
        signals, checkpoints = list(self._uncommitted), dict(decider.dirty)
        seqs = await self._store.commit(self.run, signals, checkpoints) if signals or checkpoints else []
        del self._uncommitted[: len(signals)]
        for key, close_us in checkpoints.items():
            if decider.dirty.get(key) == close_us:
                del decider.dirty[key]
        self._flushed_s = self._clock.boot_s()
        self._flushed_bars = decider.bars
        return seqs

    async def _flush(self) -> None:
        """Make the checkpoints durable, and where the simulated market stands."""
        async with self._lock:
            await self._commit()
            await self._save()
            source = self.source
            if isinstance(source, SimulatedSource):
                await self._note_session(source)

    async def _send_quotes(self) -> None:
        self._unsent_since_s = self._clock.boot_s()
        if self._relay is not None and self._unsent:
            quotes = list(self._unsent.values())
            self._unsent.clear()
            await self._relay.publish_quotes(quotes)

    @property
    def _store(self) -> SignalStore:
        assert self._outbox is not None, "opened in initialize"
        return self._outbox

    def _opened(self) -> tuple[MarketDataProvider, Decider]:
        if self._provider is None or self._decider is None:
            raise ConfigurationError("The engine is not open.", remedy="Call `await initialize()` first.")
        return self._provider, self._decider


def _settings() -> Settings:
    # Imported late: reading the environment costs more than everything else here together.
    from shared.settings import Settings

    return Settings.load()
