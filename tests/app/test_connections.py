from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable
from dataclasses import replace
from pathlib import Path

import pytest

from app import connections
from app.connections import _Lines, user_ids, users_accounts
from app.plan import Data as MarketData
from app.plan import Plan, Venue
from broker.account import BrokerAccount
from order.manager import OrderManager
from shared.errors import LoginRefused
from shared.secret import Secret
from shared.settings import Settings
from tests.order.venue import ScriptedVenue


def account(user_id: str) -> BrokerAccount:
    return BrokerAccount(user_id, Secret("key"), Secret(user_id), Secret("pin"), Secret("totp"))


def plan_of(*users: str) -> Plan:
    return Plan(Venue.SANDBOX, MarketData.SANDBOX, account("data account"), tuple(map(account, users)))


async def test_accounts_are_of_users_who_trade_there_and_of_the_group_that_is_served(tmp_path: Path) -> None:
    settings = Settings.load(env_file=None, home=tmp_path, paper_trading=False)
    everybody = plan_of("asha", "bharat", "chitra", "nobody")

    def whose(plan: Plan, group: str | None) -> list[str]:
        return [each.user_id for each in users_accounts(plan, settings, group)]

    assert (whose(everybody, None), next(iter(user_ids(settings)))) == ([], "user_001")
    assert whose(plan_of("user_001"), None) == ["user_001"], "before there are users the environment's owner"
    manager = OrderManager(False, environment="sandbox", settings=settings, demo_strategies=None)
    async with manager:
        await manager.add_user("asha", broker="angel_one")
        await manager.add_user("bharat", broker="paper")
        await manager.add_user("chitra", broker="angel_one", group="family")
        await manager.add_user("user_001", broker="shadow")
    assert whose(everybody, None) == ["asha", "chitra"]
    assert whose(everybody, "family") == ["chitra"]
    assert whose(plan_of("user_001", "asha"), None) == ["asha"]
    assert list(user_ids(settings)) == ["asha", "bharat", "chitra", "user_001"]


async def test_live_account_is_connected_for_who_is_live_alone(tmp_path: Path) -> None:
    settings = Settings.load(env_file=None, home=tmp_path, paper_trading=False)
    everybody = replace(plan_of("user_001", "asha", "bala"), orders=Venue.LIVE)
    assert users_accounts(everybody, settings, None) == [], "no user is made up"
    async with OrderManager(False, environment="live", settings=settings) as manager:
        for name, broker in (("asha", "angel_one"), ("bala", "paper"), ("user_001", "shadow")):
            await manager.add_user(name, broker=broker)
    assert [each.user_id for each in users_accounts(everybody, settings, None)] == ["asha"]


async def test_account_whose_broker_does_not_answer_holds_up_no_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "OPEN_WAIT_S", 0.2)
    asked = asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await reader.read()
        writer.close()

    settings = Settings.load(env_file=None, home=tmp_path, paper_trading=False)
    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    silent = [replace(account(user), base_url=f"http://127.0.0.1:{port}") for user in ("asha", "bharat")]
    # A secret that is none is told at once, also where others keep silent.
    wrong = replace(silent[0], user_id="chitra", client_code=Secret("C1"), totp_secret=Secret("no secret!"))
    silent = [replace(each, totp_secret=Secret("JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP")) for each in silent]
    async with asyncio.timeout(5), contextlib.AsyncExitStack() as stack:
        lines = _Lines(stack, settings, {}, plan_of())
        found = await lines.venues([*silent, wrong])
        assert asked.is_set()
        assert sorted(found) == ["asha", "bharat", "chitra"]
    told = [(note.split(":")[0], "does not answer" in note) for note in lines.notes]
    assert sorted(told) == [("asha", True), ("bharat", True), ("chitra", False)]
    server.close()


class Line:
    """A connection whose broker lets it in, or does not."""

    def __init__(self, account: BrokerAccount, refused: set[str]) -> None:
        self.account = account
        self.refused = refused
        self.good = False

    async def open(self, code: str = "") -> None:
        if f"{self.account.user_id} is silent" in self.refused:
            await asyncio.Event().wait()
        self.good = self.account.user_id not in self.refused
        if not self.good:
            raise LoginRefused(f"The one-time code of {self.account.user_id} is needed.")

    def market(self, run: str, label: str) -> Market:
        return Market(self.account.user_id)

    def venue(self, *, live_orders: bool = False) -> ScriptedVenue:
        venue = ScriptedVenue()
        venue.local = not live_orders
        return venue

    async def end(self) -> None:
        self.good = False

    async def close(self) -> None:
        return None


class Market:
    """The market as one account reads it."""

    def __init__(self, reader: str) -> None:
        self.reader = reader

    async def close(self) -> None:
        return None


def refuse(monkeypatch: pytest.MonkeyPatch, *users: str) -> set[str]:
    refused = set(users)
    monkeypatch.setattr(connections, "connection", lambda _, account, **__: Line(account, refused))
    return refused


def live_plan(orders: Venue, *users: str) -> Plan:
    return replace(plan_of(*users), orders=orders, data=MarketData.LIVE)


async def reader(found: Awaitable[object] | object) -> str:
    market = await found if isinstance(found, Awaitable) else found
    return market.reader if isinstance(market, Market) else "nobody"


@pytest.mark.parametrize(
    ("refused", "read_by"),
    [((), "data account"), (("data account",), "asha"), (("data account", "asha"), "bharat")],
)
async def test_market_is_read_with_the_next_account_that_has_a_session(
    refused: tuple[str, ...], read_by: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(monkeypatch, *refused)
    settings = Settings.load(env_file=None, home=tmp_path)
    monkeypatch.setattr(connections, "users_accounts", lambda plan, *_: list(plan.users))
    for orders in (Venue.PAPER, Venue.SANDBOX):
        plan = live_plan(orders, "asha", "bharat")
        async with connections.open_connections(plan, settings, 1.0) as lines:
            assert (await reader(lines.market), bool(lines.remotes)) == (read_by, orders is Venue.SANDBOX)


@pytest.mark.parametrize("orders", [Venue.SANDBOX, Venue.LIVE])
async def test_live_plan_alone_asks_for_live_orders_and_who_comes_back_logs_in_anew(
    orders: Venue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(monkeypatch)
    settings = Settings.load(env_file=None, home=tmp_path)
    monkeypatch.setattr(connections, "users_accounts", lambda plan, *_: list(plan.users))
    async with connections.open_connections(live_plan(orders, "asha"), settings, 1.0) as lines:
        dialer = lines.dialer
        assert isinstance(dialer, _Lines)
        first = lines.remotes["asha"]
        account, ended = next(each for each in dialer._opened.items() if each[0].user_id == "asha")
        await dialer.hang_up(first)
        again = await dialer.dial("asha")
        assert again is not None
        assert [each.local for each in (first, again)] == [orders is Venue.SANDBOX] * 2
        assert (ended.good, dialer._opened[account].good) == (False, True)


async def test_without_any_session_orders_are_opened_and_the_market_comes_with_the_first_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = refuse(monkeypatch, "data account", "asha")
    settings = Settings.load(env_file=None, home=tmp_path)
    monkeypatch.setattr(connections, "users_accounts", lambda plan, *_: list(plan.users))
    plan = live_plan(Venue.SANDBOX, "asha")
    async with connections.open_connections(plan, settings, 1.0) as lines:
        assert (lines.market, list(lines.remotes), sorted(lines.off)) == (
            None, ["asha"], ["asha", "data account"]
        )  # fmt: skip
        assert lines.look is not None
        assert await reader(lines.look()) == "nobody"
        refused.discard("data account")
        assert await reader(lines.look()) == "data account"
    refused |= {"data account"}
    with pytest.raises(LoginRefused, match="code of data account is needed"):
        async with connections.open_connections(replace(plan, orders=Venue.PAPER), settings, 1.0):
            pass


async def test_data_account_whose_broker_keeps_silent_stops_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "OPEN_WAIT_S", 0.05)
    refused = refuse(monkeypatch, "data account is silent", "asha")
    settings = Settings.load(env_file=None, home=tmp_path)
    monkeypatch.setattr(connections, "users_accounts", lambda plan, *_: list(plan.users))
    async with connections.open_connections(live_plan(Venue.LIVE, "asha"), settings, 1.0) as lines:
        assert (lines.market, lines.look is None) == (None, False)
        assert lines.look is not None
        assert await reader(lines.look()) == "nobody"
        refused.discard("data account is silent")
        assert await reader(lines.look()) == "data account"
