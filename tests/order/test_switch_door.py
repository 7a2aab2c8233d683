"""KILL through the front door, beside a running system, in a storm."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from pathlib import Path

from order.manager import OrderManager
from order.place import Place
from order.switches import LATCH_FILE, Level, TurnRequest
from order.users import Limits
from shared.settings import Settings

WIDE = Limits(
    capital_inr=Decimal(10**9), max_order_inr=Decimal(10**8), max_gross=Decimal(100), max_positions=10_000,
    max_entries_day=10**6, max_entries_symbol_day=10**6, max_orders_second=10**6, max_orders_minute=10**6,
)  # fmt: skip
ORDER = {"symbol": "RELIANCE", "side": "BUY", "order_type": "MARKET", "quantity": 1, "price": 2500.0}
KILL = TurnRequest(Level.KILL, why="a test")
PRODUCERS, ENOUGH = 8, 100
SECOND_US = 1_000_000


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110 - counts know no event
            await asyncio.sleep(0.005)


async def test_no_entry_is_sent_after_kill_has_returned_in_a_storm(tmp_path: Path) -> None:
    settings = Settings.load(env_file=None, home=tmp_path, paper_profile="instant")
    async with OrderManager(settings=settings) as manager:
        users = [f"u{number}" for number in range(PRODUCERS)]
        for user in users:
            await manager.add_user(user, limits=WIDE)
        stop, statuses = asyncio.Event(), Counter[str]()

        async def storm(user: str) -> None:
            while not stop.is_set():
                statuses[(await manager.execute_order({"user_id": user, **ORDER})).status] += 1

        tasks = [asyncio.create_task(storm(user)) for user in users]
        await until(lambda: statuses["FILLED"] > ENOUGH)
        asked = time.time_ns() // 1000
        async with OrderManager(settings=settings) as other:
            assert not other.holds_lock
            views = await other.turn(KILL)
            returned = time.time_ns() // 1000
        await until(lambda: statuses["REFUSED"] > ENOUGH)
        stop.set()
        await asyncio.gather(*tasks)
        assert [str(view) for view in views] == ["KILL of the house until resumed: a test"]
        assert (tmp_path / LATCH_FILE).exists()
    with closing(Place(tmp_path).reader()) as reader:
        query = "SELECT max(updated_us) FROM orders WHERE state = ?"
        ((last,),) = reader.database.connection.execute(query, ("FILLED",))
    assert last <= returned, f"{(last - asked) / 1000:.1f} ms after it was asked for"
    assert returned - asked < SECOND_US


async def test_resume_takes_the_latch_file_away_and_entries_go_on(tmp_path: Path) -> None:
    settings = Settings.load(env_file=None, home=tmp_path, paper_profile="instant")
    async with OrderManager(settings=settings) as manager:
        await manager.turn(KILL)
        order = {"user_id": "user_001", **ORDER}
        assert (await manager.execute_order(order)).message.startswith("killed: ")
        assert [str(view) for view in await manager.switches()] == ["KILL of the house until resumed: a test"]
    async with OrderManager(settings=settings) as manager:
        assert (await manager.execute_order(order)).status == "REFUSED"
        assert await manager.turn(TurnRequest(Level.OFF)) == []
        assert not (tmp_path / LATCH_FILE).exists()
        assert (await manager.execute_order(order)).status == "FILLED"
