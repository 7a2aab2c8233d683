"""Everything is killed at once with ten positions open, some with resting stops; a start needs no hand.

Real processes: sandbox, engine, subscriber, embedded server and watcher.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from order.manager import OrderManager
from order.users import Limits, Sizing, SizingMethod, Terms
from shared.calendar import IST
from shared.models import instant
from shared.settings import Settings
from tests.rehearsal import PATIENCE_S, Rehearsal, shares
from tests.test_account import BACK_S, account, bought, compared_us, ours, theirs

BY_STRATEGY = ("RELIANCE", "TCS", "INFY", "SBIN", "ITC")
BY_HAND = ("HDFCBANK", "ICICIBANK", "LT", "WIPRO", "TITAN")
DIPS = """
[[strategy]]
strategy_id = "dips"
strategy_type = "rsi"
symbols = ["RELIANCE", "TCS", "INFY", "SBIN", "ITC"]
parameters = { period = 2, oversold = 60, overbought = 99.999 }

[[strategy]]
strategy_id = "quiet"
strategy_type = "moving_average"
symbols = ["HDFCBANK", "ICICIBANK", "LT", "WIPRO", "TITAN"]
parameters = { short_window = 40, long_window = 200, min_confidence = 1.0 }
"""
"""The first buys nearly at once and never sells: what closes a position is its stop, or the clock. The second
brings prices of what is bought by hand."""

SHARES = 7
SQUARE_OFF = "11:15"
BROKERS_OWN = "12:30"
LARGE = Decimal(10_000_000)
ROOM = Limits(
    capital_inr=LARGE, max_order_inr=LARGE, max_positions=20, max_entries_day=100,
    max_entries_symbol_day=100, max_orders_second=9, max_orders_minute=200,
)  # fmt: skip


@pytest.fixture
def rehearsal(tmp_path: Path) -> Iterator[Rehearsal]:
    made = Rehearsal(tmp_path, DIPS)
    made.environment["SQUARE_OFF"] = SQUARE_OFF
    yield made
    made.close()


async def store_user(rehearsal: Rehearsal) -> None:
    """Let user_001 follow the strategy with a trailing stop, by their order manager."""
    settings = Settings.load(env_file=None, home=rehearsal.home, paper_trading=False)
    terms = Terms(Sizing(SizingMethod.FIXED_QUANTITY, Decimal(SHARES)), trail_percent=Decimal(5))
    async with OrderManager(False, environment="sandbox", settings=settings) as manager:
        await manager.add_user(
            "user_001", limits=ROOM, subscriptions={"dips": terms}, broker="angel_one", replace=True
        )


def resting(rehearsal: Rehearsal) -> dict[str, tuple[str, int]]:
    """Return the stops at the exchange: symbol and quantity by the broker's id."""
    orders = rehearsal.ask("/sandbox/ledger")["orders"]
    stops = (row for row in orders if row["status"] == "trigger pending")
    return {row["orderid"]: (row["tradingsymbol"].removesuffix("-EQ"), int(row["quantity"])) for row in stops}


def after(rehearsal: Rehearsal, known: set[str]) -> list[dict[str, Any]]:
    return [row for row in rehearsal.ask("/sandbox/ledger")["orders"] if row["orderid"] not in known]


def market_time(rehearsal: Rehearsal) -> str:
    return f"{instant(rehearsal.ask('/sandbox/info')['market_time_us']).astimezone(IST):%H:%M}"


@pytest.mark.timeout(5 * PATIENCE_S)
def test_everything_killed_comes_back_without_a_hand_and_is_flat_by_the_clock(rehearsal: Rehearsal) -> None:
    asyncio.run(store_user(rehearsal))
    switch = ("--switch", f"square_off={BROKERS_OWN}")
    rehearsal.sandbox("--speed", "150", *switch)
    rehearsal.start("subscriber")
    rehearsal.start("engine")
    rehearsal.arm()
    wanted = dict.fromkeys((*BY_STRATEGY, *BY_HAND), SHARES)
    bought(rehearsal, SHARES, *BY_HAND, ready=lambda: ours(rehearsal) == wanted)
    guarded = {(symbol, SHARES) for symbol in BY_STRATEGY}
    rehearsal.until(lambda: set(resting(rehearsal).values()) == guarded, "a stop for each")
    rehearsal.kill_everything()
    rehearsal.sandbox("--speed", "300", *switch)
    ledger = rehearsal.ask("/sandbox/ledger")["orders"]
    stops, known = resting(rehearsal), {row["orderid"] for row in ledger}
    assert shares(ledger) == wanted
    assert set(stops.values()) == guarded

    started_us = time.time_ns() // 1000
    rehearsal.start("subscriber")  # alone: what is held needs no engine to be known
    rehearsal.until(lambda: compared_us(rehearsal) > started_us, "compared")
    took_s = (compared_us(rehearsal) - started_us) / 1e6
    assert account(rehearsal).state == "EXIT_ONLY"
    if market_time(rehearsal) < SQUARE_OFF:
        assert ours(rehearsal) == theirs(rehearsal) == wanted
        assert resting(rehearsal) == stops
    rehearsal.start("engine")
    rehearsal.until(lambda: not theirs(rehearsal), "flat at the exchange")
    assert SQUARE_OFF <= market_time(rehearsal) < BROKERS_OWN
    rehearsal.until(lambda: not ours(rehearsal), "flat in our books")

    ended = {row["orderid"]: row for row in rehearsal.ask("/sandbox/ledger")["orders"]}
    for order_id, (_, quantity) in stops.items():  # the very order that rested became the exit
        assert (ended[order_id]["status"], int(ended[order_id]["filledshares"])) == ("complete", quantity)
    new = after(rehearsal, known)
    assert {row["transactiontype"] for row in new} == {"SELL"}
    assert {row["tradingsymbol"].removesuffix("-EQ") for row in new} == set(BY_HAND)
    rules = [row["rule"] for row in rehearsal.rows("orders", "--user", "user_001", "--all")]
    assert not [rule for rule in rules if rule.startswith("BROKER_SQUAREOFF")]
    assert resting(rehearsal) == {}
    assert rehearsal.trading("verify")[0] == 0
    assert took_s < BACK_S * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
