"""The order side of a rehearsal that is measured, its own process: `python -m app.bench.account_side HOME`.

Standard input says in one line who is connected (`Cast`). It takes signals and quotes off the bus as
`trading subscriber` does, and notes when each order left and when its answer came. On SIGTERM it prints its
notes as JSON and ends at once, as a kill does: what is at the sandbox stays there.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, cast

import msgspec

from app.bench.order_side import BARE
from app.bench.scene import STRATEGY
from broker.account import BrokerAccount
from broker.base import OrderTerms, PlaceOutcome, RemoteVenue, Slot
from broker.registry import connection
from order.account_state import AccountState
from order.manager import OrderManager
from order.subscriber import SignalSubscriber
from order.users import Terms
from shared.bus.client import Bus
from shared.clock import SystemClock
from shared.errors import ConfigurationError
from shared.instruments import Instruments
from shared.quotes import QuoteBoard
from shared.secret import Secret
from shared.settings import Settings

ARM_TRIES = 10


class Login(msgspec.Struct, frozen=True):
    """One account, in the clear: a sandbox's credentials are worth nothing elsewhere."""

    api_key: str
    client_code: str
    pin: str
    totp_secret: str
    base_url: str
    feed_url: str
    order_feed_url: str

    def account(self, user_id: str) -> BrokerAccount:
        """Return it as *user_id*'s."""
        return BrokerAccount(
            user_id, Secret(self.api_key), Secret(self.client_code), Secret(self.pin),
            Secret(self.totp_secret), self.base_url, self.feed_url, self.order_feed_url,
        )  # fmt: skip


class Cast(msgspec.Struct, frozen=True):
    """Who takes part: accounts in the order of their users, on the market *run*."""

    run: str
    accounts: list[Login]


class Sent(msgspec.Struct, array_like=True):
    """One order that went out.

    Attributes:
        user: Number of the account, from 0.
        entry: Whether it opens or adds.
        left_ns, answered_ns: Of the machine's monotonic clock; 0: no answer yet.
    """

    user: int
    symbol: str
    entry: bool
    left_ns: int
    answered_ns: int = 0
    answer: str = ""


class _Noted:
    """A venue whose sends are noted."""

    def __init__(self, venue: RemoteVenue, user: int, sent: list[Sent]) -> None:
        self._venue = venue
        self._user = user
        self._sent = sent

    def __getattr__(self, name: str) -> Any:
        return getattr(self._venue, name)

    async def place(self, tag: str, terms: OrderTerms, slot: Slot | None = None) -> PlaceOutcome:
        note = Sent(self._user, terms.symbol, terms.entry, time.monotonic_ns())
        self._sent.append(note)
        outcome = await self._venue.place(tag, terms, slot)
        note.answered_ns, note.answer = time.monotonic_ns(), type(outcome).__name__
        return outcome


async def main(home: Path, cast_of: Cast) -> list[Sent]:
    """Take signals for the accounts until told to stop; return what was noted."""
    settings = Settings.load(env_file=None, home=home, paper_trading=False)
    sent: list[Sent] = []
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    remotes: dict[str, RemoteVenue] = {}
    instruments = Instruments.load()
    for number, login in enumerate(cast_of.accounts):
        account = login.account(f"bench_{number:05d}")
        line = connection("angel_one", account, home=home, clock=SystemClock(), instruments=instruments)
        await line.open()
        remotes[account.user_id] = cast(RemoteVenue, _Noted(line.venue(), number, sent))
    manager = OrderManager(
        paper_trading=False, environment="sandbox", settings=settings, quotes=QuoteBoard(cast_of.run),
        remotes=remotes, demo_strategies=None,
    )  # fmt: skip
    await manager.initialize()
    for user_id in remotes:
        await manager.add_user(user_id, limits=BARE, subscriptions={STRATEGY: Terms()}, broker="angel_one")
    await _arm(manager)
    bus = await Bus.open(home, settings.redis_url)
    subscriber = SignalSubscriber(settings=settings, bus=bus)
    await subscriber.initialize(manager)
    await subscriber.start_listening()
    await subscriber.ready.wait()
    print("ready", flush=True)
    await stop.wait()
    return sent


async def _arm(manager: OrderManager) -> None:
    states: list[AccountState] = []
    for _ in range(ARM_TRIES):
        states = await manager.arm()
        if all(state.armed for state in states):
            return
    raise ConfigurationError(f"Not armed: {[state.notes for state in states if not state.armed][:3]}.")


async def _run(home: Path, cast_of: Cast) -> None:
    sent = await main(home, cast_of)
    print(msgspec.json.encode(sent).decode(), flush=True)
    os._exit(0)


if __name__ == "__main__":
    import uvloop

    uvloop.run(_run(Path(sys.argv[1]), msgspec.json.decode(sys.stdin.buffer.readline(), type=Cast)))
