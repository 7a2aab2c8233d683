"""`trading run`, `trading engine`, `trading subscriber`: start, show, stop within seconds, books closed."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from app.connections import Connections, open_connections
from app.loading import loaded
from app.logs import configure_logs
from app.one_time_code import typed_codes
from app.plan import Data, Plan, Venue, plan
from app.screen import Screen
from app.summary import Summary
from app.system import (
    EngineSide,
    Feed,
    OrderSide,
    open_bus,
    open_engine,
    open_orders,
    require_free,
    wait_ready,
)
from order.place import Place
from shared import failpoint
from shared.errors import ConfigurationError, LoginRefused, RefusedBySafety, VenueUnavailable
from shared.quotes import QuoteBoard
from shared.settings import Settings
from strategy.outbox import LOCK_FILE as OUTBOX_LOCK
from strategy.sources.base import MarketDataSource

SIM_SPEED = 180.0
"""Market seconds per wall second of a sandbox of our own by default: three minute bars each second."""

MOST_REPLAY_SPEED = 100_000.0
MOST_SANDBOX_SPEED = 600.0
"""Ten minute bars each second; beyond that a minute has too few frames to be one."""

DRAIN_TIMEOUT_S = 60.0
"""How long `--until-end` waits for the last signals to be disposed of."""

STOP_DRAIN_S = 2.0
MARKET_AGAIN_S = 2.0
"""Between two looks for an account that the market can be read with."""


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What the command line asked for, checked.

    Attributes:
        speed: Session seconds per wall second; None is as fast as possible.
        speed_given: The command line named a speed.
        for_s: Stop after so many seconds; None runs on.
    """

    replay: tuple[Path, ...] = ()
    speed: float | None = SIM_SPEED
    speed_given: bool = False
    until_end: bool = False
    for_s: float | None = None
    again: bool = False
    as_json: bool = False

    @classmethod
    def parse(
        cls,
        replay: Sequence[Path] | None,
        more: Sequence[Path] | None,
        speed: str | None,
        until_end: bool,
        for_s: float | None,
        again: bool,
        as_json: bool,
    ) -> RunOptions:
        """Return the options, or say all that is wrong with them.

        Raises:
            ConfigurationError: With every finding.
        """
        found: list[str] = []
        paths = (*(replay or ()), *(more or ()))
        if more and not replay:
            found.append(f"{more[0]}: a path without --replay")
        if again and not replay:
            found.append("--again needs --replay")
        if until_end and not replay and for_s is None:
            found.append("--until-end needs --replay: a live market has no end")
        pace: float | None = SIM_SPEED
        if speed is None:
            pace = None if paths else SIM_SPEED
        elif speed == "max":
            pace = None
            if not paths:
                found.append("--speed max needs --replay; the sandbox takes a number")
        else:
            try:
                pace = float(speed)
            except ValueError:
                found.append(f"--speed {speed!r} is neither a number nor max")
            else:
                most = MOST_REPLAY_SPEED if paths else MOST_SANDBOX_SPEED
                if not 0 < pace <= most:
                    found.append(f"--speed {speed} must be above 0 and at most {most:g} here")
        if found:
            raise ConfigurationError("; ".join(found) + ".", remedy="See --help.")
        return cls(paths, pace, speed is not None, until_end, for_s, again, as_json)

    @property
    def feed(self) -> Feed:
        """Where the market data comes from."""
        return Feed(self.replay, self.again)


def run_all(options: RunOptions) -> None:
    """Run both halves in one process; print a summary at the end."""
    settings, chosen = _start(options)
    require_free(settings.home, OUTBOX_LOCK, Place.of(settings).lock_name)
    _loop(_both(settings, chosen, options, typed_codes(chosen, settings)))


def run_engine(options: RunOptions) -> None:
    """Run the engine's half alone."""
    settings, chosen = _start(options)
    require_free(settings.home, OUTBOX_LOCK)
    _loop(_engine_only(settings, chosen, options, typed_codes(chosen, settings, orders=False)))


def run_subscriber(group: str | None, for_s: float | None, as_json: bool) -> None:
    """Run the order half alone."""
    settings, chosen = _start(RunOptions(for_s=for_s, as_json=as_json))
    if chosen.orders is not Venue.PAPER and chosen.account is None:
        raise ConfigurationError(
            "A subscriber of its own cannot share the sandbox that `trading run` or `trading engine` starts.",
            remedy="Start `trading sandbox` and set the ANGEL_ONE_… settings that it prints for both.",
        )
    group_only = Place.of(settings, group).group
    codes = typed_codes(chosen, settings, group_only)
    _loop(_orders_only(settings, chosen, group, for_s, as_json, codes))


async def _both(settings: Settings, chosen: Plan, options: RunOptions, codes: Mapping[str, str]) -> None:
    board = QuoteBoard()
    screen = Screen(as_json=options.as_json)
    async with (
        _stopping() as stop,
        open_bus(settings) as bus,
        open_connections(chosen, settings, options.speed or SIM_SPEED, codes=codes) as lines,
        open_orders(
            settings, bus, board, chosen.environment,
            remotes=lines.remotes, dialer=lines.dialer, run=lines.run,
        ) as orders,
    ):
        # The first line says where orders go, also where no market is there yet to begin with.
        waits = lines.market is None and lines.look is not None
        head = [f"{_head(settings, chosen)}, state {settings.home}: it waits for a market."] if waits else []
        _tell([*head, *lines.notes, *orders.manager.unattended(lines.off)])
        summary = Summary(settings.home, settings.postgres_url)
        async with contextlib.AsyncExitStack() as stack:
            engine = await _engine(stack, lines, options.for_s, stop, partial(
                open_engine, settings, bus, options.feed, board, chosen.environment
            ))  # fmt: skip
            if engine is None:
                return
            await wait_ready(orders)
            orders.subscriber.on_end(stop.set)
            summary.begin(engine.source.run)
            users = len(await orders.manager.users())
            screen.start(_banner(settings, chosen, engine, options, users), engine, orders)
            try:
                with _timed(stop, options.for_s):
                    await _drive(engine, options, stop)
                    if options.until_end:
                        await _drain(engine, orders, stop)
            finally:
                screen.stop()
            await engine.engine.stop_continuous_execution()
            await engine.relay.wait_taken(engine.outbox.head, STOP_DRAIN_S)
            defects, rows = _defects(engine.source)
    summary.show(options.as_json, board, defects, rows)


async def _engine(
    stack: contextlib.AsyncExitStack,
    lines: Connections,
    for_s: float | None,
    stop: asyncio.Event,
    opening: Callable[[Connections], contextlib.AbstractAsyncContextManager[EngineSide]],
) -> EngineSide | None:
    """Open the engine's half beside an order side that is open; None: it is time to stop.

    Raises:
        LoginRefused, VenueUnavailable: The market cannot be read, and no account trades that exits are for.
    """
    told = ""
    while (reading := await _market(lines, for_s, stop)) is not None:
        try:
            return await stack.enter_async_context(opening(reading))
        except (LoginRefused, VenueUnavailable) as error:
            if lines.look is None:
                raise
            if str(error) != told:
                told = str(error)
                _tell([f"no market data: {told} Exits go on; it is tried again."])
            lines = replace(lines, market=None)
            await _pause(stop)
    return None


async def _pause(stop: asyncio.Event) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(MARKET_AGAIN_S):
            await stop.wait()


async def _market(lines: Connections, for_s: float | None, stop: asyncio.Event) -> Connections | None:
    """Return *lines* with a market once an account has a session to read it with; None: it is time to stop.

    Until then the order side works: exits go out, entries have no price.
    """
    if lines.market is not None or lines.look is None:
        return lines
    market = await lines.look()
    if market is None:
        _tell([
            "no market data: no account has a session. Exits go on, no entries are taken; data begins with "
            "the first session (`trading accounts` says what each account needs)."
        ])  # fmt: skip
    with _timed(stop, for_s):
        while market is None and not stop.is_set():
            await _pause(stop)
            market = await lines.look()
    return None if market is None or stop.is_set() else replace(lines, market=market)


def _tell(notes: Sequence[str]) -> None:
    for note in notes:
        print(f"trading: {note}", file=sys.stderr, flush=True)


def _defects(source: MarketDataSource) -> tuple[Mapping[str, int] | None, int]:
    """Return what was wrong with recorded data and how many rows there were; None for another market."""
    if not source.run.startswith("replay"):
        return None, 0
    from strategy.sources.replay import ReplaySource

    return (source.defects, source.rows) if isinstance(source, ReplaySource) else (None, 0)


async def _engine_only(
    settings: Settings, chosen: Plan, options: RunOptions, codes: Mapping[str, str]
) -> None:
    board = QuoteBoard()
    screen = Screen(as_json=options.as_json)
    async with (
        _stopping() as stop,
        open_bus(settings) as bus,
        open_connections(chosen, settings, options.speed or SIM_SPEED, orders=False, codes=codes) as lines,
        open_engine(settings, bus, options.feed, board, chosen.environment, lines) as engine,
    ):
        screen.start(_banner(settings, chosen, engine, options, None), engine, None)
        try:
            with _timed(stop, options.for_s):
                await _drive(engine, options, stop)
        finally:
            screen.stop()
        await engine.engine.stop_continuous_execution()
        screen.say_engine(engine)


async def _orders_only(
    settings: Settings,
    chosen: Plan,
    group: str | None,
    for_s: float | None,
    as_json: bool,
    codes: Mapping[str, str],
) -> None:
    board = QuoteBoard()
    screen = Screen(as_json=as_json)
    async with (
        _stopping() as stop,
        open_bus(settings) as bus,
        open_connections(
            chosen, settings, SIM_SPEED, data=False, group=Place.of(settings, group).group, codes=codes
        ) as lines,
        open_orders(
            settings,
            bus,
            board,
            chosen.environment,
            remotes=lines.remotes,
            dialer=lines.dialer,
            run=lines.run,
            group=group,
            alone=True,
        ) as orders,
    ):
        _tell([*lines.notes, *orders.manager.unattended(lines.off)])
        orders.subscriber.on_end(stop.set)
        users = len(await orders.manager.users())
        whom = orders.manager.place.group or group or "all groups"
        head = _head(settings, chosen)
        screen.start(f"{head}  subscriber of {whom}, {users} users, {settings.home}", None, orders)
        try:
            with _timed(stop, for_s):
                await stop.wait()
        finally:
            screen.stop()
    screen.say_orders(orders)


def _head(settings: Settings, chosen: Plan) -> str:
    """Return the words that say where orders go."""
    if chosen.orders is Venue.PAPER:
        return f"PAPER ({settings.paper_profile})"
    yes = " --yes" if chosen.orders is Venue.SANDBOX else ""
    return f"{chosen.orders} (exits only until `trading arm{yes}`)"


def _banner(
    settings: Settings, chosen: Plan, engine: EngineSide, options: RunOptions, users: int | None
) -> str:
    speed = ""
    if chosen.data is Data.REPLAY:
        speed = ", speed max" if options.speed is None else f", speed {options.speed:g}×"
    who = "" if users is None else f", {users} users"
    return f"{_head(settings, chosen)}  {engine.source.label}{speed}{who}, state {settings.home}"


async def _drive(engine: EngineSide, options: RunOptions, stop: asyncio.Event) -> None:
    """Feed the engine until the data is through (with `--until-end`), a signal, or the time is up."""
    until_end = options.until_end and bool(options.replay)
    feeding = asyncio.create_task(
        engine.engine.run_source(speed=options.speed, until_end=until_end), name="engine"
    )
    stopping = asyncio.create_task(stop.wait(), name="stop")
    try:
        await asyncio.wait((feeding, stopping), return_when=asyncio.FIRST_COMPLETED)
        if not feeding.done():
            await engine.engine.stop_continuous_execution()
        await feeding
    finally:
        stopping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await stopping


async def _drain(engine: EngineSide, orders: OrderSide, stop: asyncio.Event) -> None:
    """Wait until every signal is disposed of, or it is time to stop."""
    deadline = asyncio.get_running_loop().time() + DRAIN_TIMEOUT_S
    while not stop.is_set() and asyncio.get_running_loop().time() < deadline:
        if await engine.relay.wait_taken(engine.outbox.head, 0.5) and not orders.subscriber.trouble:
            return


@contextlib.asynccontextmanager
async def _stopping() -> AsyncIterator[asyncio.Event]:
    """Yield an event that SIGTERM or Ctrl-C sets, from before anything is open until all is closed."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        yield stop
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


@contextlib.contextmanager
def _timed(stop: asyncio.Event, for_s: float | None) -> Iterator[None]:
    """Set *stop* after *for_s* seconds; None: never."""
    timer = asyncio.get_running_loop().call_later(for_s, stop.set) if for_s is not None else None
    try:
        yield
    finally:
        if timer is not None:
            timer.cancel()


def _start(options: RunOptions) -> tuple[Settings, Plan]:
    settings = Settings.load()
    chosen = plan(settings, replay=bool(options.replay))
    if options.speed_given and chosen.data in (Data.SANDBOX, Data.LIVE):
        raise ConfigurationError(
            f"--speed does not fit: the {chosen.data} market has its own time.",
            remedy="Give it to `trading sandbox`, or leave the ANGEL_ONE_… settings out.",
        )
    if chosen.orders is Venue.LIVE and settings.strategies_file is None:
        raise RefusedBySafety(
            "The strategies that come with this project are a demonstration: they trade no real money.",
            remedy="Name your own: STRATEGIES_FILE=strategies.toml.",
        )
    configure_logs(settings, to_screen=not options.as_json)
    if chosen.proof:
        from proof.clock import follow
        from proof.mutants import make

        failpoint.arm(settings.failpoint, settings.home)
        follow(settings.home)
        make(settings.mutant)
    return settings, chosen


def _loop(main: Coroutine[Any, Any, None]) -> None:
    loaded()
    factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    if sys.platform != "win32":
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main)
