"""An exit whose connection drops and that the sandbox's exchange takes only later, in real time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.models import OrderState
from tests.rehearsal import PATIENCE_S, Rehearsal
from tests.test_account import QUIET, bought, execute, ours, theirs

LATE_S = float(os.environ.get("TRADING_LATE_S", "6"))
"""How late; from 25 on the exit has been tried again meanwhile, and the late one is a double."""

DOUBLED_S = 25.0


@pytest.fixture
def rehearsal(tmp_path: Path) -> Iterator[Rehearsal]:
    made = Rehearsal(tmp_path, QUIET)
    yield made
    made.close()


@pytest.mark.timeout(LATE_S + 4 * PATIENCE_S)
def test_exit_that_the_exchange_takes_late_ends_flat(rehearsal: Rehearsal) -> None:
    rehearsal.sandbox("--speed", "1", "--seed", "7")
    rehearsal.start("run")
    rehearsal.arm()
    bought(rehearsal, 7, "TCS")
    fault = {
        "kind": "accept_late", "times": 1, "delay_s": LATE_S, "target": {"endpoint": "placeOrder"},
    }  # fmt: skip
    rehearsal.tell("/sandbox/faults", fault)
    assert execute(rehearsal, "TCS", "SELL", 7).status is OrderState.UNKNOWN

    def sold() -> list[int]:
        orders = rehearsal.ask("/sandbox/ledger")["orders"]
        return [int(row["filledshares"]) for row in orders if row["transactiontype"] == "SELL"]

    doubled = LATE_S >= DOUBLED_S
    rehearsal.until(lambda: sold() == [7] * (1 + doubled), "sold", LATE_S + PATIENCE_S)
    rehearsal.until(lambda: not theirs(rehearsal), "flat at the exchange")
    rehearsal.until(lambda: not ours(rehearsal), "flat in our books")
    (found,) = rehearsal.rows("verify")
    told = {name: found[name] for name in ("lost", "duplicate", "unexplained", "over_exit")}
    assert told == {"lost": 0, "duplicate": 0, "unexplained": 0, "over_exit": int(doubled)}
    rules = [row["rule"] for row in rehearsal.rows("orders", "--user", "user_001")]
    assert sum(rule.startswith("over_exit: 7 beyond") for rule in rules) == doubled
    assert sum(theirs(rehearsal).values()) == 0
