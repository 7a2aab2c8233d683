from __future__ import annotations

import json
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest

from app.summary import Summary, accounts
from order.reading import Reader
from shared.quotes import QuoteBoard


@pytest.fixture
def summary(traded: Path) -> Summary:
    with closing(Reader(traded)) as reader:
        run = reader.latest_market()
    assert run is not None
    summary = Summary(traded)
    summary.begin(run)
    return summary


def test_summary_of_a_run_counts_it_from_nothing(traded: Path) -> None:
    found = json.loads((traded / "summary.json").read_text())
    with closing(Reader(traded)) as reader:
        counts = reader.counts()
    assert counts["orders"] > 0
    assert {name: found[name] for name in counts} == counts
    assert (found["pending"], found["lost"], found["duplicate"], found["unexplained"]) == (0, 0, 0, 0)
    assert (found["data_rows"], found["defects"]) == (372, {"bad_range": 1, "duplicate": 1})
    assert set(found["users"]) == {"user_001", "user_002", "user_003"}


def test_summary_of_nothing_new_counts_zero_beside_the_totals(
    summary: Summary, capsys: pytest.CaptureFixture[str]
) -> None:
    summary.show(True, QuoteBoard())
    found = json.loads(capsys.readouterr().out)
    assert (found["signals"], found["orders"], found["fills"]) == (0, 0, 0)
    assert found["total_signals"] > 0
    assert "defects" not in found


def test_summary_for_people_fits_eighty_columns(summary: Summary, capsys: pytest.CaptureFixture[str]) -> None:
    summary.show(False, QuoteBoard(), {"epoch_1970": 12, "duplicate": 1234}, 1_000_000)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert "data rows 1,000,000; rejected or repaired: duplicate 1,234, epoch 1970 12" in lines
    assert lines[-1] == "pending 0, lost 0, duplicate 0, unexplained 0"


def test_money_of_an_account_adds_up_to_the_paisa(traded: Path) -> None:
    with closing(Reader(traded)) as reader:
        run = reader.latest_market() or ""
        rows = list(reader.positions(user_id="user_001", run=run, marks={"RELIANCE": 200_000}))
        account = next(
            each for each in accounts(reader, run, {"RELIANCE": 200_000}) if each.user_id == "user_001"
        )
    assert account.charges == sum((row.charges for row in rows), Decimal(0)) > 0
    unrealised = sum((row.unrealised or Decimal(0) for row in rows), Decimal(0))
    assert account.net == sum((row.net for row in rows), Decimal(0)) + unrealised
