"""What a plan connects to: a market to read, and for each user an account to trade."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from app.accounts import Listening
from app.embedded import EmbeddedSandbox, Options, ask_market
from app.plan import BROKER, OWNER, Data, Plan, Venue, is_loopback, stored_accounts, unreadable
from broker.account import BrokerAccount, BrokerConnection
from broker.base import RemoteVenue
from broker.registry import connection
from order.lanes import Dialer
from order.reading import Reader
from order.schema import FILE_NAME
from order.users import User, demo_users
from shared.clock import SystemClock
from shared.errors import ConfigurationError, LoginRefused, StoreError, VenueUnavailable
from shared.feed import LiveMarket
from shared.instruments import Instruments
from shared.settings import Settings

OPEN_WAIT_S = 3.0
"""A start waits so long for its accounts to log in, side by side; who takes longer is OFF until then."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Connections:
    """What is open.

    Attributes:
        market: Live prices; None where the plan is a replay, data was not asked for, or no account has a
            session.
        remotes: The account of each user that has one; empty on paper.
        market_now_us: Market time at the start; 0 for the wall's.
        run: The market that accounts and prices are of; empty where there are none.
        dialer: Opens and ends accounts while the system runs; None on paper.
        notes: Which accounts have no session yet, and why.
        off: Whose these are.
        look: Returns live prices once an account has a session; None where they cannot come.
    """

    market: LiveMarket | None = None
    remotes: dict[str, RemoteVenue] = field(default_factory=dict)
    market_now_us: int = 0
    run: str = ""
    dialer: Dialer | None = None
    notes: list[str] = field(default_factory=list)
    off: frozenset[str] = frozenset()
    look: Callable[[], Awaitable[LiveMarket | None]] | None = None


@contextlib.asynccontextmanager
async def open_connections(
    plan: Plan,
    settings: Settings,
    speed: float,
    *,
    data: bool = True,
    orders: bool = True,
    group: str | None = None,
    codes: Mapping[str, str] | None = None,
) -> AsyncIterator[Connections]:
    """Log in wherever the plan says; close all of it at the end.

    An account that cannot log in holds up nobody else: it is told, and stays OFF. The market is read with the
    data account, or with the next one that has a session; where orders are wanted and there is none, they are
    opened all the same: exits need no price of ours.

    Args:
        plan: What the run is.
        settings: As read.
        speed: Market seconds per wall second of a sandbox of our own.
        data: The market is wanted.
        orders: The accounts are wanted, where the plan trades.
        group: Of its users only; None: of all.
        codes: One-time codes that were typed, by user.

    Raises:
        LoginRefused: No orders are wanted, and the broker says no to every account.
        VenueUnavailable: The same, and it cannot be reached; or the sandbox does not start.
    """
    orders = orders and plan.orders is not Venue.PAPER
    if plan.data is Data.REPLAY or not (data or orders):
        yield Connections()
        return
    async with contextlib.AsyncExitStack() as stack:
        lines = _Lines(stack, settings, codes or {}, plan)
        if plan.account is None:
            accounts = await lines.embed(speed)
        elif plan.listening is not None:
            accounts = lines.listen(plan.listening)
        else:
            accounts = users_accounts(plan, settings, group) if orders else []
        first = plan.account if plan.account is not None and plan.listening is None else accounts[0]
        run, label, now_us = "live", "Angel One", 0
        if is_loopback(first.base_url):
            found = await ask_market(first.base_url)
            run, label, now_us = found.market, found.label or found.market, found.market_time_us
        if orders and plan.listening is None and plan.account is not None:
            lines.notes += [f"{user_id}: {error}" for user_id, error in unreadable(settings).items()]
        if data:
            lines.sources = list(dict.fromkeys([first, *(accounts if orders else plan.users)]))
        remotes = await lines.venues(accounts, *lines.sources[:1]) if orders else {}
        market = None
        if data:
            market = await (lines.look(run, label) if orders else lines.first(run, label))
        yield Connections(
            market, remotes, now_us, run, lines if orders else None, lines.notes, frozenset(lines.off),
            (lambda: lines.look(run, label)) if data and orders else None,
        )  # fmt: skip


class _Lines:
    """Connections that are opened one by one, each account's once, and closed with *stack*."""

    def __init__(
        self, stack: contextlib.AsyncExitStack, settings: Settings, codes: Mapping[str, str], plan: Plan
    ) -> None:
        self.notes: list[str] = []
        self.off: set[str] = set()
        self.sources: list[BrokerAccount] = []
        self.data: BrokerConnection | None = None
        self._stack = stack
        self._settings = settings
        self._codes = codes
        self._plan = plan
        self._listening: Listening | None = None
        self._opened: dict[BrokerAccount, BrokerConnection] = {}
        self._used: dict[str, tuple[BrokerAccount, BrokerConnection]] = {}
        self._behind: dict[RemoteVenue, BrokerConnection] = {}

    async def embed(self, speed: float) -> list[BrokerAccount]:
        """Start a sandbox of our own; return the accounts of the users."""
        settings = self._settings
        quantity = settings.angel_one_modify_quantity
        sandbox = EmbeddedSandbox(
            Options(settings.home, settings.sim_seed, speed, user_ids(settings), quantity)
        )
        self._stack.push_async_callback(sandbox.close)
        await sandbox.start()
        self._listening = sandbox.listening
        return sandbox.accounts

    def listen(self, listening: Listening) -> list[BrokerAccount]:
        """Use a sandbox that somebody else runs; return the accounts of the users."""
        self._listening = listening
        return listening.of(user_ids(self._settings), self._settings.angel_one_modify_quantity)

    async def open(self, account: BrokerAccount) -> BrokerConnection:
        """Return the account's connection with a session.

        Raises:
            LoginRefused, VenueUnavailable: There is none to be had; the connection stays, without one.
        """
        made = self._opened.get(account)
        if made is None:
            made = self._opened[account] = connection(
                BROKER,
                account,
                home=self._settings.home,
                clock=SystemClock(),
                instruments=Instruments.load(),
                key=self._settings.secrets_key,
            )
            self._stack.push_async_callback(made.close)
            await made.open(self._codes.get(account.user_id, ""))
        return made

    async def first(self, run: str, label: str) -> LiveMarket:
        """Return the market as the first account reads it that the broker lets in.

        Raises:
            LoginRefused, VenueUnavailable: There is none; as the first one was told.
        """
        failed: LoginRefused | VenueUnavailable | None = None
        for account in self.sources:
            try:
                return self._market(await self.open(account), run, label)
            except (LoginRefused, VenueUnavailable) as error:
                failed = failed or error
        assert failed is not None, "there is a data account"
        raise failed

    async def look(self, run: str, label: str) -> LiveMarket | None:
        """Return the market as the first account reads it that has a session; None where none has."""
        for account, made in self._readers():
            if not made.good and account.user_id not in self._used:
                # Nobody else asks for its session.
                with contextlib.suppress(LoginRefused, VenueUnavailable, TimeoutError):
                    async with asyncio.timeout(OPEN_WAIT_S):
                        await made.open()
            if made.good:
                return self._market(made, run, label)
        return None

    def _readers(self) -> Iterator[tuple[BrokerAccount, BrokerConnection]]:
        """Yield the accounts that the market may be read with, in their order, as they are connected now."""
        used = dict(self._used)
        for account in self.sources:
            made = used.pop(account.user_id, None)
            if made is not None and made[0].client_code == account.client_code:
                yield made
            elif account in self._opened:
                yield account, self._opened[account]
        yield from used.values()

    def _market(self, made: BrokerConnection, run: str, label: str) -> LiveMarket:
        self.data = made
        market = made.market(run, label)
        self._stack.push_async_callback(market.close)
        return market

    async def venues(self, accounts: Sequence[BrokerAccount], *more: BrokerAccount) -> dict[str, RemoteVenue]:
        """Return the accounts' orders by user; one whose broker does not answer holds up no other.

        Args:
            accounts: Whose.
            more: Accounts that are opened with them and have no orders here.
        """
        opening = {asyncio.create_task(self._try(each)): each for each in dict.fromkeys([*accounts, *more])}
        if opening:
            done, late = await asyncio.wait(opening, timeout=OPEN_WAIT_S)
            for task in done:
                task.result()
            for task in late:
                user_id = opening[task].user_id
                self.off.add(user_id)
                self.notes.append(f"{user_id}: no session yet, the broker does not answer; it is tried on.")
                self._stack.push_async_callback(_ended, task)
        return {each.user_id: self._venue(each) for each in accounts}

    async def _try(self, account: BrokerAccount) -> None:
        """Open an account; that it has no session is told, and is no reason to stop."""
        try:
            await self.open(account)
        except (LoginRefused, VenueUnavailable) as error:
            self.notes.append(f"{account.user_id}: {error}")
            self.off.add(account.user_id)
            log.warning("an account has no session", user=account.user_id, why=error.what)

    def _venue(self, account: BrokerAccount) -> RemoteVenue:
        made = self._opened[account]
        venue = made.venue(live_orders=self._plan.orders is Venue.LIVE)
        self._used[account.user_id] = account, made
        self._behind[venue] = made
        self._stack.push_async_callback(venue.close)
        return venue

    async def dial(self, user_id: str) -> RemoteVenue | None:
        """See `order.lanes.Dialer`."""
        if self._listening is None:
            accounts: Sequence[BrokerAccount] = stored_accounts(self._settings, user_id) or self._plan.users
        else:
            quantity = self._settings.angel_one_modify_quantity
            accounts = self._listening.of(user_ids(self._settings), quantity)
        for account in accounts:
            if account.user_id == user_id:
                await self._try(account)
                return self._venue(account)
        return None

    def why(self, user_id: str) -> str:
        """See `order.lanes.Dialer`."""
        if self._listening is not None:
            return "the sandbox has no account left"
        found = unreadable(self._settings).get(user_id)
        return "" if found is None else found.what

    async def redial(self, user_id: str) -> RemoteVenue | None:
        """See `order.lanes.Dialer`."""
        found = stored_accounts(self._settings, user_id) if self._listening is None else ()
        if not found or user_id not in self._used:
            return None
        (account,) = found
        before, old = self._used[user_id]
        if account.client_code.reveal().upper() != before.client_code.reveal().upper():
            raise ConfigurationError(
                f"The credentials of {user_id} are another account's than the one that is connected.",
                remedy="They count from the next start of `trading run`; close what is open there before.",
            )
        made = self._opened[account] = await old.renewed(account)
        self._stack.push_async_callback(made.close)
        return self._venue(account)

    async def hang_up(self, venue: RemoteVenue) -> None:
        """See `order.lanes.Dialer`; a session that also reads the market goes on until the end."""
        await venue.close()
        made = self._behind.pop(venue)
        if made is not self.data:
            # Who comes back to the same account logs in anew.
            self._opened = {account: each for account, each in self._opened.items() if each is not made}
            self._used = {user_id: each for user_id, each in self._used.items() if each[1] is not made}
            await made.end()


async def _ended(task: asyncio.Task[None]) -> None:
    """Cancel *task* and wait for its end."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def users_accounts(plan: Plan, settings: Settings, group: str | None) -> list[BrokerAccount]:
    """Return which accounts of *plan* are connected: of users who trade there, and the environment's.

    In a rehearsal that one serves the first demo user, who is not there before the first start; a live run
    makes no users.
    """
    users = {user.user_id: user for user in _stored_users(settings)}
    found = []
    for account in plan.users:
        user = users.get(account.user_id)
        if user is None:
            if account.user_id == OWNER and plan.orders is not Venue.LIVE:
                found.append(account)
        elif user.broker == BROKER and group in (None, user.group):
            found.append(account)
    return found


def user_ids(settings: Settings) -> Sequence[str]:
    """Return who gets an account of a sandbox of our own: all stored users, or the demo's before any."""
    stored = [user.user_id for user in _stored_users(settings)]
    return stored or [str(demo["user_id"]) for demo in demo_users([])]


def _stored_users(settings: Settings) -> list[User]:
    if settings.postgres_url is None and not (settings.home / FILE_NAME).exists():
        return []
    try:
        with contextlib.closing(Reader(settings.home, settings.postgres_url)) as reader:
            return list(reader.users())
    except StoreError:
        if settings.postgres_url is None:
            raise
        return []  # a new database has no tables; what else is wrong with it shows when it is opened
