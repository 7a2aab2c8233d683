"""Three user groups in three processes on PostgreSQL, one engine, kills: nothing lost, nothing doubled."""

from __future__ import annotations

import asyncio
import gzip
import random
import signal
import subprocess
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from order.manager import OrderManager
from order.users import Sizing, SizingMethod, Terms
from shared.settings import Settings
from tests import postgres
from tests.test_crash import SYMBOLS, Home, wait_for

GROUPS = ("a", "b", "c")
ROWS = 400
PACE = "20000"
KILLS = 4


@pytest.fixture
def home(tmp_path: Path, market_data: Path, postgres_url: str) -> Iterator[Home]:
    data = []
    for symbol in SYMBOLS:
        data.append(tmp_path / f"{symbol}.csv.gz")
        with (
            gzip.open(market_data / "minute" / data[-1].name, "rt") as whole,
            gzip.open(data[-1], "wt") as part,
        ):
            part.writelines(line for _, line in zip(range(ROWS + 1), whole, strict=False))
    made = Home(tmp_path / "var", data, {"DATABASE_URL": postgres_url, "PAPER_PROFILE": "instant"})
    yield made
    made.stop()


async def add_users(home: Path, url: str) -> None:
    """Enter two users of each group, by the group's own order manager."""
    for group in GROUPS:
        settings = Settings.load(env_file=None, home=home, database_url=url)
        async with OrderManager(settings=settings, group=group) as manager:
            for number in range(2):
                sizing = Sizing(SizingMethod.FIXED_QUANTITY, Decimal(1 + number))
                await manager.add_user(
                    f"{group}{number}", subscriptions={"ma_crossover": Terms(sizing=sizing)}
                )


def subscriber(home: Home, group: str) -> subprocess.Popen[bytes]:
    return home.start("subscriber", "--group", group, "--json")


def owners(url: str) -> int:
    """Return how many writers' locks are held."""
    query = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND database = (SELECT oid"
    ((count,),) = postgres.run(url, f"{query} FROM pg_database WHERE datname = current_database())")
    return int(str(count))


@pytest.mark.timeout(240)
def test_groups_killed_in_turn_take_every_signal_once_for_each_user(home: Home, postgres_url: str) -> None:
    asyncio.run(add_users(home.path, postgres_url))
    dice = random.Random(7)
    running = {group: subscriber(home, group) for group in GROUPS}
    wait_for(lambda: owners(postgres_url) == len(GROUPS), "each group has its writer")
    engine = home.engine(PACE)
    for _ in range(KILLS):
        goal = home.progress() + 1

        def is_further(goal: int = goal) -> bool:
            return home.progress() >= goal or engine.poll() is not None

        wait_for(is_further, "more signals")
        group = dice.choice(GROUPS)
        running[group].send_signal(dice.choice((signal.SIGKILL, signal.SIGTERM)))
        running[group].wait(30)
        running[group] = subscriber(home, group)
    assert engine.wait(60) == 0
    found = home.settled()
    signals = home.progress()
    assert signals > 10
    assert {name: found[name] for name in ("pending", "lost", "duplicate", "unexplained", "findings")} == {
        "pending": 0, "lost": 0, "duplicate": 0, "unexplained": 0, "findings": [],
    }  # fmt: skip
    query = "SELECT group_name, count(*), count(DISTINCT signal_id) FROM inbox WHERE engine = 'main'"
    taken = sorted(postgres.run(postgres_url, f"{query} GROUP BY group_name"))
    assert taken == [(group, signals, signals) for group in GROUPS]
    assert found["intents"] >= 2 * len(GROUPS) * signals
    query = "SELECT writer FROM journal GROUP BY writer HAVING count(*) = max(no) ORDER BY writer"
    assert postgres.run(postgres_url, query) == [(f"order:{group}",) for group in GROUPS]
