from __future__ import annotations

import asyncio
import gzip
import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import apsw
import pytest
from typer.main import get_command
from typer.testing import CliRunner, Result

from app.cli import app
from order.manager import OrderManager
from order.schema import FILE_NAME
from shared.settings import Settings
from shared.store.lock import FileLock
from strategy.outbox import DATABASE_FILE

Trading = Callable[..., subprocess.CompletedProcess[str]]
LISTINGS = ("signals", "orders", "fills", "positions", "users")
BARS = "ts,open,high,low,close,volume\n2021-04-12 09:15:00,100,102,99,101,10\n2021-04-12 09:16:00,1,2,1,1,1\n"


def invoke(*arguments: str, home: Path, **more: str) -> Result:
    """Run the command line in this process; an exception of ours must have become a message."""
    result = CliRunner().invoke(app, list(arguments), env={"TRADING_HOME": str(home), **more})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def message(result: Result) -> str:
    """Return the one message on standard error, with its remedy."""
    lines = [line for line in result.stderr.splitlines() if not line.startswith(" ")]
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("trading: ")
    assert "Traceback" not in result.output
    return result.stderr


@pytest.fixture
def used(tmp_path: Path, traded: Path) -> Path:
    return Path(shutil.copytree(traded, tmp_path / "used", ignore=shutil.ignore_patterns("*.sock")))


@pytest.mark.parametrize("name", LISTINGS)
def test_listing_as_json_is_an_object_per_line(name: str, traded: Path) -> None:
    result = invoke(name, "--json", home=traded)
    assert result.exit_code == 0
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert rows
    assert all(isinstance(row, dict) for row in rows)


def test_what_is_open_in_another_market_is_told(traded: Path, tmp_path: Path) -> None:
    home = Path(shutil.copytree(traded, tmp_path / "used", ignore=shutil.ignore_patterns("*.sock")))
    latest = invoke("positions", home=home)
    assert "another market" not in latest.stdout

    async def by_hand() -> None:
        async with OrderManager(settings=Settings.load(env_file=None, home=home)) as manager:
            order = {"user_id": "user_001", "symbol": "TCS", "side": "BUY", "quantity": 5, "price": 3000.0}
            await manager.execute_order(order)

    asyncio.run(by_hand())
    (run,) = {json.loads(line)["run"] for line in invoke("signals", "--json", home=home).stdout.splitlines()}
    assert "another market" not in invoke("positions", home=home).stdout, "all is closed there"
    shut = "SELECT no FROM names WHERE name = 'manual'"
    sql = apsw.Connection(str(home / FILE_NAME))
    sql.execute(f"UPDATE books SET quantity = 3 WHERE user_no = 1 AND strategy_no NOT IN ({shut})")
    sql.close()
    for command in ("positions", "profit"):
        told = invoke(command, home=home).stdout.splitlines()[-1]
        assert told == f"1 more open in another market: --run {run}"
    assert "more open" not in invoke("positions", "--json", home=home).stdout
    assert "more open" not in invoke("positions", "--all", home=home).stdout


def test_json_of_a_fill_has_exact_decimals_and_utc_instants(traded: Path) -> None:
    row = json.loads(invoke("fills", "-n", "1", "--json", home=traded).stdout)
    assert isinstance(row["price"], str)
    assert Decimal(row["price"]) > 0
    assert datetime.fromisoformat(row["at"]).utcoffset() == timedelta(0)


def test_strategies_need_no_store(tmp_path: Path) -> None:
    row = json.loads(invoke("strategies", "--json", home=tmp_path / "none").stdout)
    assert row["strategy_id"] == "ma_crossover"
    assert row["parameters"]["long_window"] == 50
    assert row["parameters"]["allow_short"] is False, "a default that the configuration does not name"


def test_limit_and_user_choose_orders(traded: Path) -> None:
    result = invoke("orders", "--all", "-n", "2", "--user", "user_002", "--json", home=traded)
    assert [json.loads(line)["user_id"] for line in result.stdout.splitlines()] == ["user_002"] * 2


def test_positions_are_valued_at_the_latest_price(traded: Path) -> None:
    row = json.loads(invoke("positions", "--json", home=traded).stdout.splitlines()[0])
    assert Decimal(row["mark"]) > 1900


def test_verify_of_a_clean_store_is_one_object_and_exit_0(traded: Path) -> None:
    result = invoke("verify", "--json", home=traded)
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert found["signals"] * 3 == found["intents"] > 0
    assert (found["lost"], found["duplicate"], found["unexplained"]) == (0, 0, 0)


def test_verify_of_books_that_do_not_add_up_is_exit_1(used: Path) -> None:
    connection = apsw.Connection(str(used / FILE_NAME))
    connection.execute("DELETE FROM fills WHERE fill_no = (SELECT max(fill_no) FROM fills)")
    connection.close()
    assert invoke("verify", home=used).exit_code == 1


@pytest.mark.parametrize("name", [*LISTINGS, "verify"])
def test_listing_without_a_store_says_how_to_make_one(name: str, tmp_path: Path) -> None:
    result = invoke(name, home=tmp_path / "none")
    assert result.exit_code == 1
    assert "trading run" in message(result)


@pytest.mark.parametrize("name", ["orders", "fills", "positions"])
def test_unknown_user_is_named_with_the_known_ones(name: str, traded: Path) -> None:
    result = invoke(name, "--user", "nobody", home=traded)
    assert result.exit_code == 2
    assert "'nobody'" in message(result)
    assert "user_001, user_002, user_003" in result.stderr


def test_unknown_market_is_refused(traded: Path) -> None:
    result = invoke("orders", "--run", "replay-0", home=traded)
    assert result.exit_code == 2
    assert "'replay-0'" in message(result)


@pytest.mark.parametrize(
    ("name", "content", "code", "said"),
    [
        ("RELIANCE.csv", None, 1, "No such file"),
        ("RELIANCE.csv", b"", 1, "empty"),
        ("RELIANCE.csv", b"\xff\x00\x17" * 99, 1, "not a text file"),
        ("RELIANCE.csv.gz", gzip.compress(BARS.encode())[:-9], 1, "gzip file is damaged"),
        ("RELIANCE.csv", b"a,b,c\n1,2,3\n", 1, "no column for time"),
        ("RELIANCE.csv", BARS.encode() + b"x,y,z,1,2,3\n", 1, "line 4"),
        ("NOSUCH.csv", BARS.encode(), 2, "Unknown symbol 'NOSUCH'"),
        ("SBIN.csv", BARS.encode(), 2, "No strategy looks at SBIN"),
    ],
    ids=["missing", "empty", "binary", "cut short", "no header", "bad row", "unknown", "unwanted"],
)
def test_replay_file_that_cannot_be_used_is_one_message(
    name: str, content: bytes | None, code: int, said: str, tmp_path: Path, trading: Trading
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    done = trading("run", "--replay", str(path), "--until-end", home=tmp_path / "var")
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert done.stderr.startswith("trading: ")
    assert "→" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--speed", "fast"], "--speed"),
        (["--speed", "max"], "--replay"),
        (["--until-end"], "--until-end"),
        (["--again"], "--again"),
        (["file.csv"], "file.csv"),
    ],
)
def test_options_that_make_no_sense_are_refused(arguments: list[str], said: str, tmp_path: Path) -> None:
    result = invoke("run", *arguments, home=tmp_path / "var")
    assert result.exit_code == 2
    assert said in message(result)


def test_several_wrong_settings_are_told_at_once(tmp_path: Path) -> None:
    Path(".env").write_text("PAPER_TRADINGG=true\n")
    result = invoke("run", home=tmp_path / "var", PAPER_PROFILE="fancy", SIM_SEED="-1")
    assert result.exit_code == 2
    for name in ("PAPER_TRADINGG", "PAPER_PROFILE", "SIM_SEED"):
        assert name in message(result)


def test_credentials_go_to_no_host_but_the_brokers(tmp_path: Path) -> None:
    account = {"API_KEY": "k3y", "CLIENT_CODE": "A123456", "PASSWORD": "1234", "TOTP_SECRET": "JBSWY3DPEHPK"}
    given = {f"ANGEL_ONE_{name}": value for name, value in account.items()}
    names = {"BASE_URL": "https", "FEED_URL": "wss", "ORDER_FEED_URL": "wss"}
    given |= {f"ANGEL_ONE_{name}": f"{scheme}://broker.example" for name, scheme in names.items()}
    for paper in ("true", "false"):
        result = invoke("run", home=tmp_path / "var", PAPER_TRADING=paper, **given)
        assert result.exit_code == 3
        assert "ANGEL_ONE_BASE_URL: broker.example is neither this machine nor" in message(result)
    assert not (tmp_path / "var").exists()


def test_store_of_another_environment_is_refused_by_safety(used: Path, trading: Trading) -> None:
    for name in (FILE_NAME, DATABASE_FILE):
        connection = apsw.Connection(str(used / name))
        connection.execute("UPDATE meta SET value = 'live' WHERE key = 'environment'")
        connection.close()
    done = trading("run", "--for", "1", home=used)
    assert done.returncode == 3
    assert "'live'" in done.stderr
    assert "TRADING_HOME" in done.stderr
    assert "`trading users credentials set USER`" in done.stderr, "what a live folder lacks"
    assert "`trading users credentials set USER`" in trading("doctor", home=used).stdout


def test_store_of_a_newer_version_is_not_touched(used: Path) -> None:
    connection = apsw.Connection(str(used / FILE_NAME))
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    result = invoke("orders", home=used)
    assert result.exit_code == 1
    assert "newer version" in message(result)


def test_second_run_on_one_state_names_the_first(used: Path, trading: Trading) -> None:
    lock = FileLock(used / "order.lock")
    lock.acquire()
    done = trading("run", "--for", "1", home=used)
    lock.release()
    assert done.returncode == 1
    assert "is held by pid" in done.stderr
    assert "TRADING_HOME" in done.stderr


def test_unreachable_redis_is_no_reason_to_use_another(tmp_path: Path, trading: Trading) -> None:
    done = trading("run", "--for", "1", home=tmp_path / "var", REDIS_URL=f"unix://{tmp_path}/nobody.sock")
    assert done.returncode == 1
    assert "REDIS_URL" in done.stderr
    assert not (tmp_path / "var" / "valkey").exists()


def test_state_folder_that_cannot_be_made_is_a_message(tmp_path: Path, trading: Trading) -> None:
    (tmp_path / "file").write_text("")
    done = trading("run", "--for", "1", home=tmp_path / "file" / "var")
    assert done.returncode == 1
    assert "Not a directory" in done.stderr
    assert "Traceback" not in done.stderr


def test_subscriber_of_a_group_without_users_is_refused(used: Path, trading: Trading) -> None:
    done = trading("subscriber", "--group", "nobody", "--for", "1", home=used)
    assert done.returncode == 2
    assert "'nobody'" in done.stderr
    assert json.loads(invoke("verify", "--json", home=used).stdout)["pending"] == 0


def test_doctor_of_a_broken_env_is_exit_1(tmp_path: Path) -> None:
    Path(".env").write_text("NOPE=1\n")
    assert invoke("doctor", "--json", home=tmp_path / "var").exit_code == 1


def test_second_replay_of_the_same_data_adds_nothing_and_again_is_a_new_run(
    used: Path, wave: Path, trading: Trading
) -> None:
    arguments = ("run", "--replay", str(wave), "--until-end", "--json")
    repeated = json.loads(trading(*arguments, home=used).stdout)
    assert (repeated["signals"], repeated["orders"]) == (0, 0)
    again = json.loads(trading(*arguments, "--again", home=used).stdout)
    assert again["run"] == repeated["run"] + ".1"
    assert again["signals"] == repeated["total_signals"] > 0


def test_listings_work_beside_a_running_system(
    tmp_path: Path, started: Callable[..., subprocess.Popen[str]]
) -> None:
    home = tmp_path / "var"
    process = started("run", "--speed", "600", home=home)
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.readline()
    assert all(invoke(name, home=home).exit_code == 0 for name in (*LISTINGS, "verify", "doctor"))


def test_every_option_of_every_command_is_explained() -> None:
    runner = CliRunner()
    for command in app.registered_commands:
        assert command.callback is not None
        name = command.name or command.callback.__name__
        lines = runner.invoke(app, [name, "--help"], env={"COLUMNS": "200"}).stdout.splitlines()
        options = [line.strip() for line in lines if line.strip().startswith("-")]
        assert options
        assert all("  " in line for line in options), f"{name}: {options}"


def test_no_setting_of_the_machine_reaches_these_tests() -> None:
    assert Settings.load().home == Path("var").absolute()


PROJECT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("page", ["README.md", "docs/from-paper-to-live.md", "docs/postgresql.md"])
def test_commands_that_a_page_names_exist_with_their_options(page: str) -> None:
    blocks = re.findall(r"^```\n(.*?)^```", (PROJECT / page).read_text(), re.DOTALL | re.MULTILINE)
    lines = [line.partition("#")[0] for block in blocks for line in block.splitlines()]
    commands = [each.strip() for line in lines for each in line.split("&&")]
    named = [each for each in commands if each.startswith("trading ")]
    assert named
    for words in named:
        command: Any = get_command(app)
        given = shlex.split(words)[1:]
        while given and given[0] in getattr(command, "commands", {}):
            command, given = command.commands[given[0]], given[1:]
        assert not (hasattr(command, "commands") and given and not given[0].startswith("-")), words
        command.make_context(words, given)  # raises where an option is none
