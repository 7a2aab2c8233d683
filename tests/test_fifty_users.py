"""A sandbox day with fifty users of different sizes, products and limits, and what goes wrong for some.

Real processes: a sandbox whose prices are written here, and `trading run` with two strategies, each user on
an account of their own. Seven have a bad day: a wrong TOTP secret, an address that is not registered, a
session that ends, too little money from the start and since the morning, a limit on the day's loss, and one
position of five that is locked at its lower circuit when all are closed. Everybody else trades, each refusal
says how it is mended, and at the end our statements are the sandbox's own to the paisa.
"""

from __future__ import annotations

import asyncio
import json
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet

from app.credentials import Credentials, CredentialStore
from app.refusals import of_order
from order.control import ControlClient
from order.manager import OrderManager
from order.place import Place
from order.reading import OrderView, Reader
from order.remedies import Remedy
from order.statement import Statement
from order.statement_reading import StatementReader
from shared.models import OrderResult, OrderState
from shared.secret import Secret
from shared.settings import Settings
from tests.rehearsal import PATIENCE_S, Rehearsal

STRATEGIES = """
[[strategy]]
strategy_id = "trend"
strategy_type = "moving_average"
symbols = ["RELIANCE", "TCS"]
parameters = { short_window = 2, long_window = 4, min_confidence = 0.0 }

[[strategy]]
strategy_id = "swing"
strategy_type = "moving_average"
symbols = ["INFY", "SBIN", "ITC"]
parameters = { short_window = 2, long_window = 4, min_confidence = 0.0 }
"""
PRICES = {"RELIANCE": 2500.0, "TCS": 3400.0, "INFY": 1450.0, "SBIN": 600.0, "ITC": 400.0}
LOCKED = "ITC"
"""Its price stands still, so that no strategy enters it."""

CALM_MIN, CALM = 14, -0.03
"""Minutes that processes have to come up and be armed, and percent a minute."""

WAVE = ((4, 0.12), (10, 0.01), (4, -0.35), (3, -0.03))
"""Minutes, percent a minute: an entry, a hold, an exit at a loss; whoever is late trades the next one."""

SPEED = 60
WRONG_CODE, WRONG_ADDRESS, EXPIRED, SHORT, DRAINED, LOSER, FIVE = (f"u{n:02}" for n in range(1, 8))
USERS = [f"u{n:02}" for n in range(1, 51)]
TRADERS = [user for user in USERS if user not in (WRONG_CODE, WRONG_ADDRESS, SHORT, DRAINED)]
ELSEWHERE = "192.0.2.7"
HELD = 20
DAY_LOSS = {LOSER: "0.04"}


def written(folder: Path) -> Path:
    """Write the day's prices and return their folder."""
    folder.mkdir()
    moves = [CALM] * CALM_MIN
    while len(moves) < 375:
        moves += [move for minutes, move in WAVE for _ in range(minutes)]
    for symbol, price in PRICES.items():
        lines = ["ts,open,high,low,close,volume"]
        for minute, move in enumerate(moves[:375], 9 * 60 + 15):
            after = price * (1 + (0 if symbol == LOCKED else move) / 100)
            at = f"2000-01-03T{minute // 60:02}:{minute % 60:02}:00+05:30"
            high, low = max(price, after), min(price, after)
            lines.append(f"{at},{price:.2f},{high:.2f},{low:.2f},{after:.2f},1000000")
            price = after
        (folder / f"{symbol}_day.csv").write_text("\n".join(lines))
    return folder


def user(number: int) -> dict[str, Any]:
    """Return a user for `trading users import`: no two have the same terms and limits."""
    name = USERS[number - 1]
    sizes = (
        ("fixed_quantity", 2 + number % 6), ("fixed_value", 9_000 + 500 * number),
        ("percent_of_allocation", 8 + number % 5),
    )  # fmt: skip
    method, value = ("fixed_quantity", 15) if name == LOSER else sizes[number % 3]
    terms = {
        "sizing": {"method": method, "value": str(value)}, "allocation_percent": "50",
        "product": "DELIVERY" if number % 5 == 0 else "INTRADAY",
    }  # fmt: skip
    followed = (("trend", "swing"), ("trend",), ("swing",))[number % 3 if number > 10 else 0]
    return {
        "user_id": name, "name": f"Trader {number}", "broker": "angel_one",
        "limits": {
            "capital_inr": str(200_000 + 20_000 * number), "max_order_inr": str(40_000 + 1_000 * number),
            "max_positions": 5 if name in (FIVE, LOSER) else 1 + number % 5, "max_entries_symbol_day": 20,
            "max_entries_day": 100, "max_orders_second": 2 + number % 8,
            "day_loss_percent": DAY_LOSS.get(name, "5"), "strategy_loss_percent": "5",
        },
        "subscriptions": dict.fromkeys(followed, terms),
    }  # fmt: skip


class Day:
    """The house of fifty, its broker, and who looks at both."""

    def __init__(self, rehearsal: Rehearsal) -> None:
        self.rehearsal = rehearsal
        key = Fernet.generate_key().decode()
        rehearsal.environment["SECRETS_KEY"] = key
        prices = written(rehearsal.folder / "prices")
        rehearsal.sandbox("--speed", str(SPEED), "--accounts", "51", "--replay", str(prices))
        self.client = {user: rehearsal.accounts[at]["client_code"] for at, user in enumerate(USERS, 1)}
        file = rehearsal.folder / "users.json"
        file.write_text(json.dumps({"users": [user(number) for number in range(1, 51)]}))
        assert rehearsal.trading("users", "import", str(file), "--yes")[0] == 0
        store = CredentialStore(rehearsal.home, Secret(key))
        for name, given in zip(USERS, rehearsal.accounts[1:], strict=True):
            store.save(
                Credentials(
                    user_id=name, api_key=given["api_key"], client_code=given["client_code"],
                    pin=given["pin"],
                    totp_secret="A" * 32 if name == WRONG_CODE else given["totp_secret"],
                )
            )  # fmt: skip

    def ledger(self, name: str) -> list[dict[str, Any]]:
        """Return all orders of a user at the exchange."""
        return list(self.rehearsal.ask(f"/sandbox/ledger?client_code={self.client[name]}")["orders"])

    def theirs(self, name: str) -> dict[str, Any]:
        """Return a user's account as the sandbox tells it."""
        return dict(self.rehearsal.ask(f"/sandbox/statement?client_code={self.client[name]}"))

    def held(self, name: str) -> dict[tuple[str, str], int]:
        """Return a user's net shares at the exchange."""
        return {(row["symbol"], row["producttype"]): row["netqty"] for row in self.theirs(name)["shares"]}

    def ours(self, name: str) -> dict[tuple[str, str], int]:
        """Return a user's net shares in our books."""
        net: Counter[tuple[str, str]] = Counter()
        with closing(Reader(self.rehearsal.home)) as reader:
            for row in reader.positions(user_id=name):
                net[row.symbol, row.product] += row.quantity
        return {key: shares for key, shares in net.items() if shares}

    def orders(self, name: str) -> list[OrderView]:
        """Return what `trading orders --user` lists."""
        with closing(Reader(self.rehearsal.home)) as reader:
            return list(reader.orders(9_999, user_id=name, refused=True))

    def refusals(self, name: str) -> dict[str, Remedy]:
        """Return why something was refused, with the remedies."""
        found = (of_order(row) for row in self.orders(name))
        return {remedy.name: remedy for remedy in found if remedy is not None}

    def accounts(self) -> dict[str, dict[str, Any]]:
        """Return what `trading accounts` shows, by user."""
        asked = ControlClient(Place(self.rehearsal.home).control).ask("accounts")
        return {state["user_id"]: state for state in asyncio.run(asked)}

    def pay(self, name: str, rupees: int) -> None:
        self.rehearsal.tell("/sandbox/cash", {"client_code": self.client[name], "rupees": rupees})

    def until(self, ready: Callable[[], bool], what: str, patience_s: float = 4 * PATIENCE_S) -> None:
        self.rehearsal.until(ready, what, patience_s)

    def buy(self, name: str, symbol: str, quantity: int) -> OrderResult:
        """Buy by hand, through whoever keeps the books."""

        async def ask() -> OrderResult:
            settings = Settings.load(env_file=None, home=self.rehearsal.home, paper_trading=False)
            order = {"user_id": name, "symbol": symbol, "side": "BUY", "quantity": quantity}
            async with OrderManager(False, environment="sandbox", settings=settings) as manager:
                return await manager.execute_order({**order, "order_type": "MARKET"})

        return asyncio.run(ask())

    def statement(self, name: str) -> Statement:
        """Return what `trading statement --user` shows."""
        with closing(StatementReader(self.rehearsal.home)) as reader:
            run = reader.latest_market()
            assert run is not None
            day = reader.newest_day(run)
            assert day is not None
            return reader.statement(name, run, day, {})


@pytest.fixture
def day(tmp_path: Path) -> Iterator[Day]:
    rehearsal = Rehearsal(tmp_path, STRATEGIES)
    try:
        yield Day(rehearsal)
    finally:
        rehearsal.close()


@pytest.mark.timeout(14 * PATIENCE_S)
def test_fifty_users_have_their_day_and_every_paisa_agrees(day: Day) -> None:
    rehearsal = day.rehearsal
    registered = {"client_code": day.client[WRONG_ADDRESS], "address": ELSEWHERE}
    rehearsal.tell("/sandbox/address", registered)
    day.pay(SHORT, -999_500)
    run = rehearsal.start("run")
    day.until(Place(rehearsal.home).control.exists, "started")

    # The morning: one cannot log in, is told why, and stays OFF; 49 are armed.
    code, said = rehearsal.trading("arm", "--yes", "--json")
    assert code == 1
    states = day.accounts()
    assert len(states) == 50
    assert {name for name, state in states.items() if state["state"] != "ARMED"} == {WRONG_CODE}
    assert states[WRONG_CODE]["state"] == "OFF"
    assert "AB1050" in said
    assert any("AB1050" in note and "TOTP" in note for note in states[WRONG_CODE]["notes"])
    day.pay(DRAINED, -999_900)

    # The first wave: everybody trades but those who cannot.
    assert day.buy(FIVE, LOCKED, HELD).status is not OrderState.REFUSED
    day.until(lambda: len(day.ours(FIVE)) == 5, "five positions")
    expired = {"kind": "expired_token", "times": 1, "target": {"client_code": day.client[EXPIRED]}}
    rehearsal.tell("/sandbox/faults", expired)
    before = {row["orderid"] for row in day.ledger(EXPIRED)}

    # One of five positions is locked at its lower circuit when all shall be closed.
    rehearsal.tell("/sandbox/price", {"symbol": LOCKED, "lock": "lower"})
    assert rehearsal.trading("flatten", "--user", FIVE)[0] == 0
    stuck = {(LOCKED, "INTRADAY"): HELD}
    day.until(lambda: day.held(FIVE) == stuck, "four are closed")

    day.until(lambda: any(int(row["filledshares"]) for row in day.ledger(LOSER)), "the loser trades")
    day.until(lambda: "flattened" in day.refusals(LOSER), "the day's loss stops one user")
    day.until(lambda: not day.held(LOSER) and not day.ours(LOSER), "who is flat")
    day.until(
        lambda: any(row["orderid"] not in before and int(row["filledshares"]) for row in day.ledger(EXPIRED)),
        "a session that ended is begun anew, and its user trades on",
    )
    day.until(lambda: "margin" in day.refusals(DRAINED), "who has no money left is told")
    day.until(lambda: all(day.theirs(name)["orders"] for name in TRADERS), "everybody else traded")
    day.until(
        lambda: any(note.startswith("EXIT_STUCK") for note in day.accounts()[FIVE]["notes"]),
        "what cannot be closed is alarmed",
    )
    (resting,) = [row for row in day.ledger(FIVE) if row["status"] == "open"]
    assert (resting["tradingsymbol"], resting["transactiontype"]) == (f"{LOCKED}-EQ", "SELL")
    assert Decimal(str(resting["price"])) == Decimal(str(PRICES[LOCKED])) * Decimal("0.9")
    shown = rehearsal.trading("accounts")[1].splitlines()
    assert [line[: len(FIVE) + 12] for line in shown if FIVE in line][1:] == [f"{FIVE}: EXIT_STUCK"]
    assert "EXIT_STUCK" in (rehearsal.home / "logs" / "trading.log").read_text()
    assert day.held(FIVE) == day.ours(FIVE) == stuck

    # The lock opens; the day ends.
    rehearsal.tell("/sandbox/price", {"symbol": LOCKED, "lock": None})
    day.until(lambda: not day.held(FIVE) and not day.ours(FIVE), "the fifth position is closed, too")
    assert rehearsal.trading("halt")[0] == 0
    day.until(lambda: not any(state["working"] for state in day.accounts().values()), "nothing is at work")
    run.send_signal(signal.SIGTERM)
    assert run.wait(PATIENCE_S) == 0

    every_refusal_is_explained(day)
    every_paisa_agrees(day)
    assert rehearsal.trading("verify")[0] == 0


def every_refusal_is_explained(day: Day) -> None:
    """What was refused or rejected has a remedy, and those who could not trade know why."""
    for name in USERS:
        for row in day.orders(name):
            if row.state in ("REFUSED", "REJECTED", "EXPIRED"):
                assert of_order(row) is not None, row
    assert "trading arm --user" in day.refusals(WRONG_CODE)["not_armed"].mend
    assert "Pay in" in day.refusals(SHORT)["margin"].mend
    assert "Pay in" in day.refusals(DRAINED)["margin"].mend
    address = day.refusals(WRONG_ADDRESS)
    assert "registered" in address["AG7002"].means
    assert "halted" in address, "after three in a row the user enters nothing more"
    rejected = [row for row in day.orders(WRONG_ADDRESS) if row.state == "REJECTED"]
    assert len(rejected) == 3
    assert day.ledger(WRONG_CODE) == day.ledger(WRONG_ADDRESS) == []
    with closing(Reader(day.rehearsal.home)) as reader:
        told = reader.switched(LOSER)
        assert len(reader.switched()) > len(told)
    house, own = sorted(told, key=lambda line: LOSER in line)
    assert house.startswith("HALT of the house")
    assert own.startswith(f"FLATTEN of user {LOSER}"), "a user is not told of others' switches"
    said = day.rehearsal.trading("orders", "--user", WRONG_ADDRESS)[1]
    assert "smartapi.angelone.in" in said


def every_paisa_agrees(day: Day) -> None:
    """Each user's statement is what the sandbox tells of their account: orders, charges, sums, shares."""
    for name in USERS:
        found, theirs = day.statement(name), day.theirs(name)
        filled = {line.order_id: line for line in found.orders if line.filled}
        assert filled.keys() == {row["ordertag"] for row in theirs["orders"]}
        values: Counter[str] = Counter()
        for fill in found.fills:
            values[fill.side] += fill.quantity * fill.price  # type: ignore[assignment]
        for row in theirs["orders"]:
            own = [fill for fill in found.fills if fill.order_id == row["ordertag"]]
            assert sum(fill.quantity for fill in own) == row["filledshares"]
            assert sum(fill.quantity * fill.price for fill in own) == Decimal(row["value"])
            assert filled[row["ordertag"]].charges == Decimal(row["charges"])
        assert values["BUY"] == Decimal(theirs["bought"])
        assert values["SELL"] == Decimal(theirs["sold"])
        assert found.of_day.charges == Decimal(theirs["charges"])
        in_hand = found.of_day.realised
        in_hand -= sum(Decimal(each.average_price or 0) * each.quantity for each in found.positions)
        assert abs(in_hand - (Decimal(theirs["sold"]) - Decimal(theirs["bought"]))) < Decimal("0.01")
        assert day.ours(name) == day.held(name)
