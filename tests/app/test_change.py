"""`trading orders cancel` and `modify`, beside a running system and without one."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from order.manager import OrderManager
from shared.clock import ManualClock
from shared.models import OrderState, Quote
from shared.quotes import QuoteBoard
from shared.settings import Settings

Trading = Callable[..., subprocess.CompletedProcess[str]]
AT_US = 1_719_808_200_000_000  # 2024-07-01 10:00 IST
ORDER = {
    "user_id": "user_001", "symbol": "RELIANCE", "side": "BUY", "order_type": "LIMIT", "quantity": 10,
    "price": 2490,
}  # fmt: skip


async def test_paper_order_is_changed_beside_a_running_system_and_cancelled_without_one(
    tmp_path: Path, trading: Trading
) -> None:
    board = QuoteBoard("replay-1")
    board.update([Quote("RELIANCE", 250_000, AT_US)])
    settings = Settings.load(env_file=None, home=tmp_path, paper_profile="realistic")
    async with OrderManager(True, settings=settings, clock=ManualClock(AT_US), quotes=board) as manager:
        given = await manager.execute_order(ORDER)
        assert given.status is OrderState.ACCEPTED
        change = ("orders", "modify", given.order_id, "--price", "2489.95", "--quantity", "4")
        done = await asyncio.to_thread(trading, *change, home=tmp_path)
        assert (done.stdout, done.returncode) == (f"{given.order_id}: changed: 4 shares at 2489.95\n", 0)
    done = trading("orders", "cancel", given.order_id, "--json", home=tmp_path)
    assert json.loads(done.stdout)["status"] == "CANCELLED"
    assert trading("verify", home=tmp_path).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("cancel", "NOSUCH"), "Order NOSUCH is not open, or there was never one."),
        (("modify", "NOSUCH"), "nothing is to be changed"),
        (("modify", "NOSUCH", "--price", "dear"), "price 'dear'"),
    ],
)
def test_mistakes_are_told_with_exit_code_2(
    tmp_path: Path, trading: Trading, arguments: tuple[str, ...], said: str
) -> None:
    asyncio.run(_made(tmp_path))
    done = trading("orders", *arguments, home=tmp_path)
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr


async def _made(home: Path) -> None:
    async with OrderManager(True, settings=Settings.load(env_file=None, home=home)):
        pass
