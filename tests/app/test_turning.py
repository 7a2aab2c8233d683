"""`trading halt`, `kill`, `flatten`, `resume`: beside a running system, without one, and in all groups."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from app.review import keeper
from broker.base import VenuePosition, VenueState
from order.manager import OrderManager
from order.reading import Reader
from order.switches import Level
from shared.clock import ManualClock
from shared.models import Product, Quote
from shared.quotes import QuoteBoard
from shared.settings import Settings
from tests.order.venue import ScriptedVenue, row

Trading = Callable[..., subprocess.CompletedProcess[str]]
AT_US = 1_719_808_200_000_000  # 2024-07-01 10:00 IST
ORDER = {
    "user_id": "user_001", "symbol": "RELIANCE", "side": "BUY", "order_type": "MARKET", "quantity": 10,
    "price": 2500,
}  # fmt: skip


async def test_switch_is_turned_beside_a_running_system_and_shown_everywhere(
    tmp_path: Path, trading: Trading
) -> None:
    settings = Settings.load(env_file=None, home=tmp_path, paper_profile="instant")
    async with OrderManager(settings=settings) as manager:
        await manager.execute_order(ORDER)
        command = ("flatten", "--user", "user_001", "--why", "too wild")
        done = await asyncio.to_thread(trading, *command, home=tmp_path)
        assert done.returncode == 0, done.stderr
        line, where = done.stdout.splitlines()
        assert line.startswith("FLATTEN of user user_001 until resumed: too wild (")
        assert where.startswith(f"paper books in {tmp_path}: taken by pid {os.getpid()} (")
        assert (await manager.execute_order(ORDER)).message.startswith("flattened: too wild")
    shown = trading("positions", "--all", "--json", home=tmp_path)
    assert json.loads(shown.stdout)["quantity"] == 0
    assert shown.stderr == f"trading: {line}\n"
    assert f"trading: {line}\n" in trading("users", home=tmp_path).stderr
    assert line in trading("doctor", home=tmp_path).stdout
    verify = trading("verify", "--json", home=tmp_path)
    assert json.loads(verify.stdout)["unexplained"] == 0


def test_switch_is_turned_without_a_running_system_and_stands_at_the_next_start(
    tmp_path: Path, trading: Trading
) -> None:
    asyncio.run(_made(tmp_path))
    done = trading("halt", "--strategy", "ma_crossover", "--json", home=tmp_path)
    assert [each["level"] for each in json.loads(done.stdout)["switches"]] == ["HALT"]
    done = trading("kill", "--json", home=tmp_path)
    told = json.loads(done.stdout)
    assert [each["level"] for each in told.pop("switches")] == ["KILL", "HALT"]
    assert told == {
        "environment": "paper", "books": str(tmp_path), "group": None, "running": False, "taken_by": "",
        "entries": [], "positions": [], "stranded": [],
    }  # fmt: skip
    done = trading("halt", home=tmp_path)
    assert (done.returncode, "at KILL already" in done.stderr) == (2, True)
    assert asyncio.run(_made(tmp_path)).startswith("killed: ")
    assert "HALT of strategy ma_crossover" in trading("resume", home=tmp_path).stdout
    done = trading("resume", "--strategy", "ma_crossover", home=tmp_path)
    assert done.stdout.splitlines() == [
        "Nothing is switched off: entries are taken.",
        f"paper books in {tmp_path}: no system runs on these books; it holds from the next start.",
    ]
    assert trading("users", home=tmp_path).stderr == ""
    assert asyncio.run(_made(tmp_path)) == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(("kill", "--user", "nobody"), "no user 'nobody'"), (("halt", "--strategy", "x"), "subscribes to 'x'")],
)
def test_mistakes_are_told_with_exit_code_2(
    tmp_path: Path, trading: Trading, arguments: tuple[str, ...], said: str
) -> None:
    asyncio.run(_made(tmp_path))
    done = trading(*arguments, home=tmp_path)
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr


async def test_kill_of_the_house_reaches_every_group_on_postgresql(
    tmp_path: Path, trading: Trading, postgres_url: str
) -> None:
    settings = Settings.load(env_file=None, home=tmp_path, database_url=postgres_url)
    async with OrderManager(settings=settings, group="b") as idle:
        await idle.add_user("ub")
    async with OrderManager(settings=settings) as manager:
        await manager.add_user("ua")
        done = await asyncio.to_thread(trading, "kill", home=tmp_path, DATABASE_URL=postgres_url)
        assert done.returncode == 0, done.stderr
        assert re.findall(r"group (\w+): (taken by|no system runs)", done.stdout) == [
            ("b", "no system runs"), ("default", "taken by"),
        ]  # fmt: skip
        assert "paper books in postgresql://***@" in done.stdout or "@" not in postgres_url
        assert (await manager.execute_order({**ORDER, "user_id": "ua"})).message.startswith("killed: ")
        command = ("resume", "--group", "default")
        await asyncio.to_thread(trading, *command, home=tmp_path, DATABASE_URL=postgres_url)
        assert (await manager.execute_order({**ORDER, "user_id": "ua"})).status == "FILLED"
    async with OrderManager(settings=settings, group="b") as idle:
        assert (await idle.execute_order({**ORDER, "user_id": "ub"})).message.startswith("killed: by ")


async def test_group_that_stands_stronger_keeps_no_other_group_from_a_kill(
    tmp_path: Path, trading: Trading, postgres_url: str
) -> None:
    settings = Settings.load(env_file=None, home=tmp_path, database_url=postgres_url)
    for group in ("a", "b"):
        async with OrderManager(settings=settings, group=group) as manager:
            await manager.add_user(f"u{group}")
    command = ("flatten", "--group", "a")
    done = await asyncio.to_thread(trading, *command, home=tmp_path, DATABASE_URL=postgres_url)
    assert done.returncode == 0, done.stderr
    done = await asyncio.to_thread(trading, "kill", home=tmp_path, DATABASE_URL=postgres_url)
    assert (done.returncode, "group a: not turned" in done.stderr) == (0, True)
    async with OrderManager(settings=settings, group="b") as manager:
        views = await manager.switches()
    assert [view.level for view in views] == [Level.KILL]


async def test_group_that_is_served_from_another_folder_is_told_with_exit_code_1(
    tmp_path: Path, trading: Trading, postgres_url: str
) -> None:
    settings = Settings.load(env_file=None, home=tmp_path / "a", database_url=postgres_url)
    async with OrderManager(settings=settings) as manager:
        await manager.add_user("ua")
        done = await asyncio.to_thread(trading, "kill", home=tmp_path / "b", DATABASE_URL=postgres_url)
        assert (done.returncode, "TRADING_HOME" in done.stderr) == (1, True), done.stderr
        assert (await manager.switches()) == []


def test_flatten_that_nobody_carries_out_says_so_and_the_next_start_closes(
    tmp_path: Path, trading: Trading
) -> None:
    asyncio.run(_at_work(tmp_path))
    done = trading("flatten", home=tmp_path)
    assert done.returncode == 1
    assert done.stdout.splitlines()[0].startswith("FLATTEN of the house until resumed: by ")
    assert "Nobody sells now; open:\n  user_001  10 RELIANCE  INTRADAY  manual, replay-1\n" in done.stderr
    assert f"Start `trading run` as it ran, with TRADING_HOME={tmp_path}" in done.stderr
    again = json.loads(trading("flatten", "--json", home=tmp_path).stdout)
    assert [(row["user_id"], row["quantity"]) for row in again["positions"]] == [("user_001", 10)]
    assert asyncio.run(_at_work(tmp_path, buy=False)) == [0]
    assert trading("flatten", home=tmp_path).returncode == 0, "nothing is open any more"


async def test_command_that_keeps_the_books_for_a_moment_is_no_system_that_runs(
    tmp_path: Path, trading: Trading
) -> None:
    await _at_work(tmp_path)
    settings = Settings.load(env_file=None, home=tmp_path)
    async with keeper(settings, None) as moment:
        assert moment.holds_lock
        done = await asyncio.to_thread(trading, "flatten", home=tmp_path)
    assert (done.returncode, "no system runs on these books" in done.stdout) == (1, True)
    assert "Nobody sells now; open:\n  user_001  10 RELIANCE" in done.stderr


@pytest.mark.parametrize(("command", "code"), [("kill", 1), ("flatten", 1), ("halt", 0)])
async def test_entry_at_a_broker_that_nobody_cancels_is_told(
    tmp_path: Path, trading: Trading, command: str, code: int
) -> None:
    settings = Settings.load(None, home=tmp_path, paper_trading=False)
    venue = ScriptedVenue(now_us=lambda: AT_US)
    async with OrderManager(
        False, environment="sandbox", settings=settings, clock=ManualClock(AT_US), remotes={"asha": venue},
        demo_strategies=None,
    ) as manager:  # fmt: skip
        await manager.add_user("asha", broker="wire")
        (state,) = await manager.arm()
        assert state.armed
        resting = {**ORDER, "user_id": "asha", "order_type": "LIMIT"}
        given = await manager.execute_order(resting)
        assert given.status == "ACCEPTED", given
    done = await asyncio.to_thread(trading, command, home=tmp_path)
    assert done.returncode == code
    assert f"sandbox books in {tmp_path}: no system runs" in done.stdout
    line = f"Nobody cancels now; at work:\n  asha  BUY 10 RELIANCE  ACCEPTED  {given.order_id}\n"
    assert (line in done.stderr) is bool(code)
    assert ("PAPER_TRADING=false and TRADING_HOME=" in done.stderr) is bool(code)


async def test_position_of_an_account_without_a_session_is_told_though_a_system_runs(
    tmp_path: Path, trading: Trading, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("order.lane.READ_S", 0.01)
    settings = Settings.load(None, home=tmp_path, paper_trading=False)
    clock, board = ManualClock(AT_US), QuoteBoard("live")
    board.update([Quote("RELIANCE", 250_000, AT_US, 1000, AT_US)])
    venue = ScriptedVenue(now_us=clock.now_us)
    async with OrderManager(
        False, environment="sandbox", settings=settings, clock=clock, remotes={"asha": venue},
        demo_strategies=None, quotes=board,
    ) as manager:  # fmt: skip
        await manager.add_user("asha", broker="wire")
        await manager.arm()
        given = await manager.execute_order({**ORDER, "user_id": "asha", "order_type": "LIMIT"})
        assert given.status == "ACCEPTED", given
        venue.orders = [row(given.order_id, VenueState.COMPLETE, filled=10)]
        venue.held = [VenuePosition("RELIANCE", Product.INTRADAY, 10)]
        venue.needs_code = True
        async with asyncio.timeout(5):
            while not (await manager.accounts())[0].stranded:  # noqa: ASYNC110 - it knows no event
                await asyncio.sleep(0.01)
        done = await asyncio.to_thread(trading, "flatten", "--user", "asha", home=tmp_path)
    assert done.returncode == 1
    assert "nobody can sell now:\n  asha holds RELIANCE 10 and nobody can sell it" in done.stderr
    assert f"sandbox books in {tmp_path}: taken by pid" in done.stdout


@pytest.mark.parametrize("level", ["halt", "kill", "flatten", "resume"])
def test_switch_where_there_are_no_books_is_loud(tmp_path: Path, trading: Trading, level: str) -> None:
    home = tmp_path / "var"
    done = trading(level, home=home)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"No switch was turned: there are no books in {home}." in done.stderr
    assert "TRADING_HOME" in done.stderr and not home.exists()


def test_latch_that_was_laid_where_there_are_no_books_is_told_and_taken_away(
    tmp_path: Path, trading: Trading
) -> None:
    assert f"the file {tmp_path / 'KILL'} lies there" in trading("kill", home=tmp_path).stderr
    assert (tmp_path / "KILL").exists()
    assert f"the file {tmp_path / 'KILL'} was taken away" in trading("resume", home=tmp_path).stderr
    assert not (tmp_path / "KILL").exists()


@pytest.mark.parametrize(("level", "hint"), [("kill", True), ("halt", True), ("resume", False)])
def test_switch_that_wrong_settings_keep_back_says_what_stops_without_it(
    tmp_path: Path, trading: Trading, level: str, hint: bool
) -> None:
    (tmp_path / ".env").write_text("SIM_SEED=x\n", encoding="utf-8")
    done = trading(level, home=tmp_path / "var")
    assert done.returncode == 2
    assert "No switch was turned. One setting is wrong:" in done.stderr and "SIM_SEED" in done.stderr
    assert ("`touch var/KILL`" in done.stderr) is hint


async def _at_work(home: Path, *, buy: bool = True) -> list[int]:
    """Run for a moment with prices; buy something, or look until all is closed; return what is held."""
    board = QuoteBoard("replay-1")
    settings = Settings.load(env_file=None, home=home, paper_profile="instant")
    async with OrderManager(settings=settings, clock=ManualClock(AT_US), quotes=board) as manager:
        board.update([Quote("RELIANCE", 250_000, AT_US)])
        if buy:
            assert (await manager.execute_order(ORDER)).status == "FILLED"
    with closing(Reader(home)) as reader:
        return [row.quantity for row in reader.positions()]


async def _made(home: Path) -> str:
    settings = Settings.load(env_file=None, home=home, paper_profile="instant")
    async with OrderManager(settings=settings) as manager:
        result = await manager.execute_order({**ORDER, "quantity": 1})
        return "" if result.status == "FILLED" else result.message
