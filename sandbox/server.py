"""The sandbox as a whole: made from options, served on loopback until told to stop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Handler

from sandbox.accounts import Account, Holding
from sandbox.admin import Admin
from sandbox.auth import Auth, Credentials, make_credentials
from sandbox.exchange import Exchange
from sandbox.faults import Fault, Faults
from sandbox.gtt import Gtt
from sandbox.hub import Hub
from sandbox.limits import RateLimiter
from sandbox.market_clock import MarketClock
from sandbox.market_feed import MarketFeed
from sandbox.order_feed import OrderFeed
from sandbox.prices import Prices
from sandbox.recording import RecordedTape, load
from sandbox.routes import make_routes
from sandbox.state import State
from sandbox.switches import Switches
from sandbox.tape import Tape
from shared.clock import Clock, ist_day
from shared.errors import ConfigurationError, TradingError
from shared.instruments import Instruments

HOST = "127.0.0.1"
BACKLOG = 1024
"""Connections that wait to be taken: many accounts may come at once."""

GTT_EVERY_S = 0.5
MAX_BODY_BYTES = 1_000_000
STOP_S = 1.0


@dataclass(slots=True)
class Options:
    """How a sandbox is made.

    Attributes:
        port: 0 takes a free one.
        accounts: How many clients.
        seed: Of the market and of the credentials.
        speed: Market seconds per wall second.
        start_day: First day of the market, days since 1970-01-01; None: today in India.
        wall: Follow the wall's hours instead of being always in session.
        state: File that outlives the process; None: nothing does.
        cash: Of each account, paise.
        replay: Recorded ticks or bars, files or folders, that take the place of the made-up market.
        holdings: Shares in each account by symbol, at yesterday's close.
        days: Whether each market day has order and trade books of its own, and DELIVERY shares are holdings
            the day after. None: where the market goes no faster than the wall, whose days clients count; in a
            faster one all days are one.
        flood: Frames per second and feed connection, for load tests; 0: the market's own pace.
    """

    port: int = 8000
    accounts: int = 3
    seed: int = 7
    speed: float = 1.0
    start_day: int | None = None
    wall: bool = False
    state: Path | None = None
    cash: int = 100_000_000
    days: bool | None = None
    flood: int = 0
    replay: list[Path] = field(default_factory=list)
    holdings: dict[str, int] = field(default_factory=dict)
    switches: Switches = field(default_factory=Switches)
    faults: list[Fault] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Listening:
    """Where it listens, and who may log in."""

    port: int
    market: str
    credentials: list[Credentials]

    @property
    def base_url(self) -> str:
        """REST root."""
        return f"http://{HOST}:{self.port}"

    @property
    def feed_url(self) -> str:
        """Market feed."""
        return f"ws://{HOST}:{self.port}/smart-stream"

    @property
    def order_feed_url(self) -> str:
        """Order feed."""
        return f"ws://{HOST}:{self.port}/smart-order-update"


@contextlib.asynccontextmanager
async def serve(options: Options, clock: Clock) -> AsyncIterator[Listening]:
    """Serve until the context ends.

    Raises:
        ConfigurationError: The options make no sense.
        TradingError: The port is taken, or another sandbox works on the state.
    """
    if not 1 <= options.accounts <= 10_000:
        raise ConfigurationError(f"{options.accounts} accounts: from 1 to 10,000.")
    if not 0 < options.speed <= 1_000:
        raise ConfigurationError(f"A speed of {options.speed:g}: above 0, at most 1000.")
    state = State(options.state, seed=options.seed, cash=options.cash)
    try:
        hub, credentials = _make(options, state, clock)
        async with _running(hub, options) as port:
            yield Listening(port, hub.market, credentials)
    finally:
        state.close()


def _make(options: Options, state: State, clock: Clock) -> tuple[Hub, list[Credentials]]:
    instruments = Instruments.load()
    credentials = [make_credentials(number, state.seed) for number in range(1, options.accounts + 1)]
    tape = RecordedTape(state.seed, load(options.replay, instruments)) if options.replay else Tape(state.seed)
    prices = Prices(tape)
    switches = options.switches
    accounts = [Account(each.client_code, state.cash) for each in credentials]
    for payment in state.payments:
        for account in accounts:
            account.cash += payment.amount if account.client == payment.client else 0
    days = options.days if options.days is not None else options.wall or options.speed <= 1
    exchange = Exchange(prices, instruments, accounts, switches, seed=options.seed, days=days)
    day = options.start_day if options.start_day is not None else ist_day(clock.now_us())
    time = MarketClock(day, speed=options.speed, wall=options.wall)
    if isinstance(tape, RecordedTape):
        if options.wall:
            raise ConfigurationError("A replay has hours of its own.", remedy="Leave out --wall-hours.")
        day = options.start_day if options.start_day is not None else tape.first_day
        time = MarketClock(day, 0.0, speed=options.speed)
    if state.clock is not None and not options.wall:
        time = MarketClock(state.clock.day, state.clock.second, speed=options.speed)
    what = f"replay of {', '.join(map(str, options.replay))}" if options.replay else f"seed {state.seed}"
    for symbol, quantity in options.holdings.items():
        instrument = instruments.get(symbol)
        average = prices.previous_close(instrument, time.now(clock.boot_s(), clock.now_us()))
        for account in accounts:
            account.holdings[symbol] = Holding(instrument, quantity, average)
    hub = Hub(
        market=state.market,
        label=f"{state.market}, {what}, speed {time.speed:g}×",
        clock=clock,
        time=time,
        instruments=instruments,
        prices=prices,
        exchange=exchange,
        auth=Auth({each.client_code: each for each in credentials}, switches),
        limits=RateLimiter(),
        faults=Faults(),
        switches=switches,
        state=state,
    )
    exchange.on_update, exchange.on_pending = hub.updated, state.order
    exchange.restore(state.orders(instruments), state.conversions, len(state.kept))
    for fault in options.faults:
        client = fault.target.client_code
        if client and client not in exchange.accounts:
            raise ConfigurationError(
                f"A fault for client {client}: there is none.", remedy=f"Known: {_some(exchange.accounts)}."
            )
        hub.faults.add(fault)
    return hub, credentials


def _some(clients: Iterable[str]) -> str:
    first, *more = clients
    return f"{first} to {more[-1]}" if more else first


@contextlib.asynccontextmanager
async def _running(hub: Hub, options: Options) -> AsyncIterator[int]:
    app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[_readable])
    gtt = Gtt(hub)
    market_feed, order_feed = MarketFeed(hub, options.flood), OrderFeed(hub)
    make_routes(hub, gtt).add_to(app)
    Admin(hub).add_to(app)
    app.router.add_get("/smart-stream", market_feed.handle)
    app.router.add_get("/smart-order-update", order_feed.handle)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=False, shutdown_timeout=STOP_S)
    await runner.setup()
    try:
        site = web.TCPSite(runner, HOST, options.port, reuse_address=True, backlog=BACKLOG)
        try:
            await site.start()
        except OSError as error:
            raise TradingError(
                f"Port {options.port} on {HOST} cannot be used: {error.strerror}.",
                remedy="Give another --port; 0 takes a free one.",
            ) from error
        works = (hub.run(), market_feed.run(), _rules(hub, gtt))
        try:
            async with _together(works):
                yield runner.addresses[0][1]
        finally:
            await market_feed.close()
            await order_feed.close()
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def _together(works: Iterable[Coroutine[None, None, None]]) -> AsyncIterator[None]:
    """Run *works* beside the body. One that fails ends it: a server without its exchange would be a riddle.

    Not a TaskGroup: what the body raises would come out wrapped.
    """
    body = asyncio.current_task()
    assert body is not None, "called from a task"
    failed: list[BaseException] = []

    def ended(task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            failed.append(error)
            body.cancel()

    tasks = [asyncio.create_task(work) for work in works]
    for task in tasks:
        task.add_done_callback(ended)
    try:
        yield
    except asyncio.CancelledError:
        if not failed:
            raise
        body.uncancel()
        raise failed[0] from None
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@web.middleware
async def _readable(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse a body that is not in the encoding that it claims."""
    try:
        return await handler(request)
    except web.RequestPayloadError as error:
        refused = web.Response(status=400, text=str(error))
        refused.force_close()
        return refused


async def _rules(hub: Hub, gtt: Gtt) -> None:
    while True:
        await asyncio.sleep(GTT_EVERY_S)
        gtt.advance(hub.now(), hub.wall_us())
