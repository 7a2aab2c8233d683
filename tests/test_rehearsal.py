"""A rehearsal of live trading under faults: real processes, the real client, a sandbox that lies and drops.

Ends with what a trader would ask: did the exchange get any order twice, has every intent an end, and are
our positions the exchange's?
"""

from __future__ import annotations

import os
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rehearsal import PATIENCE_S, Rehearsal, shares

FOR_S = float(os.environ.get("TRADING_REHEARSAL_S", "12"))
"""How long it trades; two minutes let even lost answers be settled."""


@pytest.fixture
def rehearsal(tmp_path: Path) -> Iterator[Rehearsal]:
    made = Rehearsal(tmp_path)
    yield made
    made.close()


@pytest.mark.timeout(FOR_S + 3 * PATIENCE_S)
def test_one_call_in_five_goes_wrong_and_nothing_is_doubled_lost_or_guessed(rehearsal: Rehearsal) -> None:
    rehearsal.sandbox("--speed", "600", "--faulty", "0.2", "--seed", "7")
    run = rehearsal.start("run", "--for", f"{FOR_S:g}")
    rehearsal.arm()
    assert run.wait(FOR_S + PATIENCE_S) == 0
    # The last readings may have failed, too: a start without faults learns what they would have told.
    faults = urllib.request.Request(f"{rehearsal.base_url}/sandbox/faults", method="DELETE")
    urllib.request.urlopen(faults, timeout=5).close()
    assert rehearsal.start("run", "--for", "3").wait(PATIENCE_S) == 0
    ledger = rehearsal.ask("/sandbox/ledger")["orders"]
    tags = Counter(order["ordertag"] for order in ledger)
    assert len(tags) >= 5, "too few orders to show anything"
    assert set(tags.values()) == {1}
    ours = rehearsal.rows("orders", "--user", "user_001", "--all", "-n", "100000")
    assert set(tags) <= {order["order_id"] for order in ours}
    assert [order for order in ours if order["state"] == "SENDING"] == []
    # What waits when we stop are exits; they stay latched.
    assert {order["purpose"] for order in ours if order["state"] == "NEW"} <= {"EXIT"}
    assert rehearsal.told() == []
    positions = rehearsal.rows("positions", "--user", "user_001")
    assert {row["symbol"]: row["quantity"] for row in positions if row["quantity"]} == shares(ledger)
    found = rehearsal.rows("verify")[0]
    assert found["intents"] > 50
    assert [found[name] for name in ("pending", "lost", "duplicate", "unexplained")] == [0, 0, 0, 0]
