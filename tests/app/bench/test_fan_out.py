from __future__ import annotations

import pytest

from app.bench.account_side import Sent
from app.bench.fan_out import Run, figure, read_run

MS = 1_000_000


def order(user: int, left_ms: int, answered_ms: int = 0, *, entry: bool = True) -> Sent:
    return Sent(user, "TCS", entry, left_ms * MS, answered_ms * MS, "Accepted" if answered_ms else "Unknown")


def test_run_is_of_entries_of_the_accounts_that_count() -> None:
    sent = [order(0, 1, 900), order(1, 10, 30), order(2, 25, 60), order(1, 500, 510, entry=False)]
    assert read_run(sent, {"TCS": 0}, [1, 2]) == Run([15.0], [30.0, 60.0], 0)


def test_order_that_is_not_accepted_is_missing() -> None:
    assert read_run([order(1, 10, 30), order(2, 25)], {"TCS": 0, "INFY": 0}, [1, 2]).missing == 3


@pytest.mark.parametrize(("spread", "ack", "missing", "met"), [
    (250.0, 125.0, 0, True), (251.0, 125.0, 0, False), (250.0, 126.0, 0, False), (250.0, 125.0, 1, False),
])  # fmt: skip
def test_figure_is_met_by_spread_tail_and_nobody_missing(
    spread: float, ack: float, missing: int, met: bool
) -> None:
    made = figure([Run([50.0], [100.0], 0)] * 3, [Run([spread], [ack], missing)] * 3)
    assert made.met is met
    assert made.p99 == spread


def test_ratio_is_the_median_of_pairs() -> None:
    plain = [Run([50.0], [ack], 0) for ack in (100.0, 200.0, 400.0)]
    holed = [Run([50.0], [ack], 0) for ack in (110.0, 210.0, 900.0)]
    made = figure(plain, holed)
    assert "median 1.10 × (1.05 to 2.25)" in made.note
    assert made.met
