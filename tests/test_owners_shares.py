"""A strategy trades ten of a share of which the account's owner has 500, in the demat and intraday.

Real processes on a sandbox whose prices are written here: an entry, an exit by signal, one by the stop,
a kill, a square-off by the clock. The owner's shares are never touched.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from order.manager import OrderManager
from order.users import Sizing, SizingMethod, Terms
from shared.models import Side
from shared.settings import Settings
from tests.rehearsal import PATIENCE_S, Rehearsal
from tests.test_account import account, by_hand, compared_us, holdings, ours
from tests.test_everything_killed import ROOM

TURNS = """
[[strategy]]
strategy_id = "turns"
strategy_type = "moving_average"
symbols = ["RELIANCE"]
parameters = { short_window = 2, long_window = 4, min_confidence = 0.0 }
"""
OWNERS = 500
TEN = 10
START = 2500
CALM_MIN = 22
"""Minutes that processes have to come up and be armed, at `SPEED`."""

SPEED = 150
SQUARE_OFF = "10:14"
TURN = ((3, 2.0), (5, -1.2), (4, 2.0), (1, -25.0), (2, -1.0))
"""Minutes, rupees a minute: up (an entry), gently down (an exit), up (an entry), down through the stop."""


def written(folder: Path) -> Path:
    """Write the day's prices and return their file."""
    path = folder / "RELIANCE_day.csv"
    moves = [(CALM_MIN, -0.2), *TURN, (5, 2.0), (375, 0.5)]
    price, lines = float(START), ["ts,open,high,low,close,volume"]
    for move in (move for minutes, move in moves for _ in range(minutes)):
        minute, after = 9 * 60 + 15 + len(lines) - 1, price + move
        if minute >= 15 * 60 + 30:
            break
        high, low = max(price, after), min(price, after)
        at = f"2000-01-03T{minute // 60:02}:{minute % 60:02}:00+05:30"
        lines.append(f"{at},{price:.2f},{high:.2f},{low:.2f},{after:.2f},1000000")
        price = after
    path.write_text("\n".join(lines))
    return path


@dataclass
class Owner:
    """Looks after the owner's shares while the strategy trades."""

    rehearsal: Rehearsal

    def orders(self) -> list[dict[str, Any]]:
        return [row for row in self.rehearsal.ask("/sandbox/ledger")["orders"] if row["ordertag"]]

    def net(self) -> int:
        rows = self.rehearsal.ask("/sandbox/ledger")["positions"]
        assert {row["producttype"] for row in rows} <= {"INTRADAY"}, "nothing is sold out of the demat"
        return sum(int(row["netqty"]) for row in rows)

    def until(self, ready: Callable[[], bool], what: str) -> None:
        def look() -> bool:
            assert OWNERS <= self.net() <= OWNERS + TEN
            return ready()

        self.rehearsal.until(look, what)

    def bought(self) -> int:
        return sum(int(row["filledshares"]) for row in self.orders() if row["transactiontype"] == "BUY")


@pytest.fixture
def rehearsal(tmp_path: Path) -> Iterator[Rehearsal]:
    made = Rehearsal(tmp_path, TURNS)
    made.environment["SQUARE_OFF"] = SQUARE_OFF
    yield made
    made.close()


async def store_user(rehearsal: Rehearsal) -> None:
    """Let user_001 trade ten a time, with a stop that trails by half a percent."""
    settings = Settings.load(env_file=None, home=rehearsal.home, paper_trading=False)
    terms = Terms(Sizing(SizingMethod.FIXED_QUANTITY, Decimal(TEN)), trail_percent=Decimal("0.5"))
    async with OrderManager(False, environment="sandbox", settings=settings) as manager:
        await manager.add_user(
            "user_001", limits=ROOM, subscriptions={"turns": terms}, broker="angel_one", replace=True
        )


@pytest.mark.timeout(5 * PATIENCE_S)
def test_owners_shares_stay_whatever_the_strategy_does(rehearsal: Rehearsal) -> None:
    asyncio.run(store_user(rehearsal))
    options = ("--holding", f"RELIANCE:{OWNERS}", "--replay", str(written(rehearsal.folder)))
    rehearsal.sandbox("--speed", str(SPEED), *options)
    by_hand(rehearsal, "RELIANCE", Side.BUY, OWNERS, Decimal(START))
    owner = Owner(rehearsal)
    rehearsal.until(lambda: owner.net() == OWNERS, "the owner has bought")
    run = rehearsal.start("run")
    rehearsal.arm()
    owner.until(lambda: ours(rehearsal) == {"RELIANCE": TEN}, "entered")
    owner.until(lambda: owner.bought() == 2 * TEN, "left by a signal and entered again")
    owner.until(lambda: owner.bought() == 3 * TEN, "stopped out and entered again")
    owner.until(lambda: ours(rehearsal) == {"RELIANCE": TEN}, "holding")
    run.kill()
    run.wait()
    killed_us = time.time_ns() // 1000
    rehearsal.start("run")
    owner.until(lambda: compared_us(rehearsal) > killed_us, "compared")
    assert account(rehearsal).state == "EXIT_ONLY"
    owner.until(lambda: not ours(rehearsal), "closed by the clock")
    owner.until(lambda: owner.net() == OWNERS, "at the exchange, too")

    sold = [row for row in owner.orders() if row["transactiontype"] == "SELL" and int(row["filledshares"])]
    assert [int(row["filledshares"]) for row in sold] == [TEN] * 3
    assert holdings(rehearsal) == {"RELIANCE": OWNERS}
    rules = " ".join(row["rule"] for row in rehearsal.rows("orders", "--user", "user_001", "--all"))
    assert "square-off by the clock" in rules
    assert account(rehearsal).others == [f"RELIANCE INTRADAY: +{OWNERS} by others' orders"]
    assert rehearsal.trading("verify")[0] == 0
