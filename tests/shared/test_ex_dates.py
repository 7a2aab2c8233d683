from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from shared.errors import ConfigurationError
from shared.ex_dates import FILE_NAME, ExDates


def number(text: str) -> int:
    return (date.fromisoformat(text) - date(1970, 1, 1)).days


def own(home: Path, *rows: dict[str, str]) -> Path:
    (home / FILE_NAME).write_text(json.dumps({"about": "mine", "ex_dates": list(rows)}))
    return home


def test_known_ex_date_is_found_on_its_day_only() -> None:
    dates = ExDates.load()
    day = number("2024-10-28")
    found = dates.on("RELIANCE", day)
    assert found is not None
    assert (found.kind, found.shares) == ("bonus", Decimal(2))
    assert str(found) == "bonus of RELIANCE on 2024-10-28, 2 for each share"
    assert dates.on("RELIANCE", day - 1) is dates.on("TCS", day) is None


def test_users_file_adds_and_wins(tmp_path: Path) -> None:
    rows = (
        {"symbol": "TCS", "day": "2026-07-01", "kind": "demerger"},
        {"symbol": "RELIANCE", "day": "2024-10-28", "kind": "bonus", "shares": "3"},
    )
    dates = ExDates.load(home=own(tmp_path, *rows))
    assert str(dates.on("TCS", number("2026-07-01"))) == "demerger of TCS on 2026-07-01"
    mended = dates.on("RELIANCE", number("2024-10-28"))
    assert mended is not None
    assert mended.shares == 3
    assert dates.on("IRCTC", number("2021-10-28")) is not None


def test_days_between_leave_the_first_out_and_take_the_last(tmp_path: Path) -> None:
    rows = [{"symbol": "A", "day": f"2026-07-0{n}", "kind": "split"} for n in (3, 1, 2)]
    dates = ExDates.load(home=own(tmp_path, *rows))
    found = dates.between("A", number("2026-07-01"), number("2026-07-03"))
    assert [each.day.day for each in found] == [2, 3]


@pytest.mark.parametrize(
    "text",
    [
        "{",
        '{"about": "", "ex_dates": [{"symbol": "A"}]}',
        '{"about": "", "ex_dates": [{"symbol": "A", "day": "2026-07-01", "kind": "split", "shares": "0"}]}',
    ],
)
def test_file_that_makes_no_sense_is_refused_by_name(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE_NAME).write_text(text)
    with pytest.raises(ConfigurationError, match=FILE_NAME):
        ExDates.load(home=tmp_path)
