"""`trading run`, `trading engine`, `trading subscriber`: start, show, stop within seconds, books closed."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.logs import configure_logs
from app.screen import Screen
from app.summary import Summary
from app.system import (
    EngineSide,
    Feed,
    OrderSide,
    open_bus,
    open_engine,
    open_orders,
    refuse_live,
    wait_ready,
)
from shared.errors import ConfigurationError
from shared.quotes import QuoteBoard
from shared.settings import Settings
from strategy.sources.base import MarketDataSource

SIM_SPEED = 60.0
"""Session seconds per wall second of the simulated market by default: a minute bar each second."""

DRAIN_TIMEOUT_S = 60.0
"""How long `--until-end` waits for the last signals to be disposed of."""

STOP_DRAIN_S = 2.0


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What the command line asked for, checked.

    Attributes:
        speed: Session seconds per wall second; None is as fast as possible.
        for_s: Stop after so many seconds; None runs on.
    """

    replay: tuple[Path, ...] = ()
    speed: float | None = SIM_SPEED
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
            found.append("--until-end needs --replay: the simulated market has no end")
        pace: float | None = SIM_SPEED
        if speed is None:
            pace = None if paths else SIM_SPEED
        elif speed == "max":
            pace = None
            if not paths:
                found.append("--speed max needs --replay; the simulated market takes a number")
        else:
            try:
                pace = float(speed)
            except ValueError:
                found.append(f"--speed {speed!r} is neither a number nor max")
            else:
                if not 0 < pace <= 100_000:
                    found.append(f"--speed {speed} must be above 0 and at most 100000")
        if found:
            raise ConfigurationError("; ".join(found) + ".", remedy="See --help.")
        return cls(paths, pace, until_end, for_s, again, as_json)

    @property
    def feed(self) -> Feed:
        """Where the market data comes from."""
        return Feed(self.replay, self.again)


def run_all(options: RunOptions) -> None:
    """Run both halves in one process; print a summary at the end."""
    settings = _start(options.as_json)
    _loop(_both(settings, options))


def run_engine(options: RunOptions) -> None:
    """Run the engine's half alone."""
    settings = _start(options.as_json)
    _loop(_engine_only(settings, options))


def run_subscriber(group: str | None, for_s: float | None, as_json: bool) -> None:
    """Run the order half alone."""
    settings = _start(as_json)
    _loop(_orders_only(settings, group, for_s, as_json))


async def _both(settings: Settings, options: RunOptions) -> None:
    board = QuoteBoard()
    screen = Screen(as_json=options.as_json)
    async with (
        _stopping() as stop,
        open_bus(settings) as bus,
        open_orders(settings, bus, board) as orders,
    ):
        summary = Summary(settings.home)
        async with open_engine(settings, bus, options.feed, board) as engine:
            await wait_ready(orders)
            orders.subscriber.on_end(stop.set)
            summary.begin(engine.source.run)
            users = len(await orders.manager.users())
            screen.start(_banner(settings, engine, options, users), engine, orders)
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


def _defects(source: MarketDataSource) -> tuple[Mapping[str, int] | None, int]:
    """Return what was wrong with recorded data and how many rows there were; None for another market."""
    if not source.run.startswith("replay"):
        return None, 0
    from strategy.sources.replay import ReplaySource

    return (source.defects, source.rows) if isinstance(source, ReplaySource) else (None, 0)


async def _engine_only(settings: Settings, options: RunOptions) -> None:
    board = QuoteBoard()
    screen = Screen(as_json=options.as_json)
    async with (
        _stopping() as stop,
        open_bus(settings) as bus,
        open_engine(settings, bus, options.feed, board) as engine,
    ):
        screen.start(_banner(settings, engine, options, None), engine, None)
        try:
            with _timed(stop, options.for_s):
                await _drive(engine, options, stop)
        finally:
            screen.stop()
        await engine.engine.stop_continuous_execution()
        screen.say_engine(engine)


async def _orders_only(settings: Settings, group: str | None, for_s: float | None, as_json: bool) -> None:
    board = QuoteBoard()
    screen = Screen(as_json=as_json)
    async with (
        _stopping() as stop,
        open_bus(settings) as bus,
        open_orders(settings, bus, board, group, alone=True) as orders,
    ):
        orders.subscriber.on_end(stop.set)
        users = len(await orders.manager.users())
        whom = group or "all groups"
        where = f"PAPER ({settings.paper_profile})  subscriber of {whom}, {users} users, {settings.home}"
        screen.start(where, None, orders)
        try:
            with _timed(stop, for_s):
                await stop.wait()
        finally:
            screen.stop()
    screen.say_orders(orders)


def _banner(settings: Settings, engine: EngineSide, options: RunOptions, users: int | None) -> str:
    speed = "max" if options.speed is None else f"{options.speed:g}×"
    who = "" if users is None else f", {users} users"
    return (
        f"PAPER ({settings.paper_profile})  {engine.source.label}, speed {speed}{who}, state {settings.home}"
    )


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


def _start(as_json: bool) -> Settings:
    settings = Settings.load()
    refuse_live(settings)
    configure_logs(settings, to_screen=not as_json)
    return settings


def _loop(main: Coroutine[Any, Any, None]) -> None:
    factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    if sys.platform != "win32":
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main)
