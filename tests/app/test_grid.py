from __future__ import annotations

import pytest

from app.grid import Cell, Column, lay_out

ROWS = [("RELIANCE", "2,000.00", "SMA 10 crossed above SMA 50, steeply"), ("TCS", "9.50", "short")]
COLUMNS: list[Column[tuple[str, str, str]]] = [
    Column("symbol", lambda row: row[0]),
    Column("price", lambda row: row[1], rank=1, right=True),
    Column("why", lambda row: row[2], rank=2, least=10),
]


def test_grid_without_width_is_complete_and_aligned() -> None:
    assert lay_out(COLUMNS, ROWS, None).plain() == [
        "symbol       price  why",
        "RELIANCE  2,000.00  SMA 10 crossed above SMA 50, steeply",
        "TCS           9.50  short",
    ]


def test_free_text_too_wide_is_cut_before_a_column_goes() -> None:
    grid = lay_out(COLUMNS, ROWS, 34)
    assert grid.plain()[1] == "RELIANCE  2,000.00  SMA 10 crosse…"
    assert grid.dropped == []


@pytest.mark.parametrize(
    ("width", "dropped"), [(30, []), (29, ["why"]), (17, ["why", "price"]), (3, ["why", "price"])]
)
def test_columns_without_room_go_by_rank_and_are_named(width: int, dropped: list[str]) -> None:
    assert lay_out(COLUMNS, ROWS, width).dropped == dropped


@pytest.mark.parametrize("width", range(8, 70))
def test_no_line_is_ever_wider_than_the_terminal(width: int) -> None:
    assert all(len(line) <= width for line in lay_out(COLUMNS, ROWS, width).plain())


def test_wide_letters_count_by_their_cells() -> None:
    grid = lay_out(COLUMNS, [("漢字", "1", "x"), ("ABCD", "2", "y")], None)
    assert grid.plain()[1:] == ["漢字        1  x", "ABCD        2  y"]


def test_control_characters_in_a_cell_reach_no_terminal() -> None:
    grid = lay_out([Column("name", lambda row: Cell(row))], ["a\x1b[2Jb\n"], None)
    assert grid.plain() == ["name", "a·[2Jb·"]


def test_column_may_name_the_kind_of_its_rows() -> None:
    grid = lay_out([Column[int]("n", lambda row: f"{row}", right=True)], [7, 10], None)
    assert grid.plain() == [" n", " 7", "10"]
