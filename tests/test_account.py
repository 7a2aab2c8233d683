"""An account that others use as well, and one whose keeper was killed: real processes on a real sandbox."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TypeVar

import apsw
import msgspec
import pytest

from broker.account import BrokerAccount
from broker.base import Accepted, OrderTerms, RemoteVenue
from broker.registry import connection
from order.account_state import AccountState
from order.control import ControlClient
from order.manager import OrderManager
from order.place import Place
from order.reading import Reader
from order.schema import FILE_NAME
from shared.calendar import IST
from shared.clock import SystemClock
from shared.errors import ConfigurationError
from shared.instruments import Instruments
from shared.models import OrderResult, OrderState, OrderType, Product, Side, instant
from shared.secret import Secret
from shared.settings import Settings
from tests.rehearsal import PATIENCE_S, Rehearsal, shares

Answer = TypeVar("Answer")

QUIET = """
[[strategy]]
strategy_id = "quiet"
strategy_type = "moving_average"
symbols = ["RELIANCE", "TCS", "INFY", "SBIN", "ITC"]
parameters = { short_window = 40, long_window = 200, min_confidence = 1.0 }
"""
SYMBOLS = ("RELIANCE", "TCS", "INFY", "SBIN", "ITC")
BACK_S = 10.0
"""On a machine of one's own; a busy one takes as much longer as its processors are oversubscribed."""



@pytest.fixture
def rehearsal(tmp_path: Path) -> Iterator[Rehearsal]:
    made = Rehearsal(tmp_path, QUIET)
    yield made
    made.close()


def execute(
    rehearsal: Rehearsal, symbol: str, side: str, quantity: int, limit: Decimal | None = None
) -> OrderResult:
    """Send an order to whoever keeps the books, until there is a price for it."""

    async def ask() -> OrderResult:
        settings = Settings.load(env_file=None, home=rehearsal.home, paper_trading=False)
        order = {
            "user_id": "user_001", "symbol": symbol, "side": side, "quantity": quantity,
            "order_type": "MARKET" if limit is None else "LIMIT", "price": limit,
        }  # fmt: skip
        async with OrderManager(False, environment="sandbox", settings=settings) as manager:
            return await manager.execute_order(order)

    found: list[OrderResult] = []

    def priced() -> bool:
        try:
            found.append(asyncio.run(ask()))
        except ConfigurationError as error:
            if "no price" not in error.what:
                raise
        return bool(found)

    rehearsal.until(priced, f"a price of {symbol}")
    return found[0]


def bought(
    rehearsal: Rehearsal, quantity: int, *symbols: str, ready: Callable[[], bool] | None = None
) -> None:
    """Buy, as often as it takes, until we hold it or *ready*: at first there is no price."""

    def taken(symbol: str) -> bool:
        try:
            return execute(rehearsal, symbol, "BUY", quantity).status is not OrderState.REFUSED
        except ConfigurationError:
            return False

    for symbol in symbols:
        rehearsal.until(partial(taken, symbol), f"a price of {symbol}")
    held = dict.fromkeys(symbols, quantity)
    rehearsal.until(ready or (lambda: ours(rehearsal) == held), f"{quantity} each")


def owners(rehearsal: Rehearsal, ask: Callable[[RemoteVenue], Awaitable[Answer]]) -> Answer:
    """Return what the account's owner learns in an app of their own."""
    given = rehearsal.environment
    account = BrokerAccount(
        "user_001",
        Secret(given["ANGEL_ONE_API_KEY"]),
        Secret(given["ANGEL_ONE_CLIENT_CODE"]),
        Secret(given["ANGEL_ONE_PASSWORD"]),
        Secret(given["ANGEL_ONE_TOTP_SECRET"]),
        given["ANGEL_ONE_BASE_URL"],
        given["ANGEL_ONE_FEED_URL"],
        given["ANGEL_ONE_ORDER_FEED_URL"],
    )

    async def connect() -> Answer:
        line = connection(
            "angel_one", account, home=rehearsal.home, clock=SystemClock(), instruments=Instruments.load(),
            key=None,
        )  # fmt: skip
        await line.open()
        venue = line.venue()
        try:
            return await ask(venue)
        finally:
            await venue.close()
            await line.close()

    return asyncio.run(connect())


def by_hand(rehearsal: Rehearsal, symbol: str, side: Side, quantity: int, price: Decimal) -> None:
    """Trade as the account's owner does in an app of their own."""
    tick = Instruments.load().get(symbol).tick_paise
    limit = int(price * (Decimal("1.01") if side is Side.BUY else Decimal("0.99")) * 100) // tick * tick
    terms = OrderTerms(side, quantity, OrderType.LIMIT, Product.INTRADAY, limit, True, 0, symbol, tick, 0)
    assert isinstance(owners(rehearsal, lambda venue: venue.place("", terms)), Accepted)


def holdings(rehearsal: Rehearsal) -> dict[str, int]:
    """Return what the account's owner has in the demat."""
    return owners(rehearsal, lambda venue: venue.holdings())


def ours(rehearsal: Rehearsal) -> dict[str, int]:
    """Return our net shares; read here, for a command costs each look a quarter of a second."""
    with closing(Reader(rehearsal.home)) as reader:
        rows = list(reader.positions(user_id="user_001"))
    return {row.symbol: row.quantity for row in rows if row.quantity}


def theirs(rehearsal: Rehearsal) -> dict[str, int]:
    return shares(rehearsal.ask("/sandbox/ledger")["orders"])


def account(rehearsal: Rehearsal) -> AccountState:
    """Return how the account stands, as whoever keeps the books says."""
    control = ControlClient(Place(rehearsal.home).control)
    states = msgspec.convert(asyncio.run(control.ask("accounts")), list[AccountState])
    return next(state for state in states if state.user_id == "user_001")


def compared_us(rehearsal: Rehearsal) -> int:
    """Return when the account was last compared and clean."""
    with closing(apsw.Connection(str(rehearsal.home / FILE_NAME), flags=apsw.SQLITE_OPEN_READONLY)) as sql:
        sql.set_busy_timeout(5_000)  # whoever opens a store after a kill puts it in order first
        rows = list(sql.execute("SELECT user_no, value, at_us FROM account_marks WHERE kind = 'reconciled'"))
    return next((int(at) for user, value, at in rows if user == 1 and '"clean":true' in str(value)), 0)


def paid(rehearsal: Rehearsal, symbol: str) -> Decimal:
    """Return the last price at which *symbol* was traded."""
    orders = rehearsal.ask("/sandbox/ledger")["orders"]
    rows = [row for row in orders if row["tradingsymbol"].startswith(symbol)]
    return Decimal(str(rows[-1]["averageprice"]))


@pytest.mark.timeout(4 * PATIENCE_S)
def test_killed_with_open_positions_comes_back_exit_only_with_the_same_books(rehearsal: Rehearsal) -> None:
    rehearsal.sandbox("--speed", "60", "--seed", "7")
    run = rehearsal.start("run")
    rehearsal.arm()
    bought(rehearsal, 7, *SYMBOLS)
    run.send_signal(signal.SIGKILL)
    run.wait()
    before = theirs(rehearsal)
    assert before == dict.fromkeys(SYMBOLS, 7)
    started_us = time.time_ns() // 1000
    rehearsal.start("run")
    rehearsal.until(lambda: compared_us(rehearsal) > started_us, "compared")
    took_s = (compared_us(rehearsal) - started_us) / 1e6
    assert account(rehearsal).state == "EXIT_ONLY"
    assert ours(rehearsal) == theirs(rehearsal) == before
    assert execute(rehearsal, "TCS", "BUY", 1).message.startswith("not_armed")
    sold = execute(rehearsal, "TCS", "SELL", 7)
    assert sold.status in (OrderState.ACCEPTED, OrderState.PARTIALLY_FILLED, OrderState.FILLED)
    rehearsal.until(lambda: "TCS" not in ours(rehearsal), "an exit needs no arming")
    assert ours(rehearsal) == theirs(rehearsal)
    assert rehearsal.trading("verify")[0] == 0
    assert took_s < BACK_S * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


@pytest.mark.timeout(4 * PATIENCE_S)
def test_owners_five_hundred_stay_untouched_and_a_close_by_hand_is_booked(rehearsal: Rehearsal) -> None:
    rehearsal.sandbox("--speed", "60", "--seed", "7", "--holding", "RELIANCE:500")
    rehearsal.start("run")
    rehearsal.arm()
    bought(rehearsal, 1, "RELIANCE")
    by_hand(rehearsal, "RELIANCE", Side.BUY, 100, paid(rehearsal, "RELIANCE"))
    rehearsal.until(lambda: theirs(rehearsal) == {"RELIANCE": 101}, "the owner has bought")
    rehearsal.until(
        lambda: account(rehearsal).others == ["RELIANCE INTRADAY: +100 by others' orders"], "it is seen"
    )
    assert (account(rehearsal).state, account(rehearsal).notes) == ("ARMED", [])
    execute(rehearsal, "RELIANCE", "SELL", 1)
    rehearsal.until(lambda: not ours(rehearsal), "sold")
    rehearsal.until(lambda: theirs(rehearsal) == {"RELIANCE": 100}, "and no share of the owner's")
    bought(rehearsal, 10, "RELIANCE")
    by_hand(rehearsal, "RELIANCE", Side.SELL, 110, paid(rehearsal, "RELIANCE"))
    rehearsal.until(lambda: not ours(rehearsal), "the close by hand is booked")
    assert theirs(rehearsal) == {}
    rules = [row["rule"] for row in rehearsal.rows("orders", "--user", "user_001")]
    assert any(rule.startswith("BY_HAND") for rule in rules)
    assert rehearsal.trading("verify")[0] == 0
    rehearsal.arm()  # compares
    assert account(rehearsal).others == [], "the broker's sums and its trades agree"
    client = rehearsal.environment["ANGEL_ONE_CLIENT_CODE"]
    rehearsal.tell("/sandbox/cash", {"client_code": client, "rupees": -250})
    rehearsal.arm()
    gone = "₹250.00 went out today without a trade: paid, or charged by the broker"
    assert account(rehearsal).others == [gone]


@pytest.mark.timeout(4 * PATIENCE_S)
def test_brokers_square_off_is_booked_as_such(rehearsal: Rehearsal) -> None:
    rehearsal.sandbox("--speed", "60", "--seed", "7")
    rehearsal.start("run")
    rehearsal.arm()
    bought(rehearsal, 7, "TCS")
    now = instant(rehearsal.ask("/sandbox/info")["market_time_us"]).astimezone(IST)
    rehearsal.tell("/sandbox/switches", {"square_off": f"{now:%H:%M}"})
    rehearsal.until(lambda: not theirs(rehearsal), "the broker has closed it")
    rehearsal.until(lambda: not ours(rehearsal), "and we know")
    rules = [row["rule"] for row in rehearsal.rows("orders", "--user", "user_001")]
    assert [rule.partition(":")[0] for rule in rules if rule] == ["BROKER_SQUAREOFF"]
    assert rehearsal.trading("verify")[0] == 0


@pytest.mark.timeout(4 * PATIENCE_S)
def test_direct_order_is_changed_and_taken_back_at_the_broker(rehearsal: Rehearsal) -> None:
    rehearsal.sandbox("--speed", "1", "--seed", "7")
    rehearsal.start("run")
    rehearsal.arm()
    bought(rehearsal, 10, "TCS")
    high = (paid(rehearsal, "TCS") * Decimal("1.05")).quantize(Decimal(1))
    given = execute(rehearsal, "TCS", "SELL", 10, high)
    assert given.status is OrderState.ACCEPTED
    code, said = rehearsal.trading(
        "orders", "modify", given.order_id, "--price", f"{high - 5}", "--quantity", "6", "--json"
    )
    assert (code, json.loads(said)["message"]) == (0, f"changed: 6 shares at {high - 5}.00")
    (row,) = [row for row in rehearsal.ask("/sandbox/ledger")["orders"] if row["ordertag"] == given.order_id]
    assert (Decimal(str(row["price"])), int(row["quantity"])) == (high - 5, 6)
    assert rehearsal.trading("orders", "modify", given.order_id, "--quantity", "7")[0] == 2
    assert rehearsal.trading("orders", "modify", given.order_id)[0] == 2
    code, said = rehearsal.trading("orders", "cancel", given.order_id, "--json")
    assert (code, json.loads(said)["status"]) == (0, "CANCELLED")
    (row,) = [row for row in rehearsal.ask("/sandbox/ledger")["orders"] if row["ordertag"] == given.order_id]
    assert row["status"] == "cancelled"
    assert rehearsal.trading("orders", "cancel", given.order_id)[0] == 2
    assert ours(rehearsal) == theirs(rehearsal) == {"TCS": 10}
    assert rehearsal.trading("verify")[0] == 0
