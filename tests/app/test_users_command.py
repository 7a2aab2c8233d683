"""`trading users`: beside a running system and without one."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

from order.manager import OrderManager
from shared.settings import Settings

Trading = Callable[..., subprocess.CompletedProcess[str]]


def told(done: subprocess.CompletedProcess[str]) -> dict[str, object]:
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_user_is_added_to_nothing_subscribed_limited_and_disabled(tmp_path: Path, trading: Trading) -> None:
    words = ("--name", "Asha R", "--family", "rao", "--algo-id", "A-1", "--limit", "capital_inr=2,00,000")
    added = told(trading("users", "add", "asha", *words, "--json", home=tmp_path))
    assert (added["name"], added["family"], added["algo_id"]) == ("Asha R", "rao", "A-1")
    assert added["broker"] == "paper"
    edited = told(trading("users", "edit", "asha", "--algo-id", "A-2", "--json", home=tmp_path))
    assert edited["algo_id"] == "A-2"
    assert added["limits"]["capital_inr"] == "200000"  # type: ignore[index]
    more = ("users", "subscribe", "asha", "ma_crossover", "--risk", "0.5")
    subscribed = told(trading(*more, "--json", home=tmp_path))
    assert list(subscribed["subscriptions"]) == ["ma_crossover"]  # type: ignore[call-overload]
    limited = told(trading("users", "limits", "asha", "max_positions=5", "--json", home=tmp_path))
    assert limited["limits"]["max_positions"] == 5  # type: ignore[index]
    assert told(trading("users", "disable", "asha", "--json", home=tmp_path))["enabled"] is False
    shown = trading("users", "show", "asha", home=tmp_path).stdout
    assert "enters                  no, disabled" in shown
    assert "algo id                 A-2" in shown
    assert "0.5 % of allocation at risk, INTRADAY, 100 % of capital" in shown
    listed = trading("users", "--json", home=tmp_path).stdout.splitlines()
    assert [json.loads(line)["user_id"] for line in listed] == ["asha"], "no user for demonstration"


async def test_user_is_added_and_changed_while_the_books_are_kept_elsewhere(
    tmp_path: Path, trading: Trading
) -> None:
    settings = Settings.load(env_file=None, home=tmp_path)
    async with OrderManager(True, settings=settings) as manager:
        for words in (("add", "asha"), ("subscribe", "asha", "ma_crossover", "--shares", "7")):
            done = await asyncio.to_thread(trading, "users", *words, "--json", home=tmp_path)
            assert told(done)["user_id"] == "asha"
        (user,) = (each for each in await manager.users() if each.user_id == "asha")
        assert user.subscriptions["ma_crossover"].sizing.value == 7
        done = await asyncio.to_thread(trading, "users", "add", "asha", home=tmp_path)
        assert done.returncode == 2
        assert "There is a user 'asha' already." in done.stderr


def test_mistakes_name_what_there_is(tmp_path: Path, trading: Trading) -> None:
    trading("users", "add", "asha", home=tmp_path)
    for words, said in (
        (("subscribe", "asha", "nosuch"), "Known: ma_crossover."),
        (("subscribe", "nobody", "ma_crossover"), "There is no user 'nobody' in this group."),
        (("subscribe", "asha", "ma_crossover", "--shares", "1", "--risk", "1"), "One sizing at a time."),
        (("limits", "asha", "max_positions"), "'max_positions' is no limit."),
        (("edit", "asha", "--algo-id", "a/1"), "algo_id 'a/1' must be"),
        (("edit", "asha"), "Nothing is to be changed."),
        (("unsubscribe", "asha", "ma_crossover"), "not subscribed"),
        (("show", "nobody"), "Known: asha."),
    ):
        done = trading("users", *words, home=tmp_path)
        assert done.returncode == 2
        assert said in done.stderr


def test_mode_says_where_orders_go(tmp_path: Path, trading: Trading) -> None:
    paper, rehearsal = tmp_path / "paper", {"home": tmp_path / "sandbox", "PAPER_TRADING": "false"}
    assert told(trading("users", "add", "asha", "--json", home=paper))["mode"] == "paper"
    shadow = told(trading("users", "edit", "asha", "--mode", "shadow", "--json", home=paper))
    assert (shadow["mode"], shadow["broker"]) == ("shadow", "shadow")
    listed = json.loads(trading("users", "--json", home=paper).stdout)
    assert (listed["user_id"], listed["mode"]) == ("asha", "shadow")
    assert "shadow" in trading("users", home=paper).stdout
    assert told(trading("users", "add", "asha", "--json", **rehearsal))["mode"] == "sandbox"
    again = trading("users", "edit", "asha", "--mode", "sandbox", "--json", **rehearsal)
    assert told(again)["broker"] == "angel_one"
    for words, code, said in (
        (("--mode", "live"), 3, "are of paper; a live user does not belong there."),
        (("--mode", "sandbox"), 2, "are of paper"),
        (("--mode", "other"), 2, "There is no mode 'other'."),
        (("--mode", "paper", "--broker", "paper"), 2, "--mode and --broker say the same."),
    ):
        done = trading("users", "edit", "asha", *words, home=paper)
        assert (done.returncode, said in done.stderr) == (code, True), done.stderr


def test_users_go_from_one_installation_to_another_by_a_file(tmp_path: Path, trading: Trading) -> None:
    one, two, file = tmp_path / "one", tmp_path / "two", tmp_path / "users.json"
    trading("users", "add", "asha", "--family", "rao", "--algo-id", "A-1", home=one)
    trading("users", "subscribe", "asha", "ma_crossover", "--shares", "7", home=one)
    trading("users", "export", "--out", str(file), home=one)
    done = trading("users", "import", str(file), home=two)
    assert (done.returncode, done.stdout.splitlines()[0]) == (2, "asha: new")
    assert "Nobody is there to confirm" in done.stderr
    assert trading("users", "import", str(file), "--yes", home=two).returncode == 0
    assert trading("users", "export", home=two).stdout == trading("users", "export", home=one).stdout
    assert trading("users", "import", str(file), home=two).stdout == "Nothing would change.\n"
    file.write_text(file.read_text().replace('"max_positions": 3', '"max_positions": 4'))
    assert trading("users", "import", str(file), "--yes", home=two).stdout == "asha: max_positions 3 → 4\n"
    file.write_text('{"users": [{"user_id": "x", "pin": "1234"}]}')
    done = trading("users", "import", str(file), "--yes", home=two)
    assert done.returncode == 2
    assert "pin" in done.stderr


def test_user_who_comes_during_a_rehearsal_has_an_account_of_its_sandbox(
    tmp_path: Path, trading: Trading, started: Callable[..., subprocess.Popen[str]]
) -> None:
    run = started("run", "--speed", "600", home=tmp_path, PAPER_TRADING="false")
    assert run.stdout is not None and run.stdout.readline().startswith("SANDBOX")
    added = told(trading("users", "add", "asha", "--json", home=tmp_path, PAPER_TRADING="false"))
    assert added["broker"] == "angel_one"
    rows = trading("accounts", "--json", home=tmp_path).stdout.splitlines()
    assert [json.loads(row)["account"] for row in rows if "asha" in row] == ["S0****04"]


LIVE = {"PAPER_TRADING": "false", "SECRETS_KEY": "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="}


def test_live_folder_begins_with_the_word_that_alone_makes_live(tmp_path: Path, trading: Trading) -> None:
    home = {"home": tmp_path / "live", **LIVE}
    made = told(trading("users", "add", "asha", "--mode", "live", "--json", **home))
    assert (made["mode"], made["broker"]) == ("live", "angel_one")
    assert told(trading("users", "add", "bala", "--json", **home))["mode"] == "paper"
    for words in (("--broker", "angel_one"), ("--mode", "sandbox")):
        for command in (("add", "chitra"), ("edit", "bala")):
            done = trading("users", *command, *words, **home)
            assert (done.returncode, "are of live" in done.stderr) == (3, True), done.stderr
    assert told(trading("users", "edit", "bala", "--mode", "live", "--json", **home))["mode"] == "live"
    modes = [json.loads(line)["mode"] for line in trading("users", "--json", **home).stdout.splitlines()]
    assert modes == ["live", "live"], "and no demo users"


def test_file_makes_nobody_live(tmp_path: Path, trading: Trading) -> None:
    rehearsal = {"home": tmp_path / "sandbox", "PAPER_TRADING": "false"}
    live = {"home": tmp_path / "live", **LIVE}
    file = tmp_path / "users.json"
    for name in ("asha", "bala"):
        assert told(trading("users", "add", name, "--json", **rehearsal))["broker"] == "angel_one"
    assert trading("users", "export", "--out", str(file), **rehearsal).returncode == 0
    assert trading("users", "add", "asha", "--mode", "live", **live).returncode == 0
    done = trading("users", "import", str(file), "--yes", **live)
    assert done.returncode == 0, done.stderr
    assert "bala: comes on paper; `trading users edit bala --mode live` makes them live." in done.stdout
    rows = [json.loads(line) for line in trading("users", "--json", **live).stdout.splitlines()]
    assert {row["user_id"]: row["mode"] for row in rows} == {"asha": "live", "bala": "paper"}
    file.write_text(file.read_text().replace('"angel_one"', '"paper"'))
    assert trading("users", "import", str(file), "--yes", **live).stdout == "asha: mode live → paper\n"


def test_live_and_rehearsal_keep_out_of_each_others_folder(tmp_path: Path, trading: Trading) -> None:
    live = {"home": tmp_path / "live", **LIVE}
    trading("users", "add", "asha", "--mode", "live", **live)
    strategies = tmp_path / "strategies.toml"
    strategies.write_text('[[strategy]]\nstrategy_id = "s"\nstrategy_type = "rsi"\nsymbols = ["TCS"]\n')
    done = trading("run", "--for", "1", **live)  # no account is set: a sandbox of our own would serve
    assert (done.returncode, "live" in done.stderr) == (3, True), done.stderr
    done = trading("run", "--for", "1", home=tmp_path / "live")
    assert (done.returncode, "live" in done.stderr) == (3, True), done.stderr
