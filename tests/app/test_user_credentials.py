"""Users with accounts of their own: connected, armed, told, and no secret of theirs anywhere."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import pwd
import re
import subprocess
import threading
import time
import urllib.request
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyotp
import pytest
from cryptography.fernet import Fernet

from shared.calendar import IST
from tests.app.conftest import COMMAND, environment

Trading = Callable[..., subprocess.CompletedProcess[str]]
Started = Callable[..., subprocess.Popen[str]]

PATIENCE_S = 30.0


def given(account: dict[str, str]) -> dict[str, str]:
    """What `.env`, or a file of a user's credentials, says of an account of a sandbox."""
    return {
        "ANGEL_ONE_API_KEY": account["api_key"],
        "ANGEL_ONE_CLIENT_CODE": account["client_code"],
        "ANGEL_ONE_PASSWORD": account["pin"],
        "ANGEL_ONE_TOTP_SECRET": account["totp_secret"],
    }


@pytest.fixture
def place(sandbox: dict[str, Any]) -> dict[str, str]:
    """Settings of an installation beside the sandbox: its first account is the environment's."""
    return {
        **given(sandbox["accounts"][0]),
        "ANGEL_ONE_BASE_URL": sandbox["base_url"],
        "ANGEL_ONE_FEED_URL": sandbox["feed_url"],
        "ANGEL_ONE_ORDER_FEED_URL": sandbox["order_feed_url"],
        "PAPER_TRADING": "false",
        "SECRETS_KEY": Fernet.generate_key().decode(),
    }


@pytest.fixture
def file(sandbox: dict[str, Any], tmp_path: Path) -> Path:
    """The second account's credentials, for its owner alone."""
    path = tmp_path / "asha.env"
    path.write_text("".join(f"{name}={value}\n" for name, value in given(sandbox["accounts"][1]).items()))
    path.chmod(0o600)
    return path


def accounts(trading: Trading, home: Path, place: dict[str, str]) -> dict[str, dict[str, Any]]:
    done = trading("accounts", "--json", home=home, **place)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    return {row["user_id"]: row for row in rows}


def started_run(started: Started, home: Path, place: dict[str, str]) -> list[str]:
    """Start the system; return what it says until its first line."""
    run = started("run", home=home, **place)
    assert run.stdout is not None
    said = []
    for line in run.stdout:
        said.append(line)
        if line.startswith("SANDBOX"):
            break
    return said


def test_user_with_credentials_has_a_connection_of_their_own_and_no_secret_shows(
    tmp_path: Path, trading: Trading, started: Started, place: dict[str, str], file: Path,
    sandbox: dict[str, Any],
) -> None:  # fmt: skip
    home, said = tmp_path / "var", []

    def do(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
        done = trading(*words, home=home, **place, **more)
        said.append(done.stdout + done.stderr)
        return done

    assert do("users", "add", "asha").returncode == 0
    assert do("users", "credentials", "set", "asha", "--from-file", str(file)).returncode == 0
    assert do("users", "credentials", "check", "asha").returncode == 0
    shown = json.loads(do("users", "credentials", "show", "asha", "--json").stdout)
    assert (shown["client_code"], shown["pin"], shown["totp"]) == ("S0****02", "set", "kept")
    said += started_run(started, home, place)
    assert set(accounts(trading, home, place)) == {"asha"}, "nobody is user_001 here: it is the data account"
    armed = do("arm", "--yes", "--json")
    assert [json.loads(line)["state"] for line in armed.stdout.splitlines()] == ["ARMED"]
    late = tmp_path / "late.env"
    late.write_text(file.read_text())
    late.chmod(0o600)
    assert do("users", "add", "bharat").returncode == 0
    taken = do("users", "credentials", "set", "bharat", "--from-file", str(late))
    assert (taken.returncode, "asha has the account S0****02 already" in taken.stderr) == (2, True)
    assert do("doctor").returncode in (0, 1)
    canaries = [
        value
        for account in sandbox["accounts"][:2]
        for value in (account["api_key"], account["totp_secret"])
    ]
    kept = [path for path in home.rglob("*") if path.is_file() and not path.is_symlink()]
    assert home / "credentials" / "asha.sealed" in kept
    texts = [path.read_bytes() for path in kept] + ["".join(said).encode(), command_lines()]
    for canary in canaries:
        assert not any(canary.encode() in text for text in texts)
    pins = [account["pin"].encode() for account in sandbox["accounts"][:2]]
    spoken = "".join(said).encode() + (home / "logs" / "trading.log").read_bytes()
    assert not any(b'"' + pin + b'"' in spoken or b"=" + pin in spoken for pin in pins)


def endpoints(sandbox: dict[str, Any]) -> dict[str, int]:
    """Return how often each endpoint of the sandbox was called."""
    with urllib.request.urlopen(f"{sandbox['base_url']}/sandbox/ledger", timeout=5) as reply:
        found: dict[str, int] = json.load(reply)["counts"]["by_endpoint"]
    return found


def wrong_pin(file: Path, folder: Path) -> Path:
    """Return a file with the same credentials but a PIN that is not theirs."""
    made = folder / "wrong.env"
    made.write_text(re.sub("(?m)^ANGEL_ONE_PASSWORD=.*", "ANGEL_ONE_PASSWORD=0000", file.read_text()))
    made.chmod(0o600)
    return made


@pytest.mark.timeout(6 * PATIENCE_S)
def test_credentials_that_change_while_it_runs_count_at_once_and_the_audit_shows_it(
    tmp_path: Path, trading: Trading, started: Started, place: dict[str, str], file: Path,
    sandbox: dict[str, Any],
) -> None:  # fmt: skip
    home = tmp_path / "var"

    def do(*words: str) -> subprocess.CompletedProcess[str]:
        return trading(*words, home=home, **place)

    def kept(path: Path) -> subprocess.CompletedProcess[str]:
        return do("users", "credentials", "set", "asha", "--from-file", str(path))

    # A code counts once, and here one login follows another within its thirty seconds.
    switches = f"{sandbox['base_url']}/sandbox/switches"
    urllib.request.urlopen(switches, json.dumps({"totp_reuse": True}).encode(), timeout=5).close()
    assert do("users", "add", "asha").returncode == 0
    assert kept(wrong_pin(file, tmp_path)).returncode == 0
    started_run(started, home, place)
    assert accounts(trading, home, place)["asha"]["state"] == "OFF"
    assert "asha is connected" in kept(file).stdout, "a slip is mended without a restart"
    assert do("arm", "--user", "asha", "--yes").returncode == 0
    before = endpoints(sandbox)
    refused = kept(wrong_pin(file, tmp_path))
    assert (refused.returncode, "the running system does not go by that" in refused.stderr) == (1, True)
    assert accounts(trading, home, place)["asha"]["armed"], "the old session goes on"
    assert "asha is connected" in kept(file).stdout
    after = endpoints(sandbox)
    assert after["loginByPassword"] - before["loginByPassword"] >= 2
    assert after["logout"] - before.get("logout", 0) == 1, "the old session has ended"
    assert not accounts(trading, home, place)["asha"]["armed"]
    armed = do("arm", "--user", "asha", "--yes", "--json")
    assert json.loads(armed.stdout)["armed"]
    other = tmp_path / "other.env"
    other.write_text("".join(f"{k}={v}\n" for k, v in {**given(sandbox["accounts"][1]),
                     "ANGEL_ONE_CLIENT_CODE": "S0000099"}.items()))  # fmt: skip
    other.chmod(0o600)
    changed = kept(other)
    assert (changed.returncode, "another account's" in changed.stderr) == (1, True)
    removed = do("users", "credentials", "remove", "asha")
    assert (removed.returncode, "is not connected any more" in removed.stdout) == (0, True), removed
    assert not accounts(trading, home, place)["asha"]["connected"]
    assert endpoints(sandbox)["logout"] - after["logout"] == 1
    assert json.loads(do("verify", "--json").stdout)["findings"] == []
    extract = tmp_path / "audit.zip"
    assert do("audit", "export", "--out", str(extract)).returncode == 0
    assert do("audit", "check", str(extract)).returncode == 0
    with zipfile.ZipFile(extract) as pack:
        rows = list(csv.DictReader(io.StringIO(pack.read("credentials.csv").decode())))
        whole = b"".join(pack.read(name) for name in pack.namelist())
    assert [(row["user"], row["change"]) for row in rows] == [("asha", "set")] * 5 + [("asha", "removed")]
    assert {row["by"] for row in rows} == {pwd.getpwuid(os.getuid()).pw_name}
    for secret in (sandbox["accounts"][1]["api_key"], sandbox["accounts"][1]["totp_secret"]):
        assert secret.encode() not in whole
    today = datetime.now(UTC).astimezone(IST).date()
    assert do("replay-day", f"{today}").returncode == 0


def command_lines() -> bytes:
    """What `ps` shows of all processes, but for those of tests that hand a secret over in the environment."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                found.append((entry / "cmdline").read_bytes())
            except OSError:
                continue
    return b"\n".join(found)


def test_user_who_comes_while_it_runs_is_connected_at_once(
    tmp_path: Path, trading: Trading, started: Started, place: dict[str, str], file: Path
) -> None:
    home = tmp_path / "var"
    started_run(started, home, place)
    assert "asha" not in accounts(trading, home, place)
    assert trading("users", "add", "asha", home=home, **place).returncode == 0
    done = trading("users", "credentials", "set", "asha", "--from-file", str(file), home=home, **place)
    assert done.returncode == 0
    assert "asha is connected" in done.stdout
    assert accounts(trading, home, place)["asha"]["account"] == "S0****02"
    armed = trading("arm", "--user", "asha", "--yes", "--json", home=home, **place)
    assert json.loads(armed.stdout)["armed"]


def test_account_that_cannot_log_in_holds_up_nobody_else(
    tmp_path: Path, trading: Trading, started: Started, place: dict[str, str], file: Path
) -> None:
    home = tmp_path / "var"
    assert trading("users", "add", "asha", "--mode", "shadow", home=home, **place).returncode == 0
    wrong = re.sub("(?m)^ANGEL_ONE_PASSWORD=.*", "ANGEL_ONE_PASSWORD=0000", file.read_text())
    file.write_text(wrong)
    set_ = ("users", "credentials", "set", "asha", "--from-file", str(file))
    done = trading(*set_, home=home, **place)
    assert (done.returncode, "asha is on shadow: the account is read" in done.stdout) == (0, True)
    assert trading("users", "edit", "asha", "--mode", "sandbox", home=home, **place).returncode == 0
    checked = trading("users", "credentials", "check", "asha", home=home, **place)
    assert (checked.returncode, "refuses the login of asha" in checked.stdout) == (1, True)
    said = "".join(started_run(started, home, place))
    assert "trading: asha: Angel One refuses the login of asha" in said
    state = accounts(trading, home, place)["asha"]
    assert (state["state"], state["needs_code"]) == ("OFF", False)


def test_code_is_asked_for_where_no_secret_is_kept(
    tmp_path: Path, trading: Trading, started: Started, place: dict[str, str], file: Path,
    sandbox: dict[str, Any],
) -> None:  # fmt: skip
    home = tmp_path / "var"
    secret = sandbox["accounts"][1]["totp_secret"]
    assert trading("users", "add", "asha", home=home, **place).returncode == 0
    words = ("users", "credentials", "set", "asha", "--from-file", str(file), "--ask-totp")
    assert trading(*words, home=home, **place).returncode == 0
    said = "".join(started_run(started, home, place))
    assert "The one-time code of asha is needed." in said
    assert accounts(trading, home, place)["asha"]["needs_code"]
    nobody = trading("arm", "--yes", home=home, **place)
    assert (nobody.returncode, "nobody is there to type it" in nobody.stderr) == (2, True)
    code, shown = at_terminal("000000", "arm", "--yes", home=home, **place)
    assert code == 1, shown
    assert "Angel One refuses the login of asha" in shown
    assert "Not armed: asha." in shown
    code, shown = at_terminal(pyotp.TOTP(secret).now(), "arm", "--yes", "--json", home=home, **place)
    assert code == 0, shown
    assert "One-time code of asha (S0****02)" in shown
    assert pyotp.TOTP(secret).now() not in shown, "typed without echo"
    state = accounts(trading, home, place)["asha"]
    assert (state["armed"], state["needs_code"]) == (True, False)


def test_run_at_a_terminal_asks_for_the_code(
    tmp_path: Path, trading: Trading, place: dict[str, str], file: Path, sandbox: dict[str, Any]
) -> None:
    home = tmp_path / "var"
    code = pyotp.TOTP(sandbox["accounts"][1]["totp_secret"]).now()
    trading("users", "add", "asha", home=home, **place)
    trading(
        "users", "credentials", "set", "asha", "--from-file", str(file), "--ask-totp", home=home, **place
    )
    ended, shown = at_terminal(code, "run", "--for", "3", home=home, **place)
    assert (ended, "One-time code of asha (S0****02), Enter where" in shown) == (0, True), shown
    assert "is needed" not in shown
    assert code not in shown


def test_run_whose_data_account_waits_for_its_code_starts_and_reads_the_market_once_it_is_typed(
    tmp_path: Path, trading: Trading, started: Started, place: dict[str, str], file: Path,
    sandbox: dict[str, Any],
) -> None:  # fmt: skip
    home = tmp_path / "var"
    own = {name: value for name, value in place.items() if name not in given(sandbox["accounts"][0])}
    trading("users", "add", "asha", home=home, **place)
    words = ("users", "credentials", "set", "asha", "--from-file", str(file), "--ask-totp")
    assert trading(*words, home=home, **own).returncode == 0
    run = started("run", home=home, **own)
    assert run.stdout is not None
    said = [next(run.stdout)]
    while "no market data" not in said[-1]:
        said.append(next(run.stdout))
    assert "The one-time code of asha is needed." in "".join(said)
    first = next(line for line in said if "SANDBOX" in line)
    assert f"arm --yes`), state {home}: it waits for a market." in first
    state = accounts(trading, home, own)["asha"]
    assert (state["state"], "`trading arm --user asha`" in state["notes"][0]) == ("OFF", True)
    code = pyotp.TOTP(sandbox["accounts"][1]["totp_secret"]).now()
    ended, shown = at_terminal(code, "arm", "--user", "asha", "--yes", "--json", home=home, **own)
    assert ended == 0, shown
    assert next(line for line in run.stdout if line.startswith("SANDBOX")), "the market is read"
    assert accounts(trading, home, own)["asha"]["state"] == "ARMED"


def test_credentials_that_cannot_be_read_are_told_and_hold_up_nobody_else(
    tmp_path: Path, trading: Trading, started: Started, place: dict[str, str], file: Path
) -> None:
    home = tmp_path / "var"
    for user_id in ("user_001", "asha", "bala"):
        assert trading("users", "add", user_id, home=home, **place).returncode == 0
    set_ = ("users", "credentials", "set", "asha", "--from-file", str(file))
    assert trading(*set_, home=home, **place).returncode == 0
    (sealed,) = (home / "credentials").glob("asha.sealed")
    sealed.write_bytes(b"damaged")
    said = "".join(started_run(started, home, place))
    assert "trading: asha: The credentials of asha in" in said, said
    assert "trading: bala: no account at angel_one is connected: no credentials are kept" in said
    found = accounts(trading, home, place)
    assert {name: each["connected"] for name, each in found.items()} == {
        "user_001": True, "asha": False, "bala": False
    }  # fmt: skip
    assert "cannot be read" in found["asha"]["notes"][0]
    armed = trading("arm", "--yes", home=home, **place)
    assert (armed.returncode, "no credentials are kept" in armed.stdout) == (0, True), armed
    looked = trading("doctor", "--json", home=home, **place).stdout.splitlines()
    bad = {each["name"]: each["what"] for each in map(json.loads, looked) if not each["ok"]}
    assert bad["account of bala"] == "none to trade with: no credentials are kept"
    assert "cannot be read" in bad["account of asha"]


def at_terminal(typed: str, *words: str, home: Path, **more: str) -> tuple[int, str]:
    """Run the command line at a terminal where *typed* is typed once it asks; return exit code and output."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, *words], env=environment(home, **more), stdin=theirs, stdout=theirs, stderr=theirs,
        start_new_session=True, close_fds=True, cwd=home,
    )  # fmt: skip
    os.close(theirs)
    shown, asked, end = b"", False, time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        try:
            part = os.read(ours, 4096)
        except OSError:  # the other side is closed
            break
        if not part:
            break
        shown += part
        if not asked and b": " in shown and b"One-time code" in shown:
            asked = True
            threading.Event().wait(0.3)  # getpass turns the echo off just before it reads
            os.write(ours, typed.encode() + b"\n")
    os.close(ours)
    return process.wait(PATIENCE_S), shown.decode()
