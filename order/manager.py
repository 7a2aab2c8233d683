"""The front door of the order side: takes signals and direct orders, answers what became of them.

`initialize()` takes the order lock and serves the control socket. Where another process has the lock,
this manager sends its commands there instead, so that a script works beside a running system.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import msgspec
import structlog

from broker.base import RemoteVenue, StoreVenue
from broker.registry import known as known_venues
from broker.registry import store_venue
from order.bookkeeper import Bookkeeper, Direct, Unreadable
from order.control import ControlClient, ControlServer, control_path
from order.desk import Received
from order.orders import Order
from order.requests import parse_direct
from order.schema import LOCK_NAME
from order.sqlite_store import SqliteOrderStore
from order.users import Limits, Terms, User, check_user, demo_users
from shared.calendar import Calendar
from shared.clock import Clock, SystemClock
from shared.errors import ConfigurationError, LockHeld, RefusedBySafety
from shared.instruments import Instruments
from shared.models import OrderResult, OrderState, Quote, rupees
from shared.quotes import QuoteBoard
from shared.settings import Settings
from shared.store.lock import FileLock
from shared.store.thread import OwnedThread

T = TypeVar("T")
log = structlog.get_logger(__name__)

DEMO_STRATEGIES = ("ma_crossover",)


@dataclass(slots=True)
class _Open:
    """What exists between `initialize` and `close` of the lock's holder."""

    lock: FileLock
    thread: OwnedThread
    books: Bookkeeper
    control: ControlServer


class OrderManager:
    """Sizes, checks, sends and books orders, on paper.

    Args:
        paper_trading: Consent of the caller; live needs this and the environment's, the safer one wins.
        settings: Read from the environment where not given.
        clock: The machine's where not given.
        quotes: Prices of the engine or a feed; without them orders fill from their own price.
        venues: Venues by name, in place of the registry's.
        remotes: Venues behind a wire, by name.
        demo_strategies: What the three demo users of a first start subscribe to.
    """

    def __init__(
        self,
        paper_trading: bool = True,
        *,
        settings: Settings | None = None,
        clock: Clock | None = None,
        quotes: QuoteBoard | None = None,
        venues: Mapping[str, StoreVenue] | None = None,
        remotes: Mapping[str, RemoteVenue] | None = None,
        demo_strategies: Sequence[str] = DEMO_STRATEGIES,
    ) -> None:
        self.settings = settings or Settings.load()
        self.paper = paper_trading or self.settings.paper_trading
        self.board = quotes or QuoteBoard()
        self._clock = clock or SystemClock()
        self._venues = venues
        self._remotes = dict(remotes or {})
        self._demo_strategies = list(demo_strategies)
        self._open: _Open | None = None
        self._remote: ControlClient | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._pending: list[Quote] = []
        self._matching = False
        self._instruments = Instruments.load()

    @property
    def home(self) -> Path:
        """The state folder."""
        return self.settings.home

    @property
    def holds_lock(self) -> bool:
        """Whether this manager itself keeps the books (and does not talk to one that does)."""
        return self._open is not None

    async def initialize(self) -> None:
        """Open the books, or find out who has them open.

        Raises:
            RefusedBySafety: Live trading, or a store of another environment.
            StoreError: The store cannot be used.
        """
        if self._open is not None or self._remote is not None:
            return
        if not self.paper:
            raise RefusedBySafety(
                "Live trading is not part of this version.", remedy="Set PAPER_TRADING=true, or leave it out."
            )
        lock = FileLock(self.home / LOCK_NAME)
        if not lock.try_acquire():
            self._remote = ControlClient(control_path(self.home))
            return
        thread = OwnedThread("order")
        try:
            books = await thread.run(self._open_books)
            control = ControlServer(control_path(self.home), self._commands())
            await control.start()
        except BaseException:
            thread.close()
            lock.release()
            raise
        self._open = _Open(lock, thread, books, control)
        self.board.listen(self._on_quotes)

    async def execute_order(self, order: Mapping[str, object]) -> OrderResult:
        """Execute one order literally and return what became of it.

        Args:
            order: `user_id, symbol, side, order_type, quantity`; optional `price` (rupees: the limit of
                a LIMIT order, the reference of a MARKET order), `product`, `client_order_id`.

        Raises:
            ConfigurationError: The order is malformed; every finding is in the message.
        """
        if self._remote is not None:
            answer = await self._remote.ask("execute_order", dict(order))
            return msgspec.convert(answer, OrderResult, strict=False)
        books = self._here().books
        request = parse_direct(order, books.users, self._instruments)
        direct, sends = await self._here().thread.run(books.direct, request)
        self._dispatch(sends)
        return _result(direct)

    def require_lock(self) -> None:
        """Make sure that this manager keeps the books itself.

        Raises:
            LockHeld: Another process does; the message names it.
        """
        self._here()

    async def take(self, group: str, items: Sequence[Received | Unreadable]) -> None:
        """Take signals from the bus for *group*: one durable transaction, every user's intent in it."""
        opened = self._here()
        if self._pending:
            # Prices that came first go first: what a replay fills must not depend on its speed.
            batch, self._pending = self._pending, []
            self._dispatch(await opened.thread.run(opened.books.quotes, self.board.run, batch))
        sends = await opened.thread.run(opened.books.take, group, items)
        self._dispatch(sends)

    async def after_answer(self, *, idle: bool = False) -> None:
        """Do what is due on the store but must delay no answer; more of it when nothing waits."""
        opened = self._here()
        await opened.thread.run(opened.books.store.after_answer, idle=idle)

    def cursor(self, group: str, engine: str) -> tuple[str, int]:
        """Return (epoch, seq) up to which *group* has taken the signals of *engine*."""
        return self._here().books.cursor(group, engine)

    async def move_cursor(self, group: str, engine: str, epoch: str, seq: int) -> None:
        """Place *group*'s cursor, durably: a new epoch of the stream, or the head for a new group."""
        opened = self._here()
        await opened.thread.run(opened.books.move_cursor, group, engine, epoch, seq)

    @property
    def is_new(self) -> bool:
        """Whether no group has ever listened to a bus with this store."""
        return self._here().books.is_new

    def groups(self) -> list[str]:
        """Return the groups that have users, sorted."""
        return sorted({user.group for user in self._here().books.users.values()})

    async def users(self) -> list[User]:
        """Return all users by number."""
        if self._remote is not None:
            return msgspec.convert(await self._remote.ask("users"), list[User])
        return sorted(self._here().books.users.values(), key=lambda user: user.user_no)

    async def add_user(
        self,
        user_id: str,
        *,
        name: str = "",
        limits: Limits | None = None,
        subscriptions: dict[str, Terms] | None = None,
        profile: str = "",
        group: str = "default",
        broker: str = "paper",
        replace: bool = False,
    ) -> User:
        """Add a user, or with *replace* change one; return them as stored.

        Raises:
            ConfigurationError: The id is taken, or limits or terms are wrong.
        """
        books = self._here().books
        limits = limits or Limits()
        subscriptions = subscriptions or {}
        check_user(user_id, limits, subscriptions)
        if broker not in {*known_venues(), *(self._venues or {}), *self._remotes}:
            raise ConfigurationError(
                f"There is no broker {broker!r}.", remedy=f"Known: {', '.join(known_venues())}."
            )
        known = books.users.get(user_id)
        if known is not None and not replace:
            raise ConfigurationError(f"There is a user {user_id!r} already.", remedy="Choose another id.")
        user = User(
            user_no=known.user_no if known else 0,
            user_id=user_id,
            name=name,
            group=group,
            broker=broker,
            profile=profile,
            limits=limits,
            subscriptions=subscriptions,
        )
        return await self._here().thread.run(books.save_user, user)

    async def close(self) -> None:
        """Finish what is queued, close the books, free the lock; harmless when repeated."""
        opened, self._open = self._open, None
        self._remote = None
        if opened is None:
            return
        await opened.control.close()
        # Answers under way are booked; what failed was logged, and must not keep the lock.
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await opened.thread.run(opened.books.store.close)
        opened.thread.close()
        opened.lock.release()

    async def __aenter__(self) -> OrderManager:
        await self.initialize()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # -- inside ----------------------------------------------------------------------------------

    def _here(self) -> _Open:
        if self._open is None:
            if self._remote is not None:
                holder = FileLock(self.home / LOCK_NAME).holder()
                who = f"pid {holder.pid} ({holder.command})" if holder else "another process"
                raise LockHeld(
                    f"The books in {self.home} are kept by {who}.",
                    remedy="Stop it, or use another state folder (TRADING_HOME).",
                )
            raise ConfigurationError(
                "The order manager is not open.", remedy="Call `await initialize()` first."
            )
        return self._open

    def _open_books(self) -> Bookkeeper:
        venues = self._venues or {"paper": store_venue("paper", self.settings.paper_profile)}
        books = Bookkeeper(
            SqliteOrderStore(self.home, "paper"),
            instruments=self._instruments,
            calendar=Calendar.load(),
            venues=venues,
            port=self.board,
            clock=self._clock,
        )
        if not books.users:
            for number, demo in enumerate(demo_users(self._demo_strategies), 1):
                books.save_user(User(user_no=number, **demo))
        return books

    def _commands(self) -> dict[str, Callable[[dict[str, Any]], Any]]:
        async def execute(arguments: dict[str, Any]) -> object:
            return msgspec.to_builtins(await self.execute_order(arguments))

        async def users(_: dict[str, Any]) -> object:
            return msgspec.to_builtins(await self.users())

        async def ping(_: dict[str, Any]) -> object:
            return "pong"

        return {"execute_order": execute, "users": users, "ping": ping}

    def _on_quotes(self, batch: list[Quote]) -> None:
        """Queue prices that an order waits for; runs in the writer's turn of the event loop."""
        opened = self._open
        if opened is None or not opened.books.desk.at_work:
            return
        run, at_work = self.board.run, opened.books.desk.at_work
        self._pending.extend(quote for quote in batch if (run, quote.symbol) in at_work)
        if self._pending and not self._matching:
            self._matching = True
            self._keep(asyncio.get_running_loop().create_task(self._match(opened, run)))

    async def _match(self, opened: _Open, run: str) -> None:
        try:
            while self._pending:
                batch, self._pending = self._pending, []
                self._dispatch(await opened.thread.run(opened.books.quotes, run, batch))
        finally:
            self._matching = False

    def _dispatch(self, sends: Sequence[Order]) -> None:
        """Start the one send of each claimed order; its claim is durable by now."""
        for order in sends:
            self._keep(asyncio.get_running_loop().create_task(self._send(self._here(), order)))

    async def _send(self, opened: _Open, order: Order) -> None:
        outcome = await self._remotes[order.user.broker].place(order.tag, order.terms(0))
        await opened.thread.run(opened.books.answer, order, outcome)

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("order task failed", error=repr(task.exception()))


def _result(direct: Direct) -> OrderResult:
    average = rupees(direct.value_paise) / direct.filled if direct.filled else Decimal(0)
    message = direct.rule or (
        "filled on paper" if direct.state is OrderState.FILLED else direct.state.value.lower()
    )
    if direct.repeated:
        message += " (repeated request: nothing new was sent)"
    return OrderResult(
        order_id=direct.tag,
        status=direct.state,
        filled_quantity=direct.filled,
        average_price=average,
        message=message,
    )
