from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from pathlib import Path

import pytest

from app import connections
from app.connections import _Lines, user_ids, users_accounts
from app.plan import Data as MarketData
from app.plan import Plan, Venue
from broker.account import BrokerAccount
from order.manager import OrderManager
from shared.secret import Secret
from shared.settings import Settings


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
        lines = _Lines(stack, settings, {})
        found = await lines.venues([*silent, wrong])
        assert asked.is_set()
        assert sorted(found) == ["asha", "bharat", "chitra"]
    told = [(note.split(":")[0], "does not answer" in note) for note in lines.notes]
    assert sorted(told) == [("asha", True), ("bharat", True), ("chitra", False)]
    server.close()
