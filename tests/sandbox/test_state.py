from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pyotp
import pytest

from sandbox.state import State
from shared.clock import ManualClock
from shared.errors import DataError, LockHeld
from tests.sandbox.box import CANCEL, LOGIN, MODIFY, MONDAY_NOON_US, PLACE, QUOTE, SECURE, box, until

GTT = f"{SECURE}gtt/v1/"
CONVERT = f"{SECURE}order/v1/convertPosition"


async def test_orders_positions_rules_and_clock_outlive_the_process(tmp_path: Path) -> None:
    path, clock = tmp_path / "state.jsonl", ManualClock(MONDAY_NOON_US)
    rule = {
        "tradingsymbol": "RELIANCE-EQ",
        "symboltoken": "2885",
        "exchange": "NSE",
        "transactiontype": "BUY",
        "producttype": "DELIVERY",
        "price": "1000",
        "qty": 1,
        "triggerprice": "1001",
    }
    move = {"tradingsymbol": "RELIANCE-EQ", "symboltoken": "2885", "exchange": "NSE", "quantity": 4,
            "oldproducttype": "INTRADAY", "newproducttype": "DELIVERY"}  # fmt: skip

    async def seen(sandbox: Any) -> dict[str, Any]:
        info = (await sandbox.send("GET", "/sandbox/info")).json
        ledger = await sandbox.ledger()
        listed = (await sandbox.post(f"{GTT}ruleList", {"status": ["FORALL"], "page": 1, "count": 9})).data
        positions = (await sandbox.get(f"{SECURE}order/v1/getPosition")).data
        names = ("producttype", "netqty", "buyqty", "buyamount")
        return {
            "market": info["market"], "day": info["session_open_us"], "orders": ledger["orders"],
            "tags": ledger["by_tag"], "rules": listed,
            "positions": [[row[name] for name in names] for row in positions],
        }  # fmt: skip

    async with box(clock=clock, state=path) as sandbox:
        bought = (await sandbox.place(price="2600.00", ordertag="bought")).data
        await sandbox.settled(bought["orderid"], "complete", "open")
        resting = (await sandbox.place(ordertag="resting")).data
        await sandbox.settled(resting["orderid"], "open")
        assert (await sandbox.post(CONVERT, move)).data is None
        assert (await sandbox.post(f"{GTT}createRule", rule)).data == {"id": "1"}
        before = await seen(sandbox)
    assert len(before["positions"]) == 2
    async with box(clock=clock, state=path) as sandbox:
        assert await seen(sandbox) == before
        # What rested still works, and no id comes twice.
        assert (await sandbox.post(CANCEL, {"variety": "NORMAL", "orderid": resting["orderid"]})).data
        await sandbox.settled(resting["orderid"], "cancelled")
        more = (await sandbox.place()).data
        assert more["orderid"] not in {bought["orderid"], resting["orderid"]}
        assert more["uniqueorderid"] not in {bought["uniqueorderid"], resting["uniqueorderid"]}
        assert (await sandbox.post(f"{GTT}createRule", rule)).data == {"id": "2"}


async def test_orders_of_clients_that_are_gone_are_kept_for_their_return(tmp_path: Path) -> None:
    path = tmp_path / "state.jsonl"
    async with box(state=path) as sandbox:
        await sandbox.login(2)
        third = (await sandbox.place(ordertag="third")).data["orderid"]
    async with box(state=path, accounts=1) as sandbox:
        assert (await sandbox.ledger())["by_tag"] == {}
        assert (await sandbox.place(ordertag="first")).data["orderid"] != third
    async with box(state=path) as sandbox:
        assert set((await sandbox.ledger())["by_tag"]) == {"third", "first"}


async def test_order_that_was_on_its_way_arrives_in_the_next_life(tmp_path: Path) -> None:
    path = tmp_path / "state.jsonl"
    async with box(state=path, latency_low_ms=60_000, latency_high_ms=60_000) as sandbox:
        orderid = (await sandbox.place()).data["orderid"]
        assert (await sandbox.book())[0]["status"] == "validation pending"
    async with box(state=path) as sandbox:
        await sandbox.settled(orderid, "open")


def test_two_sandboxes_do_not_share_a_state(tmp_path: Path) -> None:
    first = State(tmp_path / "state", seed=1, cash=1)
    with pytest.raises(LockHeld):
        State(tmp_path / "state", seed=1, cash=1)
    first.close()
    first.close()
    State(tmp_path / "state", seed=1, cash=1).close()


def test_line_cut_off_at_the_end_is_forgotten_and_one_in_the_middle_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "state"
    first = State(path, seed=3, cash=5)
    first.position(100, 7.5)
    first.close()
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"type":"clock","day":2')
    again = State(path, seed=9, cash=9)
    assert (again.market, again.seed, again.cash) == (first.market, 3, 5)
    assert again.clock is not None
    assert (again.clock.day, again.clock.second) == (100, 7.5)
    again.close()
    path.write_bytes(b"nonsense\xff\n" + whole)
    with pytest.raises(DataError, match="line 1"):
        State(path, seed=9, cash=9)


def test_lines_kept_together_are_written_at_once_and_in_their_order(tmp_path: Path) -> None:
    path = tmp_path / "state"
    kept = State(path, seed=1, cash=1)
    before = path.read_bytes()
    with kept.together():
        kept.position(1, 1.0)
        kept.position(2, 2.0)
        assert path.read_bytes() == before
    kept.position(3, 3.0)
    kept.close()
    days = [msgspec.json.decode(line)["day"] for line in path.read_bytes()[len(before):].splitlines()]
    assert days == [1, 2, 3]


def test_state_is_for_its_owner_only(tmp_path: Path) -> None:
    State(tmp_path / "deep" / "state", seed=1, cash=1).close()
    assert (tmp_path / "deep" / "state").stat().st_mode & 0o077 == 0


# -- a real process, killed -----------------------------------------------------------------------------


class Process:
    """`trading sandbox` with a state, to be killed and started anew."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.running: subprocess.Popen[str] | None = None

    def start(self, *more: str) -> dict[str, Any]:
        command = [
            sys.executable,
            "-c",
            "from app.cli import main; main()",
            "sandbox",
            "--port",
            "0",
            "--json",
        ]
        self.running = subprocess.Popen(
            [*command, "--state", str(self.folder / "state"), *more],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=self.folder,
        )  # fmt: skip
        assert self.running.stdout is not None
        told: dict[str, Any] = msgspec.json.decode(self.running.stdout.readline())
        return told

    def end(self, number: signal.Signals) -> int:
        assert self.running is not None
        self.running.send_signal(number)
        self.running.communicate(timeout=10)
        return self.running.returncode


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    made = Process(tmp_path)
    yield made
    if made.running is not None and made.running.poll() is None:
        made.end(signal.SIGKILL)


async def test_modify_and_cancel_in_flight_survive_a_kill(process: Process) -> None:
    told = process.start("--switch", "latency_low_ms=0", "--switch", "latency_high_ms=0")
    body = {"variety": "NORMAL", "tradingsymbol": "RELIANCE-EQ", "symboltoken": "2885", "ordertype": "LIMIT",
            "transactiontype": "BUY", "exchange": "NSE", "producttype": "INTRADAY", "duration": "DAY",
            "quantity": "5"}  # fmt: skip
    async with aiohttp.ClientSession(told["base_url"]) as http:
        head = await logged_in(http, told)
        asked = {"mode": "OHLC", "exchangeTokens": {"NSE": ["2885"]}}
        async with http.post(QUOTE, json=asked, headers=head) as reply:
            last = (await reply.json())["data"]["fetched"][0]["ltp"]
        low, lower = (f"{round(last * share):.2f}" for share in (0.95, 0.94))
        ids = []
        for tag in ("changed", "ended"):
            async with http.post(PLACE, json={**body, "price": low, "ordertag": tag}, headers=head) as reply:
                ids.append((await reply.json())["data"]["orderid"])

        async def resting() -> bool:
            async with http.get("/sandbox/ledger") as reply:
                return {row["status"] for row in (await reply.json())["orders"]} == {"open"}

        await until(resting)
        slow = {"latency_high_ms": 600_000, "latency_low_ms": 600_000}
        async with http.post("/sandbox/switches", json=slow) as reply:
            assert reply.status == 200
        change = {**body, "orderid": ids[0], "price": lower, "quantity": "3"}
        for path, wish in ((MODIFY, change), (CANCEL, {"variety": "NORMAL", "orderid": ids[1]})):
            async with http.post(path, json=wish, headers=head) as reply:
                assert (await reply.json())["status"] is True
    assert process.end(signal.SIGKILL) == -signal.SIGKILL
    told = process.start()
    async with aiohttp.ClientSession(told["base_url"]) as http:

        async def arrived() -> bool:
            async with http.get("/sandbox/ledger") as reply:
                first, second = (await reply.json())["orders"]
            changed = (f"{first['price']:.2f}", first["quantity"], first["status"])
            return (changed, second["status"]) == ((lower, "3", "open"), "cancelled")

        await until(arrived)
    assert process.end(signal.SIGTERM) == 0


async def logged_in(http: aiohttp.ClientSession, told: dict[str, Any]) -> dict[str, str]:
    """Return the headers of the first account's session."""
    account = told["accounts"][0]
    head = {"X-PrivateKey": account["api_key"]}
    login = {"clientcode": account["client_code"], "password": account["pin"],
             "totp": pyotp.TOTP(account["totp_secret"]).now()}  # fmt: skip
    reply = await http.post(LOGIN, json=login, headers=head)
    head["Authorization"] = (await reply.json())["data"]["jwtToken"]
    return head


async def test_ledger_keeps_lost_replies_over_a_kill(process: Process) -> None:
    tags = [f"tag-{n}" for n in range(9)]
    told = process.start(
        "--fault", "accept_then_reset:0.5:placeOrder", "--fault", "accept_then_garbage:0.5:placeOrder"
    )
    async with aiohttp.ClientSession(told["base_url"]) as http:
        head = await logged_in(http, told)
        body = {"variety": "NORMAL", "tradingsymbol": "RELIANCE-EQ", "symboltoken": "2885",
                "transactiontype": "BUY", "exchange": "NSE", "ordertype": "MARKET", "producttype": "INTRADAY",
                "duration": "DAY", "quantity": "1"}  # fmt: skip

        async def send(tag: str) -> bytes | None:
            try:
                async with http.post(PLACE, json={**body, "ordertag": tag}, headers=head) as answer:
                    return await answer.read()
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
                return None

        answers = await asyncio.gather(*map(send, tags))
    assert process.end(signal.SIGKILL) == -signal.SIGKILL
    assert None in answers  # replies were lost
    told = process.start()
    async with aiohttp.ClientSession(told["base_url"]) as http, http.get("/sandbox/ledger") as reply:
        ledger = await reply.json()
    assert sorted(ledger["by_tag"]) == tags
    assert all(len(ids) == 1 for ids in ledger["by_tag"].values())
    assert process.end(signal.SIGTERM) == 0
