"""Users with accounts of their own: connected, armed, told, and no secret of theirs anywhere."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyotp
import pytest
from cryptography.fernet import Fernet

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
    assert trading("users", "add", "asha", home=home, **place).returncode == 0
    wrong = re.sub("(?m)^ANGEL_ONE_PASSWORD=.*", "ANGEL_ONE_PASSWORD=0000", file.read_text())
    file.write_text(wrong)
    set_ = ("users", "credentials", "set", "asha", "--from-file", str(file))
    assert trading(*set_, home=home, **place).returncode == 0
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
