"""What a plan connects to: a market to read, and for each user an account to trade."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from app.embedded import EmbeddedSandbox, Options, ask_market
from app.plan import Data, Plan, Venue, is_loopback
from broker.base import BrokerAccount, BrokerConnection, RemoteVenue
from broker.registry import connection
from order.reading import Reader
from order.schema import FILE_NAME
from order.users import demo_users
from shared.clock import SystemClock
from shared.errors import StoreError
from shared.feed import LiveMarket
from shared.instruments import Instruments
from shared.settings import Settings

BROKER = "angel_one"


@dataclass(frozen=True, slots=True)
class Connections:
    """What is open.

    Attributes:
        market: Live prices; None where the plan is a replay, or data was not asked for.
        remotes: The account of each user that has one; empty on paper.
        market_now_us: Market time at the start; 0 for the wall's.
        run: The market that accounts and prices are of; empty where there are none.
    """

    market: LiveMarket | None = None
    remotes: dict[str, RemoteVenue] = field(default_factory=dict)
    market_now_us: int = 0
    run: str = ""


@contextlib.asynccontextmanager
async def open_connections(
    plan: Plan, settings: Settings, speed: float, *, data: bool = True, orders: bool = True
) -> AsyncIterator[Connections]:
    """Log in wherever the plan says; close all of it at the end.

    Args:
        plan: What the run is.
        settings: As read.
        speed: Market seconds per wall second of a sandbox of our own.
        data: The market is wanted.
        orders: The accounts are wanted, where the plan trades.

    Raises:
        LoginRefused: The broker says no.
        VenueUnavailable: It cannot be reached, or the sandbox does not start.
    """
    orders = orders and plan.orders is not Venue.PAPER
    if plan.data is Data.REPLAY or not (data or orders):
        yield Connections()
        return
    async with contextlib.AsyncExitStack() as stack:
        if plan.account is None:
            users, quantity = user_ids(settings), settings.angel_one_modify_quantity
            sandbox = EmbeddedSandbox(Options(settings.home, settings.sim_seed, speed, users, quantity))
            stack.push_async_callback(sandbox.close)
            await sandbox.start()
            accounts = sandbox.accounts
        elif plan.listening is not None:
            accounts = plan.listening.of(user_ids(settings), settings.angel_one_modify_quantity)
        else:
            accounts = [plan.account]
        run, label, now_us = "live", "Angel One", 0
        if is_loopback(accounts[0].base_url):
            found = await ask_market(accounts[0].base_url)
            run, label, now_us = found.market, found.label or found.market, found.market_time_us
        opened = [
            await _open(stack, settings, account) for account in (accounts if orders else accounts[:1])
        ]
        market = opened[0].market(run, label) if data else None
        if market is not None:
            stack.push_async_callback(market.close)
        remotes: dict[str, RemoteVenue] = {}
        if orders:
            for account, each in zip(accounts, opened, strict=True):
                remotes[account.user_id] = each.venue()
                stack.push_async_callback(remotes[account.user_id].close)
        yield Connections(market, remotes, now_us, run)


def user_ids(settings: Settings) -> Sequence[str]:
    """Return who gets an account of a sandbox of our own: all stored users, or the demo's before any."""
    if settings.postgres_url is not None or (settings.home / FILE_NAME).exists():
        try:
            with contextlib.closing(Reader(settings.home, settings.postgres_url)) as reader:
                stored = [user.user_id for user in reader.users()]
        except StoreError:
            if settings.postgres_url is None:
                raise
            stored = []  # a new database has no tables; what else is wrong with it shows when it is opened
        if stored:
            return stored
    return [str(demo["user_id"]) for demo in demo_users([])]


async def _open(
    stack: contextlib.AsyncExitStack, settings: Settings, account: BrokerAccount
) -> BrokerConnection:
    made = connection(
        BROKER,
        account,
        home=settings.home,
        clock=SystemClock(),
        instruments=Instruments.load(),
        key=settings.secrets_key,
    )
    stack.push_async_callback(made.close)
    await made.open()
    return made
