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
from collections.abc import Awaitable, Mapping, Sequence
from typing import TYPE_CHECKING

import structlog

from shared.calendar import Calendar
from shared.clock import Clock, SystemClock
from shared.errors import BusUnavailable, ConfigurationError, RefusedBySafety, StoreError
from shared.instruments import Instruments
from shared.models import Signal
from shared.quotes import QuoteBoard
from strategy.bars import session_grid
from strategy.config import StrategyConfig, StrategyType, check, load_configs
from strategy.decider import Decider
from strategy.market_data import MarketDataProvider
from strategy.publisher import Listener, Publisher, SignalRelay, SignalStore
from strategy.sources.base import MarketDataSource
from strategy.sources.simulated import SimulatedSource

if TYPE_CHECKING:
    from shared.settings import Settings

__all__ = ["StrategyConfig", "StrategyEngine", "StrategyType"]

YIELD_S = 0.002
MIN_PAUSE_S = 0.02
MAX_PAUSE_S = 1.0
RETRY_S = 1.0

log = structlog.get_logger(__name__)


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
        self._clock = clock or SystemClock()
        self._configs = tuple(configs) if configs is not None else None
        self._market = market_data
        self._outbox = outbox
        self._relay = relay
        self._resources = contextlib.AsyncExitStack()
        self._provider: MarketDataProvider | None = None
        self._decider: Decider | None = None
        self._calendar = Calendar.load(home=None if settings is None else settings.home)
        self._instruments = Instruments.load()
        self._lock = asyncio.Lock()
        self._stop = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._task: asyncio.Task[None] | None = None
        self._publisher: Publisher | None = None
        self._noted_session = 0
        self._trouble = ""
        self._listeners: list[Listener] = []

    async def initialize(self) -> None:
        """Check the strategies, open outbox, bus and market, warm up from history; harmless when repeated.

        Raises:
            ConfigurationError: Strategies or settings are wrong; all findings in one message.
            LockHeld: Another engine has the outbox.
            RefusedBySafety: PAPER_TRADING is off, and it would publish on its own.
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
            ex_dates=self._calendar.ex_dates,
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
        self._publisher = Publisher(decider, self._store, self._relay, clock=self._clock, stop=self._stop)
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
                "An engine on its own publishes for paper, and PAPER_TRADING is off.",
                remedy="`trading run` rehearses and trades; here set PAPER_TRADING=true, or leave it out.",
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
    def signal_count(self) -> int:
        """Signals committed so far; also after `close`."""
        return self._publisher.count if self._publisher is not None else 0

    @property
    def running(self) -> bool:
        """Whether continuous execution is on."""
        return self._task is not None and not self._task.done()

    def on_signal(self, listener: Listener) -> None:
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
        source = self.source
        self._idle.clear()
        try:
            # What an earlier run has decided only warms up: nobody should wait for it again.
            decided_us = self._opened()[1].decided_us(source.symbols)
            await self._keep_going(self._pump(min(decided_us, source.now_us())))
            source.pace(speed)
            await self._go_through(speed, until_end)
            await self._flush()
        finally:
            self._stop.clear()
            self._idle.set()

    async def _go_through(self, speed: float | None, until_end: bool) -> None:
        source = self.source
        while not self._stop.is_set():
            await self._keep_going(self._pump(source.now_us()))
            if self._opened()[2].waiting:
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
            if error.what != self._trouble:  # said once per outage, not once per try
                self._trouble = error.what
                waiting = len(self._opened()[2].waiting)
                log.error("signals wait", waiting=waiting, why=error.what, remedy=error.remedy)
        else:
            if self._trouble:
                self._trouble = ""
                log.warning("signals flow again")

    async def _pause(self, seconds: float) -> None:
        if seconds <= 0.0:
            await asyncio.sleep(0)
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stop.wait()

    async def _pump(self, until_us: int) -> list[Signal]:
        """Take what the market did up to *until_us*; return the signals committed on the way."""
        provider, decider, publisher = self._opened()
        async with self._lock:
            made = await publisher.commit(self._listeners)
            yielded_s = self._clock.boot_s()
            while not self._stop.is_set():
                batch = provider.next_batch(until_us)
                if batch is None:
                    break
                self.quotes.update(batch.quotes)
                publisher.show(batch.quotes)
                publisher.waiting += decider.decide(batch, self._clock.now_us())
                if publisher.waiting:
                    await self._note_new_session()
                    made += await publisher.commit(self._listeners)
                if self._clock.boot_s() - yielded_s > YIELD_S:
                    await publisher.keep_up()
                    await asyncio.sleep(0)
                    yielded_s = self._clock.boot_s()
            await publisher.send_quotes()
        return made

    async def _flush(self) -> None:
        """Make everything durable, and where the simulated market stands."""
        publisher, source = self._opened()[2], self.source
        async with self._lock:
            await publisher.commit(self._listeners)
            await publisher.save()
            if isinstance(source, SimulatedSource):
                await self._note_session(source)

    async def _note_new_session(self) -> None:
        source = self.source
        if isinstance(source, SimulatedSource) and source.session != self._noted_session:
            await self._note_session(source)

    @property
    def _store(self) -> SignalStore:
        assert self._outbox is not None, "opened in initialize"
        return self._outbox

    def _opened(self) -> tuple[MarketDataProvider, Decider, Publisher]:
        if self._provider is None or self._decider is None or self._publisher is None:
            raise ConfigurationError("The engine is not open.", remedy="Call `await initialize()` first.")
        return self._provider, self._decider, self._publisher


def _settings() -> Settings:
    # Imported late: reading the environment costs more than everything else here together.
    from shared.settings import Settings

    return Settings.load()
