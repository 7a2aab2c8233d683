"""The sandbox as a process: what it prints, how it starts and how it ends."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.request import urlopen

import msgspec
import pytest
from typer.testing import CliRunner

from app.cli import app
from sandbox.faults import Fault, Kind, Target
from sandbox.hub import Hub
from sandbox.server import Options, serve
from shared.clock import ManualClock
from shared.errors import ConfigurationError, TradingError
from tests.sandbox.box import RMS, box
from tests.sandbox.floor import recording

COMMAND = [sys.executable, "-c", "from app.cli import main; main()", "sandbox"]
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    running: list[subprocess.Popen[str]] = []

    def begin(*arguments: str, parent: bool = False) -> subprocess.Popen[str]:
        made = subprocess.Popen(
            [*COMMAND, *arguments], cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            stdin=subprocess.PIPE if parent else subprocess.DEVNULL,
        )  # fmt: skip
        running.append(made)
        return made

    yield begin
    for each in running:
        if each.poll() is None:
            each.kill()
        each.communicate()


@pytest.mark.parametrize(("flags", "apart"), [((), True), (("--one-day",), False), (("--speed", "9"), False)])
def test_days_of_the_command_line(start: Start, flags: tuple[str, ...], apart: bool) -> None:
    process = start("--port", "0", "--json", *flags)
    assert process.stdout is not None
    told = msgspec.json.decode(process.stdout.readline())
    with urlopen(f"{told['base_url']}/sandbox/info") as reply:
        assert msgspec.json.decode(reply.read())["day_books"] is apart


def test_json_is_one_line_with_addresses_and_accounts_and_sigterm_ends_it(start: Start) -> None:
    process = start("--port", "0", "--json", "--accounts", "5")
    assert process.stdout is not None
    told = msgspec.json.decode(process.stdout.readline())
    assert {"base_url", "feed_url", "order_feed_url", "accounts"} <= set(told)
    assert len(told["accounts"]) == 5
    assert all(set(each) == {"api_key", "client_code", "pin", "totp_secret"} for each in told["accounts"])
    assert len({each["client_code"] for each in told["accounts"]}) == 5
    assert all(len(each["totp_secret"]) * 5 >= 128 and len(each["pin"]) == 4 for each in told["accounts"])
    assert told["pid"] == process.pid
    with urlopen(f"{told['base_url']}/sandbox/info") as reply:
        assert msgspec.json.decode(reply.read())["market"] == told["market"]
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=10)
    assert (process.returncode, out, err) == (0, "", "")


def test_words_tell_what_to_put_into_the_settings(start: Start) -> None:
    process = start("--port", "0")
    assert process.stdout is not None
    said = ""
    while "Ctrl-C" not in said:
        line = process.stdout.readline()
        assert line, said
        said += line
    for name in (
        "BASE_URL",
        "FEED_URL",
        "ORDER_FEED_URL",
        "API_KEY",
        "CLIENT_CODE",
        "PASSWORD",
        "TOTP_SECRET",
    ):
        assert f"ANGEL_ONE_{name}=" in said
    assert "/sandbox/ledger" in said
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 0


def test_it_ends_with_its_parent_where_asked_to(start: Start) -> None:
    process = start("--port", "0", "--json", "--stop-with-parent", parent=True)
    assert process.stdout is not None
    assert process.stdin is not None
    process.stdout.readline()
    assert process.poll() is None
    process.stdin.close()
    process.stdin = None
    assert process.wait(10) == 0


@pytest.mark.parametrize(("arguments", "words"), [
    (["--switch", "nonsense=1"], "no switch nonsense"), (["--switch", "robo"], "NAME=VALUE"),
    (["--switch", "market_policy=maybe"], "market_policy"), (["--fault", "nonsense:1"], "KIND:PROBABILITY"),
    (["--faulty", "2"], "from 0 to 1"), (["--accounts", "0"], "accounts"), (["--speed", "0"], "speed"),
    (["--start-day", "tomorrow"], "YYYY-MM-DD"), (["--replay", "nowhere.csv"], "nowhere.csv"),
    (["nowhere.csv"], "without --replay"), (["--holding", "RELIANCE"], "SYMBOL:SHARES"),
    (["--holding", "NOSUCH:5"], "NOSUCH"), (["--port", "70000"], "65535"),
])  # fmt: skip
def test_mistake_on_the_command_line_is_told_and_nothing_is_served(
    arguments: list[str], words: str
) -> None:
    port = () if "--port" in arguments else ("--port", "0")
    result = CliRunner().invoke(app, ["sandbox", "--json", *port, *arguments])
    assert isinstance(result.exception, SystemExit)  # an error of ours has become a message
    assert result.exit_code in (1, 2)
    assert (result.stdout, "Traceback" in result.stderr) == ("", False)
    assert words in result.stderr


def test_options_reach_the_server(start: Start, tmp_path: Path) -> None:
    path = recording(tmp_path, [(0, 2000.0, 0)])
    process = start(
        "--port",
        "0",
        "--json",
        "--replay",
        str(path),
        "--fault",
        "html:0.5:getRMS:3",
        "--switch",
        "tag_limit=20",
        "--holding",
        "TCS:4",
        "--start-day",
        "2021-04-13",
        "--speed",
        "2",
    )
    assert process.stdout is not None
    root = msgspec.json.decode(process.stdout.readline())["base_url"]

    def get(path: str) -> dict[str, object]:
        with urlopen(root + path) as reply:
            return dict(msgspec.json.decode(reply.read()))

    info = get("/sandbox/info")
    assert info["speed"] == 2.0
    assert info["session_open_us"] == 1_618_285_500_000_000
    assert get("/sandbox/switches")["tag_limit"] == 20
    faults = get("/sandbox/faults")["faults"]
    assert isinstance(faults, list)
    assert [
        (each["kind"], each["probability"], each["seed"], each["target"]["endpoint"]) for each in faults
    ] == [("html", 0.5, 3, "getRMS")]


async def test_port_that_is_taken_is_told() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(TradingError, match="cannot be used"):
            async with serve(Options(port=taken.getsockname()[1]), ManualClock()):
                pass


async def test_options_that_make_no_sense_are_refused() -> None:
    for options in (Options(accounts=0), Options(speed=0.0), Options(speed=2_000.0)):
        with pytest.raises(ConfigurationError):
            async with serve(options, ManualClock()):
                pass


async def test_what_goes_wrong_in_the_body_comes_out_as_it_is() -> None:
    with pytest.raises(KeyError):
        async with box():
            raise KeyError("mine")


async def test_part_that_fails_ends_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    # A fault: the exchange's loop meets a full disk.
    def full(self: Hub) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        async with box() as sandbox:
            monkeypatch.setattr(Hub, "now", full)
            while True:
                await sandbox.send("GET", "/sandbox/address")


async def test_faults_of_the_options_are_at_work_from_the_start() -> None:
    async with box(faults=[Fault(Kind.HTML, target=Target("getRMS"))], login=False) as sandbox:
        await sandbox.login()
        assert b"Request Rejected" in (await sandbox.get(RMS)).raw
