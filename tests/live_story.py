"""Real money from its first word to its last; `test_own_network` runs it where no broker is in reach."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.errors import EXIT_FAILED, EXIT_REFUSED, EXIT_USAGE
from tests.own_network import Live, enter
from tests.rehearsal import PATIENCE_S, shares

STRATEGIES = """
[[strategy]]
strategy_id = "brisk"
strategy_type = "moving_average"
symbols = ["RELIANCE", "TCS", "INFY", "SBIN", "ITC", "HDFCBANK", "ICICIBANK", "AXISBANK", "LT", "NTPC",
           "WIPRO", "SUNPHARMA", "TITAN", "BHARTIARTL", "KOTAKBANK", "HINDUNILVR", "TATASTEEL", "BAJFINANCE"]
parameters = { short_window = 2, long_window = 3, min_confidence = 0.0 }
"""


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    enter(tmp_path)
    made = Live(tmp_path, STRATEGIES)
    try:
        made.sandbox("--wall-hours")
        made.stand_in()
        yield made
    finally:
        made.close()


def user(live: Live, name: str, *mode: str) -> None:
    for words in (("add", name, "--family", "rao", *mode), ("subscribe", name, "brisk", "--shares", "1")):
        code, said = live.trading("users", *words)
        assert code == 0, said


def orders(live: Live, name: str) -> list[dict[str, Any]]:
    return live.rows("orders", "--user", name, "--all", "-n", "1000")


def decide(live: Live) -> None:
    """Let the minute at work end, and wait until its bars are decided on."""
    before = len(orders(live, "asha"))
    live.set_clock(58)
    live.until(lambda: len(orders(live, "asha")) > before, "signals")


def ends(live: Live) -> set[str]:
    return {row["state"] for row in orders(live, "asha") if row["purpose"] == "ENTRY"}


@pytest.mark.timeout(300)
def test_nothing_goes_out_before_the_words_and_nothing_comes_in_after_the_switch(live: Live) -> None:
    user(live, "asha", "--mode", "live")
    user(live, "bala")
    user(live, "chitra", "--mode", "live")
    live.give("asha", 0)
    live.give("bala", 1)
    live.give("chitra", 2, registered="203.0.113.7")
    run = live.start("run")
    live.until(lambda: "LIVE" in live.said(), "told what it is")

    decide(live)
    live.until(lambda: "FILLED" in {row["state"] for row in orders(live, "bala")}, "paper trades")
    assert (ends(live), live.sent()) == ({"REFUSED"}, []), "nobody has armed"

    assert live.trading("arm", "--yes")[0] == live.trading("arm")[0] == EXIT_REFUSED
    for words in ("arm", "yes", "arm 1 live account"):
        assert live.typed(words, "arm")[0] == EXIT_REFUSED
    decide(live)
    assert (ends(live), live.sent()) == ({"REFUSED"}, []), "nobody has said the words"

    code, said = live.typed("arm 2 live accounts", "arm")
    assert (code, "registered is 203.0.113.7" in said) == (EXIT_FAILED, True), said
    assert [row["state"] for row in live.rows("accounts")] == ["ARMED", "OFF"], "red stays closed"
    decide(live)
    live.until(lambda: bool(live.sent()), "real orders")
    assert {order["client_code"] for order in live.sent()} == {live.accounts[0]["client_code"]}
    assert {order["ordertag"] for order in live.sent()} <= {row["order_id"] for row in orders(live, "asha")}

    code, said = live.trading("kill")
    assert code == 0, said
    bought = sum(order["transactiontype"] == "BUY" for order in live.sent())
    decide(live)
    assert sum(order["transactiontype"] == "BUY" for order in live.sent()) == bought, "killed"
    code, said = live.trading("flatten")
    assert code == 0, said
    live.until(lambda: not shares(live.sent()), "flat")

    code, said = live.trading("resume")
    assert code == 0, said
    everything, before = len(live.sent()), {row["order_id"] for row in orders(live, "asha")}

    def rules() -> set[str]:
        decide(live)
        rows = [row for row in orders(live, "asha") if row["order_id"] not in before]
        return {row["rule"].partition(":")[0] for row in rows}

    live.until(lambda: "not_armed" in rules(), "an entry that was resumed and not armed")
    assert len(live.sent()) == everything

    run.terminate()
    assert run.wait(PATIENCE_S) == 0, live.said()
    found = live.rows("verify")[0]
    assert [found[name] for name in ("pending", "lost", "duplicate", "unexplained")] == [0, 0, 0, 0]
    assert found["broker_orders"] > len(live.sent()) > 0
    assert live.told() == []


@pytest.mark.timeout(150)
def test_shadow_of_the_live_market_tells_entries_and_sends_none(live: Live) -> None:
    live.environment["PAPER_TRADING"] = "true"
    user(live, "asha")
    live.give("asha", 0)
    assert live.trading("users", "edit", "asha", "--mode", "shadow")[0] == 0
    code, said = live.trading("users", "credentials", "check", "asha")
    assert (code, "Angel One takes the credentials of asha" in said) == (0, True), said
    live.start("run")
    live.until(lambda: "PAPER" in live.said(), "told what it is")
    decide(live)
    told = [row["rule"] for row in orders(live, "asha") if row["state"] == "CANCELLED"]
    assert told and all("would have been sent" in rule for rule in told), orders(live, "asha")
    assert live.trading("arm")[0] == EXIT_USAGE, "there is nothing to arm"
    assert live.sent() == []
