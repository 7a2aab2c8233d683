from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from app.grid import lay_out
from app.listing import FILLS, ORDERS, POSITIONS, SIGNALS, STRATEGIES, USERS, Listing, ist, money, times
from app.strategies import StrategyView
from order.reading import Reader
from order.users import shown_users
from strategy.config import DEFAULT_CONFIGS


@pytest.fixture
def reader(traded: Path) -> Iterator[Reader]:
    with closing(Reader(traded)) as reader:
        yield reader


@pytest.fixture
def listings(reader: Reader) -> list[tuple[Listing[Any], list[Any]]]:
    return [
        (SIGNALS, list(reader.signals(50))),
        (ORDERS, list(reader.orders(50, all_intents=True))),
        (FILLS, list(reader.fills(50))),
        (POSITIONS, list(reader.positions(marks={"RELIANCE": 200_000}))),
        (USERS, shown_users(reader.users(), reader.environment)),
        (STRATEGIES, [StrategyView.of(config) for config in DEFAULT_CONFIGS]),
    ]


@pytest.mark.parametrize("width", [80, 100, 120, 160])
def test_every_listing_at_usual_widths_fits_on_one_line_each(
    width: int, listings: list[tuple[Listing[Any], list[Any]]]
) -> None:
    for listing, rows in listings:
        assert rows
        lines = lay_out(listing.columns(rows), rows, width).plain()
        assert len(lines) == len(rows) + 1
        assert max(map(len, lines)) <= width, listing.title


def test_orders_on_a_narrow_terminal_keep_what_matters(reader: Reader) -> None:
    rows = list(reader.orders(5))
    header = lay_out(ORDERS.columns(rows), rows, 80).plain()[0].split()
    assert header == ["placed", "2021,", "IST", "user", "symbol", "side", "qty", "filled", "average", "state"]


def test_listing_into_a_pipe_has_every_column_without_colour(
    reader: Reader, capsys: pytest.CaptureFixture[str]
) -> None:
    ORDERS.show(reader.orders(3))
    title, header, *lines = capsys.readouterr().out.splitlines()
    assert title == "Orders, newest first"
    wanted = "order user market strategy symbol side qty filled average state rule"
    assert " ".join(header.split()[3:]) == wanted
    assert len(lines) == 3
    assert "\x1b" not in "".join(lines)


def test_empty_listing_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    ORDERS.show([])
    assert capsys.readouterr().out == "No orders yet; `trading run` makes some.\n"


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        ("0", "0.00"),
        ("-0.004", "0.00"),
        ("999.995", "1,000.00"),
        ("1234567.891", "12,34,567.89"),
        ("-100000", "-1,00,000.00"),
        ("1E+7", "1,00,00,000.00"),
    ],
)
def test_money_is_grouped_the_indian_way(amount: str, shown: str) -> None:
    assert money(Decimal(amount)) == shown


def test_money_of_nothing_is_a_dash() -> None:
    assert money(None) == "–"


def test_instant_is_shown_in_india() -> None:
    assert ist(datetime(2021, 4, 12, 4, 31, 5, tzinfo=UTC)) == "12 Apr 2021 10:01:05"


def test_times_of_one_year_name_it_in_the_header_only() -> None:
    at = datetime(2021, 4, 12, 4, 31, 5, tzinfo=UTC)
    column = times("at", lambda row: row, [at])
    assert (column.head, column.cell(at)) == ("at 2021, IST", "12 Apr 10:01:05")


def test_times_of_several_years_each_name_it() -> None:
    # New Year in India comes five and a half hours before that of UTC.
    rows = [datetime(2021, 12, 31, 18, 29, tzinfo=UTC), datetime(2021, 12, 31, 18, 30, tzinfo=UTC)]
    column = times("at", lambda row: row, rows)
    assert (column.head, column.cell(rows[1])) == ("at, IST", "01 Jan 2022 00:00:00")
