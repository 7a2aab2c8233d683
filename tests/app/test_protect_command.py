"""`trading protect`, beside a running system and without one."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

from order.manager import OrderManager
from shared.clock import ManualClock
from shared.models import Quote
from shared.quotes import QuoteBoard
from shared.settings import Settings

Trading = Callable[..., subprocess.CompletedProcess[str]]
AT_US = 1_719_808_200_000_000  # 2024-07-01 10:00 IST
ORDER = {"user_id": "user_001", "symbol": "RELIANCE", "side": "BUY", "order_type": "MARKET", "quantity": 10}
POSITION = ("protect", "--user", "user_001", "--symbol", "RELIANCE")


async def test_position_is_protected_beside_a_running_system_and_without_one(
    tmp_path: Path, trading: Trading
) -> None:
    board = QuoteBoard("replay-1")
    board.update([Quote("RELIANCE", 250_000, AT_US)])
    settings = Settings.load(env_file=None, home=tmp_path, paper_profile="instant")
    async with OrderManager(True, settings=settings, clock=ManualClock(AT_US), quotes=board) as manager:
        await manager.execute_order(ORDER)
        levels = ("--stop", "2490", "--target", "2520")
        done = await asyncio.to_thread(trading, *POSITION, *levels, home=tmp_path)
        said = "user_001 RELIANCE: stop 2490.00, target 2520.00\n"
        assert (done.stdout, done.returncode) == (said, 0)
        done = await asyncio.to_thread(trading, *POSITION, "--stop", "2510", home=tmp_path)
        assert done.returncode == 2
        assert "stop 2510.00 is hit at 2500.00" in done.stderr
    done = trading(*POSITION, "--nothing", "--json", home=tmp_path)
    assert json.loads(done.stdout) == {
        "user_id": "user_001", "symbol": "RELIANCE", "protection": "no protection",
    }  # fmt: skip


def test_nothing_and_a_level_or_neither_is_refused(tmp_path: Path, trading: Trading) -> None:
    for words in ((), ("--nothing", "--stop", "1"), ("--strategy", "s")):
        done = trading(*POSITION, *words, home=tmp_path)
        assert done.returncode == 2
        assert "--nothing stands alone" in done.stderr
