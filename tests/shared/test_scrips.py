"""Lists of shares that are not entered."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from shared.errors import ConfigurationError
from shared.instruments import Instruments
from shared.scrips import FILE_NAME, Listed, Scrips

FIFTH = date(1970, 1, 6)


def table(home: Path, text: str) -> Path:
    path = home / FILE_NAME
    path.write_text(text)
    return path


def test_list_holds_from_its_first_to_its_last_day() -> None:
    scrips = Scrips([Listed("X", "banned", FIFTH, date(1970, 1, 8)), Listed("Y", "cautionary", FIFTH)])
    assert [scrips.on("X", day) is not None for day in (4, 5, 7, 8)] == [False, True, True, False]
    assert [scrips.on("Y", day) is not None for day in (4, 5, 99)] == [False, True, True]
    assert scrips.on("Z", 5) is None
    assert str(scrips.on("X", 5)) == "X is banned since 1970-01-06 to 1970-01-08"


def test_users_own_file_adds_to_the_table(tmp_path: Path) -> None:
    table(
        tmp_path,
        """{"about": "mine", "listed": [{"symbol": "ITC", "kind": "banned", "since": "2024-01-01"}],
            "turnover": [{"symbol": "SBIN", "crore_inr": "1.5", "as_of": "2026-01-01"}]}""",
    )
    scrips = Scrips.load(home=tmp_path)
    assert scrips.on("ITC", 20_000) is not None
    assert scrips.turnover_crore("SBIN") == Decimal("1.5")
    assert (Scrips.load().turnover_crore("SBIN") or 0) > 100


def test_tables_shares_are_known_instruments() -> None:
    instruments = Instruments.load()
    known = [each.symbol for each in instruments if Scrips.load().turnover_crore(each.symbol) is not None]
    assert len(known) > 20


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "no table of scrips"),
        (
            '{"about": "", "listed": [{"symbol": "X", "kind": "odd", "since": "2024-01-01"}]}',
            "makes no sense",
        ),
        (
            '{"about": "", "listed": [{"symbol": "X", "kind": "banned", "since": "2024-01-02",'
            ' "until": "2024-01-01"}]}',
            "makes no sense",
        ),
        (
            '{"about": "", "turnover": [{"symbol": "X", "crore_inr": "-1", "as_of": "2024-01-01"}]}',
            "turns over -1 crore",
        ),
    ],
)
def test_file_that_makes_no_sense_is_told(tmp_path: Path, text: str, said: str) -> None:
    table(tmp_path, text)
    with pytest.raises(ConfigurationError, match=said):
        Scrips.load(home=tmp_path)
