"""`trading halt`, `kill`, `flatten`, `resume`: beside a running system, without one, and in all groups."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from order.manager import OrderManager
from shared.settings import Settings

Trading = Callable[..., subprocess.CompletedProcess[str]]
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
        assert done.stdout.startswith("FLATTEN of user user_001 until resumed: too wild (")
        assert (await manager.execute_order(ORDER)).message.startswith("flattened: too wild")
    line = done.stdout.strip()
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
    assert json.loads(done.stdout)["level"] == "HALT"
    done = trading("kill", "--json", home=tmp_path)
    assert [json.loads(line)["level"] for line in done.stdout.splitlines()] == ["KILL", "HALT"]
    done = trading("halt", home=tmp_path)
    assert (done.returncode, "at KILL already" in done.stderr) == (2, True)
    assert asyncio.run(_made(tmp_path)).startswith("killed: ")
    assert "HALT of strategy ma_crossover" in trading("resume", home=tmp_path).stdout
    done = trading("resume", "--strategy", "ma_crossover", home=tmp_path)
    assert done.stdout == "Nothing is switched off: entries are taken.\n"
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
        assert (await manager.execute_order({**ORDER, "user_id": "ua"})).message.startswith("killed: ")
        command = ("resume", "--group", "default")
        await asyncio.to_thread(trading, *command, home=tmp_path, DATABASE_URL=postgres_url)
        assert (await manager.execute_order({**ORDER, "user_id": "ua"})).status == "FILLED"
    async with OrderManager(settings=settings, group="b") as idle:
        assert (await idle.execute_order({**ORDER, "user_id": "ub"})).message.startswith("killed: by ")


async def _made(home: Path) -> str:
    settings = Settings.load(env_file=None, home=home, paper_profile="instant")
    async with OrderManager(settings=settings) as manager:
        result = await manager.execute_order({**ORDER, "quantity": 1})
        return "" if result.status == "FILLED" else result.message
