"""Prices stop, or the disk is full, on a real sandbox: entries come off, stops stay, all goes on again."""

from __future__ import annotations

import resource
import signal
import time
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from order.reading import Reader
from shared.errors import StoreError, TradingError
from shared.models import OrderState
from tests.rehearsal import PATIENCE_S, Rehearsal
from tests.test_account import QUIET, bought, execute, ours, paid, theirs

SILENCE_S = "5"


@pytest.fixture
def rehearsal(tmp_path: Path) -> Iterator[Rehearsal]:
    made = Rehearsal(tmp_path, QUIET)
    made.environment["FEED_SILENCE"] = SILENCE_S
    yield made
    made.close()


def at_the_exchange(rehearsal: Rehearsal, tag: str) -> dict[str, Any]:
    orders = rehearsal.ask("/sandbox/ledger")["orders"]
    return next(row for row in orders if row["ordertag"] == tag)


@pytest.mark.timeout(5 * PATIENCE_S)
def test_engine_that_is_killed_takes_entries_off_and_leaves_the_stop(rehearsal: Rehearsal) -> None:
    rehearsal.sandbox("--speed", "1", "--seed", "7")
    engine = rehearsal.start("engine")
    rehearsal.start("subscriber")
    rehearsal.arm()
    bought(rehearsal, 10, "TCS")
    price = paid(rehearsal, "TCS")
    low = (price * Decimal("0.96")).quantize(Decimal(1))
    assert rehearsal.trading("protect", "--user", "user_001", "--symbol", "TCS", "--stop", f"{low}")[0] == 0
    resting = execute(rehearsal, "TCS", "BUY", 1, (price * Decimal("0.997")).quantize(Decimal(1)))
    assert resting.status is OrderState.ACCEPTED, resting
    engine.send_signal(signal.SIGKILL)
    engine.wait()
    rehearsal.until(
        lambda: at_the_exchange(rehearsal, resting.order_id)["status"] == "cancelled", "the entry is off"
    )
    states = [(row["ordertype"], row["status"]) for row in rehearsal.ask("/sandbox/ledger")["orders"]]
    assert ("STOPLOSS_LIMIT", "trigger pending") in states, states
    assert ours(rehearsal) == theirs(rehearsal) == {"TCS": 10}
    assert execute(rehearsal, "TCS", "BUY", 1).status is OrderState.REFUSED
    with closing(Reader(rehearsal.home)) as reader:
        (told,) = reader.switched()
    assert told.startswith("no price of sandbox-") and told.endswith(": no entries")
    rehearsal.start("engine")
    rehearsal.until(
        lambda: execute(rehearsal, "TCS", "BUY", 1).status is not OrderState.REFUSED, "prices open the house"
    )
    rehearsal.until(lambda: ours(rehearsal) == theirs(rehearsal) == {"TCS": 11}, "and it is bought")
    assert rehearsal.trading("verify")[0] == 0


@pytest.mark.timeout(5 * PATIENCE_S)
def test_full_disk_sends_nothing_is_told_at_once_and_takes_off_what_rested_too_long(
    rehearsal: Rehearsal,
) -> None:
    rehearsal.sandbox("--speed", "1", "--seed", "7")
    run = rehearsal.start("run")
    rehearsal.arm()
    bought(rehearsal, 10, "TCS")
    low = (paid(rehearsal, "TCS") * Decimal("0.997")).quantize(Decimal(1))
    resting = execute(rehearsal, "TCS", "BUY", 1, low)
    assert resting.status is OrderState.ACCEPTED, resting
    log = rehearsal.home / "logs" / "trading.log"
    most = log.stat().st_size + 16_384  # what is told still finds room; the books soon do not
    unlimited = resource.prlimit(run.pid, resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))
    rehearsal.until(lambda: "the books cannot be written" in log.read_text(), "it is told")
    full_s = time.monotonic()
    before = len(rehearsal.ask("/sandbox/ledger")["orders"])
    with pytest.raises((StoreError, TradingError)):
        execute(rehearsal, "TCS", "BUY", 1)
    rehearsal.until(lambda: time.monotonic() > full_s + 1.5 * float(SILENCE_S), "too long")
    assert len(rehearsal.ask("/sandbox/ledger")["orders"]) == before
    assert at_the_exchange(rehearsal, resting.order_id)["status"] == "open"
    resource.prlimit(run.pid, resource.RLIMIT_FSIZE, unlimited)
    rehearsal.until(
        lambda: at_the_exchange(rehearsal, resting.order_id)["status"] == "cancelled", "the entry is off"
    )
    assert log.read_text().count("the books cannot be written") == 1
    bought(rehearsal, 1, "INFY", ready=lambda: ours(rehearsal) == {"TCS": 10, "INFY": 1})
    assert ours(rehearsal) == theirs(rehearsal)
    assert rehearsal.trading("verify")[0] == 0
