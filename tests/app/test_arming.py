from __future__ import annotations

import asyncio
import json
import os
import pty
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from order.account_state import AccountState
from order.manager import OrderManager
from order.user_change import UserChange
from shared.clock import ManualClock
from shared.settings import Settings
from tests.app.conftest import COMMAND, environment
from tests.order.switchboard import Switchboard
from tests.order.venue import ScriptedVenue

PATIENCE_S = 30.0

Trading = Callable[..., subprocess.CompletedProcess[str]]
Started = Callable[..., subprocess.Popen[str]]


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def test_arming_without_a_run_says_what_to_start(tmp_path: Path, trading: Trading) -> None:
    done = trading("arm", "--yes", home=tmp_path / "var")
    assert done.returncode == 2
    assert "Nobody keeps the books" in done.stderr and "trading run" in done.stderr


def test_arming_on_paper_is_told_apart(tmp_path: Path, trading: Trading, started: Started) -> None:
    home = tmp_path / "var"
    assert first_line(started("run", "--speed", "600", home=home)).startswith("PAPER")
    done = trading("arm", "--yes", home=home)
    assert done.returncode == 2
    assert "this run is on paper" in done.stderr


def test_accounts_of_a_rehearsal_take_entries_only_while_armed(
    tmp_path: Path, trading: Trading, started: Started
) -> None:
    home = tmp_path / "var"
    run = started("run", "--speed", "600", home=home, PAPER_TRADING="false")
    assert first_line(run).startswith("SANDBOX (exits only until `trading arm --yes`)")

    def refused() -> bool:
        rows = trading("orders", "--all", "--json", home=home).stdout.splitlines()
        return any(json.loads(row)["rule"].startswith("not_armed") for row in rows)

    # Entries that come while nothing is armed; which signal is the first one depends on the market.
    end = time.monotonic() + PATIENCE_S
    while not refused():
        assert time.monotonic() < end
    asked = trading("arm", home=home)  # nobody is at a terminal to say yes
    assert asked.returncode == 2 and "--yes" in asked.stderr
    armed = [json.loads(line) for line in trading("arm", "--yes", "--json", home=home).stdout.splitlines()]
    assert [(each["user_id"], each["armed"]) for each in armed] == [
        ("user_001", True), ("user_002", True), ("user_003", True)
    ]  # fmt: skip
    lights = {check["name"]: (check["state"], check["said"]) for check in armed[0]["checks"]}
    assert lights["address"] == ("green", "loopback, seen as 127.0.0.1")
    assert lights["strategy"][1] == "ma_crossover, armed for the first time"
    assert lights["deployment"][0] == "yellow" and lights["deployment"][1].endswith("live would refuse")
    done = trading("disarm", "--user", "user_002", "--json", home=home)
    assert [json.loads(line)["armed"] for line in done.stdout.splitlines()] == [False]
    wrong = trading("disarm", "--user", "nobody", home=home)
    assert wrong.returncode == 2 and "nobody" in wrong.stderr


STRATEGY = """
[[strategy]]
strategy_id = "ma_crossover"
strategy_type = "moving_average"
symbols = ["RELIANCE", "TCS", "INFY"]
parameters = { short_window = 10, long_window = 50, min_confidence = 0.7 }
"""


def test_what_changed_of_a_strategy_is_told_at_the_next_arming(
    tmp_path: Path, trading: Trading, started: Started
) -> None:
    home, file = tmp_path / "var", tmp_path / "strategies.toml"
    file.write_text(STRATEGY)
    assert first_line(started("run", home=home, PAPER_TRADING="false")).startswith("SANDBOX")
    end = time.monotonic() + PATIENCE_S
    while trading("arm", "--yes", home=home).returncode:
        assert time.monotonic() < end
    file.write_text(STRATEGY.replace("short_window = 10", "short_window = 12"))
    told = "user_001, user_002, user_003: ma_crossover: parameters changed short_window 10 → 12"
    for expected in (True, False):
        done = trading("arm", "--yes", home=home)
        assert (done.returncode, told in done.stdout) == (0, expected), done.stdout
    assert trading("verify", home=home).returncode == 0


# -- at real hosts: brokers that answer as told, for no test goes there ------------------------------------

NOW_US = 1_722_830_400_000_000  # 2024-08-05 09:30 IST, the day after that of the instrument list


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[OrderManager]:
    """Keep the books of two accounts at real hosts, and serve the commands of others."""
    venues = {name: ScriptedVenue(now_us=lambda: NOW_US) for name in ("asha", "bala")}
    for venue in venues.values():
        venue.local, venue.address, venue.registered_address = False, "203.0.113.7", "203.0.113.7"
    settings = Settings.load(None, home=tmp_path / "var", paper_trading=False)
    async with OrderManager(
        False, environment="live", settings=settings, clock=ManualClock(NOW_US), remotes=venues,
        demo_strategies=None,
    ) as manager:  # fmt: skip
        for name in venues:
            await manager.add_user(name, broker="wire", family="rao")
        yield manager


async def typed(
    home: Path, words: str, *more: str, meanwhile: Callable[[], Awaitable[None]] | None = None
) -> tuple[int, str]:
    """Run `trading arm` at a terminal where somebody types *words*; return exit code and what was said.

    Args:
        home, words, more: State folder, what is typed, options.
        meanwhile: Happens while they read the table.
    """
    ours, theirs = pty.openpty()
    if meanwhile is None:
        os.write(ours, f"{words}\n".encode())
    process = await asyncio.create_subprocess_exec(
        *COMMAND, "arm", *more, env=environment(home), cwd=home.parent, stdin=theirs,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    os.close(theirs)
    table = b""
    if meanwhile is not None:
        assert process.stdout is not None
        table = await process.stdout.readuntil(b"take entries: ")
        await meanwhile()
        os.write(ours, f"{words}\n".encode())
    said, _ = await process.communicate()
    os.close(ours)
    assert process.returncode is not None
    return process.returncode, (table + said).decode()


async def test_live_accounts_are_armed_by_typing_how_many_and_never_by_yes(
    live: OrderManager, trading: Trading
) -> None:
    home = live.home
    done = await asyncio.to_thread(trading, "arm", "--yes", home=home)
    assert (done.returncode, "--yes is for rehearsals; live: asha, bala" in done.stderr) == (3, True)
    nobody = await asyncio.to_thread(trading, "arm", home=home)
    assert (nobody.returncode, "Nobody is there to confirm" in nobody.stderr) == (3, True)
    for words in ("arm", "yes", "arm 1 live account", "arm 3 live accounts"):
        code, said = await typed(home, words)
        assert (code, "Not confirmed" in said) == (3, True), said
    assert not any(state.armed for state in await live.accounts())
    code, said = await typed(home, "arm 2 live accounts")
    assert (code, "Type 'arm 2 live accounts'" in said) == (0, True), said
    assert all(state.armed for state in await live.accounts())


async def test_words_arm_the_accounts_of_the_table_and_no_others(live: OrderManager) -> None:
    venue = ScriptedVenue(now_us=lambda: NOW_US)
    venue.local, venue.address, venue.registered_address = False, "203.0.113.7", "203.0.113.7"
    switchboard = live._here().lanes._dialer = Switchboard({"cara": venue})

    async def swapped() -> None:
        await live.change_user("bala", UserChange(broker="paper"))
        await live.add_user("cara", broker="wire", family="rao")
        assert switchboard.dialled == ["cara"]

    code, said = await typed(live.home, "arm 2 live accounts", meanwhile=swapped)
    assert (code, "No account of bala is connected" in said) == (2, True), said
    states = {state.user_id: state.armed for state in await live.accounts()}
    assert states == {"asha": False, "cara": False}, "as many as were typed, and not the same"


async def test_live_accounts_of_strangers_are_refused_before_anybody_types(live: OrderManager) -> None:
    await live.add_user("bala", broker="wire", replace=True)
    code, said = await typed(live.home, "arm 2 live accounts")
    assert code == 3
    assert "one family, and these are not: asha (rao), bala (no family)" in said
    assert "Type '" not in said
    assert not any(state.armed for state in await live.accounts())


async def test_nothing_is_armed_without_words_though_its_hindrance_goes_away_meanwhile(
    live: OrderManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    await live.add_user("bala", broker="wire", replace=True)
    plain = live.look

    async def looked(*given: Any, **named: Any) -> list[AccountState]:
        found = await plain(*given, **named)
        await live.add_user("bala", broker="wire", family="rao", replace=True)
        return found

    monkeypatch.setattr(live, "look", looked)
    code, said = await typed(live.home, "")
    assert (code, "Type '" in said, "only when somebody types" in said) == (3, False, True), said
    assert not any(state.armed for state in await live.accounts())


async def test_word_at_a_terminal_arms_a_rehearsal(live: OrderManager) -> None:
    for lane in live._here().lanes._lanes.values():
        lane.venue.local = True
    assert (await typed(live.home, "rm"))[0] == 2
    code, said = await typed(live.home, "arm", "--user", "asha", "--json")
    assert code == 0, said
    states = {state.user_id: state.armed for state in await live.accounts()}
    assert states == {"asha": True, "bala": False}
