"""The front door of the order side: takes signals and direct orders, answers what became of them.

`initialize()` takes the order lock and serves the control socket. Where another process has the lock,
this manager sends its commands there instead, so that a script works beside a running system.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import msgspec
import structlog

from broker.base import RemoteVenue, StoreVenue
from broker.registry import store_venues
from order.account_door import ARM_TIMEOUT_S, AccountDoor
from order.bookkeeper import Bookkeeper, Unreadable
from order.control import ControlClient, ControlServer
from order.desk import Received
from order.direct_orders import DirectOrders
from order.lanes import Dialer, Lanes
from order.morning import Rules
from order.orders import Order
from order.place import Place
from order.policy import policy_of
from order.review import Case, Verdict
from order.stores import DEFAULT_GROUP
from order.switch_door import SwitchDoor
from order.switches import LATCH_FILE, TurnRequest
from order.user_change import UserChange
from order.user_door import UserDoor
from order.users import User, demo_users
from order.watch import Watch
from shared.calendar import Calendar
from shared.clock import Clock, SystemClock
from shared.errors import ConfigurationError, LockHeld, RefusedBySafety, StoreError
from shared.instruments import Instruments
from shared.models import Quote
from shared.quotes import QuoteBoard
from shared.settings import Settings
from shared.store.lock import FileLock
from shared.store.thread import OwnedThread
from shared.version import software

T = TypeVar("T")
log = structlog.get_logger(__name__)

DEMO_STRATEGIES = ("ma_crossover",)
LIVE = "live"
LIVE_ONLY = frozenset(
    {"execute_order", "modify_order", "protect", "add_user", "change_user", "settle", "resume"}
)
"""Asked of live books, these may come to real orders: a script that means paper or a rehearsal may not."""


@dataclass(slots=True)
class _Open:
    """What exists between `initialize` and `close` of the lock's holder."""

    lock: FileLock
    thread: OwnedThread
    books: Bookkeeper
    control: ControlServer
    lanes: Lanes
    watch: asyncio.Task[None]


class OrderManager(DirectOrders, SwitchDoor, UserDoor, AccountDoor):
    """Sizes, checks, sends and books orders, on paper or at a broker.

    Args:
        paper_trading: Consent of the caller; live needs this and the environment's, the safer one wins.
        settings: Read from the environment where not given.
        clock: The machine's where not given.
        quotes: Prices of the engine or a feed; without them orders fill from their own price.
        venues: Venues by name, in place of the registry's.
        environment: What the store is marked with: `paper`, `sandbox` for a rehearsal of live trading,
            `live`, or `proof`.
        remotes: The account at a broker of each user that has one, by user id.
        dialer: Opens accounts of users who come later, or whose credentials change; None: nobody does.
        group: The user group to serve where the books are on PostgreSQL; `default` where None.
        demo_strategies: What the three demo users of a first start subscribe to; None: it makes none. Live
            books never have any.
    """

    def __init__(
        self,
        paper_trading: bool = True,
        *,
        environment: str = "paper",
        settings: Settings | None = None,
        clock: Clock | None = None,
        quotes: QuoteBoard | None = None,
        venues: Mapping[str, StoreVenue] | None = None,
        remotes: Mapping[str, RemoteVenue] | None = None,
        dialer: Dialer | None = None,
        demo_strategies: Sequence[str] | None = DEMO_STRATEGIES,
        group: str | None = None,
    ) -> None:
        self.settings = settings or Settings.load()
        self.place = Place.of(self.settings, group)
        self.paper = paper_trading or self.settings.paper_trading
        self.board = quotes or QuoteBoard()
        self._clock = clock or SystemClock()
        self._venues = venues
        self._environment = environment
        self._remotes = dict(remotes or {})
        self._dialer = dialer
        none = demo_strategies is None or environment == LIVE
        self._demo_strategies = None if none else list(demo_strategies or ())
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
            RefusedBySafety: One of two consents is missing, or an account or the store is not of the kind
                that these books are.
            StoreError: The store cannot be used.
        """
        if self._open is not None or self._remote is not None:
            return
        if not self.paper and self._environment not in ("sandbox", LIVE, "proof"):
            raise RefusedBySafety(
                f"Orders that leave have books of their own, and these are of {self._environment}.",
                remedy='Say environment="sandbox" for a rehearsal or "live", in a folder of its own.',
            )
        if not self.paper and any(each.local is self._live for each in self._remotes.values()):
            raise RefusedBySafety(
                f"An account is {'on this machine' if self._live else 'at a real host'}, and the books are "
                f"{self._environment}.",
                remedy="A rehearsal and real money have a state folder each (TRADING_HOME).",
            )
        if self.paper and (self._environment not in ("paper", "proof") or self._remotes):
            raise RefusedBySafety(
                "Orders would leave this machine although PAPER_TRADING is on.",
                remedy="Both must say so: PAPER_TRADING=false and OrderManager(False, …).",
            )
        lock = self.place.lock()
        if not lock.try_acquire():
            self._remote = ControlClient(self.place.control, live=self._live)
            return
        thread = OwnedThread("order")
        try:
            books = await thread.run(self._open_books)
            live_only = LIVE_ONLY if self._live else ()
            control = ControlServer(self.place.control, self._commands(), live_only)
            await control.start()
        except BaseException:
            thread.close()
            lock.release()
            raise
        rules = Rules(self.settings.deployment_mode, self.settings.address_check_url)
        lanes = Lanes(self._remotes, thread, books, self._dialer, rules)
        watch = Watch(self.board, thread, books, self.settings.feed_silence_s)
        watching = asyncio.create_task(watch.run(), name="watch of prices and store")
        watching.add_done_callback(self._done)
        self._open = _Open(lock, thread, books, control, lanes, watching)
        try:
            for user in books.users.values():
                await lanes.connect(user)
        except LockHeld:
            await self.close()
            raise
        self.board.listen(self._on_quotes)

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
        await opened.thread.run(opened.books.after_answer, idle=idle)

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

    async def cases(self) -> list[Case]:
        """Return the orders that wait for a human, with what is known of them now."""
        if self._remote is not None:
            return msgspec.convert(await self._remote.ask("cases", {}, ARM_TIMEOUT_S), list[Case])
        await self._here().lanes.read()
        return await self._here().thread.run(self._here().books.cases)

    async def settle(self, verdict: Verdict) -> Case:
        """Settle an order that waits for a human as *verdict* says; return how it stands then.

        Raises:
            ConfigurationError: There is no such order, or what is said cannot be true of it.
        """
        if self._remote is not None:
            return msgspec.convert(await self._remote.ask("settle", msgspec.to_builtins(verdict)), Case)
        case, sends = await self._here().thread.run(self._here().books.settle, verdict)
        self._dispatch(sends)
        return case

    async def close(self) -> None:
        """Finish what is queued, close the books, free the lock; harmless when repeated."""
        opened, self._open = self._open, None
        self._remote = None
        if opened is None:
            return
        await opened.control.close()
        opened.watch.cancel()
        await asyncio.wait([opened.watch])
        await opened.lanes.close()
        # Answers under way are booked; what failed was logged, and must not keep the lock.
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with contextlib.suppress(StoreError, LockHeld):  # booked at the next start, or by who took over
            await opened.thread.run(opened.books.close_days, final=True)
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

    @property
    def _live(self) -> bool:
        """Whether the caller has said that the books are live; that PAPER_TRADING is off, is asked before."""
        return self._environment == LIVE and not self.paper

    def _here(self) -> _Open:
        if self._open is None:
            if self._remote is not None:
                raise self.place.held()
            raise ConfigurationError(
                "The order manager is not open.", remedy="Call `await initialize()` first."
            )
        return self._open

    def _open_books(self) -> Bookkeeper:
        venues = self._venues or store_venues(self.settings.paper_profile)
        store = self.place.open(self._environment)
        books = Bookkeeper(
            store,
            instruments=self._instruments,
            calendar=Calendar.load(home=self.home),
            venues=venues,
            port=self.board,
            clock=self._clock,
            policy=policy_of(self.settings, self._environment),
            software=software(),
            latch=(self.home / LATCH_FILE).exists,
        )
        wanted = self._demo_strategies
        if wanted is not None and store.is_empty and self.place.group in (None, DEFAULT_GROUP):
            for demo in demo_users(wanted):
                remote = self._remotes.get(str(demo["user_id"]))
                broker = remote.name if remote is not None else "paper"
                books.save_user(User(user_no=0, broker=broker, **demo))
        return books

    def _commands(self) -> dict[str, Callable[[dict[str, Any]], Awaitable[object]]]:
        async def ping(_: dict[str, Any]) -> object:
            return "here for a moment" if self.for_a_moment else "pong"

        def served(
            command: Callable[[dict[str, Any]], Awaitable[object]],
        ) -> Callable[[dict[str, Any]], Awaitable[object]]:
            async def serve(arguments: dict[str, Any]) -> object:
                return msgspec.to_builtins(await command(arguments))

            return serve

        return {
            "ping": ping,
            "execute_order": served(self.execute_order),
            "cancel_order": served(lambda given: self.cancel_order(str(given.get("order_id")))),
            "modify_order": served(lambda given: self.modify_order(**{"order_id": "", **given})),
            "protect": served(lambda given: self.protect(**{"user_id": "", "symbol": "", **given})),
            "users": served(lambda _: self.users()),
            "add_user": served(lambda given: self._add_user(_user(given["user"]), replace=given["replace"])),
            "change_user": served(lambda given: self.change_user(given["user_id"], _change(given["change"]))),
            "credentials": served(lambda given: self.credentials(**{"user_id": "", **given})),
            "log_in": served(lambda given: self.log_in(str(given.get("user_id")), str(given.get("code")))),
            "look": served(self._look),
            "arm": served(self._arm),
            "disarm": served(self._disarm),
            "accounts": served(lambda _: self.accounts()),
            "cases": served(lambda _: self.cases()),
            "turn": served(lambda given: self.turn(msgspec.convert(given, TurnRequest))),
            "resume": served(lambda given: self.turn(msgspec.convert(given, TurnRequest))),
            "switches": served(lambda _: self.switches()),
            "settle": served(lambda given: self.settle(msgspec.convert(given, Verdict, strict=False))),
        }

    def _on_quotes(self, batch: list[Quote]) -> None:
        """Queue prices that an order waits for; runs in the writer's turn of the event loop."""
        opened = self._open
        if opened is None:
            return
        run, desk = self.board.run, opened.books.desk
        self._pending.extend(quote for quote in batch if desk.wants(run, quote))
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
        """Give queued orders to their accounts."""
        if sends:
            self._here().lanes.dispatch(sends)

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("order task failed", error=repr(task.exception()))


def _user(given: object) -> User:
    return msgspec.convert(given, User, strict=False)


def _change(given: object) -> UserChange:
    return msgspec.convert(given, UserChange, strict=False)
