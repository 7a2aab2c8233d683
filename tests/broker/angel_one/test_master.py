from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.angel_one.master import Reader, fetch
from shared.errors import DataError, VenueUnavailable
from shared.instrument_master import MasterRow

RELIANCE = {
    "token": "2885", "symbol": "RELIANCE-EQ", "name": "RELIANCE", "expiry": "", "strike": "-1.000000",
    "lotsize": "1", "instrumenttype": "", "exch_seg": "NSE", "tick_size": "10.000000",
    "freeze_qty": "200000", "is_cas_enabled": True,
}  # fmt: skip
INDEX = {
    **RELIANCE, "token": "99926000", "symbol": "Nifty 50",
    "instrumenttype": "AMXIDX", "tick_size": "0.000000",
}  # fmt: skip
FUTURE = {
    **RELIANCE, "token": "9", "symbol": "RELIANCE26DECFUT", "instrumenttype": "FUTSTK", "exch_seg": "NFO",
}  # fmt: skip
OTHERS = [
    {**RELIANCE, "symbol": "RELIANCE", "exch_seg": "BSE", "token": "500325"},
    {**RELIANCE, "symbol": "719GS2060-GS", "token": "1"},
    {**RELIANCE, "symbol": "OPTION26DEC1CE", "instrumenttype": "OPTSTK", "exch_seg": "NFO", "token": "2"},
]
ROWS = [RELIANCE, INDEX, *OTHERS, FUTURE]
LIST = json.dumps(ROWS).encode()


def read(*pieces: bytes) -> Reader:
    reader = Reader()
    for piece in pieces:
        reader.feed(piece)
    return reader


def test_list_is_kept_to_what_we_trade_or_look_at() -> None:
    assert read(LIST).rows() == [
        MasterRow("RELIANCE", "RELIANCE-EQ", "2885", "EQ", 10, 1, 200_000, True, True),
        MasterRow("NIFTY50", "Nifty 50", "99926000", "INDEX", 0, 1, 200_000, True, False),
    ]


@given(st.lists(st.integers(0, len(LIST)), max_size=8))
def test_pieces_of_any_size_give_the_same_rows(cuts: list[int]) -> None:
    ends = [0, *sorted(cuts), len(LIST)]
    reader = read(*(LIST[start:end] for start, end in itertools.pairwise(ends)))
    assert reader.rows() == read(LIST).rows()
    assert reader.seen == len(ROWS)


@pytest.mark.parametrize("text", [b"", b"[]", LIST[:-1], LIST[: len(LIST) // 2]])
def test_list_that_is_cut_off_is_refused(text: bytes) -> None:
    with pytest.raises(DataError, match="cut off"):
        read(text).rows()


@pytest.mark.parametrize("text", [b"<html>busy</html>", b' {"rows": [' + LIST[1:] + b"}"])
def test_what_is_no_list_is_refused(text: bytes) -> None:
    with pytest.raises(DataError, match="not the broker's list"):
        read(text).rows()


def test_row_that_cannot_be_read_is_told() -> None:
    odd = {**RELIANCE, "tick_size": "0.5", "symbol": "ODD-EQ"}
    reader = read(json.dumps([RELIANCE, odd, {"token": []}]).encode())
    assert [row.symbol for row in reader.rows()] == ["RELIANCE"]
    assert len(reader.unread) == 2


def test_ordinary_series_counts_where_a_name_stands_in_two() -> None:
    other = {**RELIANCE, "symbol": "RELIANCE-BE", "token": "7"}
    for rows in ([RELIANCE, other], [other, RELIANCE]):
        assert [row.series for row in read(json.dumps(rows).encode()).rows()] == ["EQ"]
    assert [row.series for row in read(json.dumps([other]).encode()).rows()] == ["BE"]


async def test_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "master.json"
    path.write_bytes(LIST)
    assert (await fetch(str(path))).rows() == read(LIST).rows()
    with pytest.raises(DataError, match="No such file"):
        await fetch(str(tmp_path / "none.json"))


async def test_plain_http_to_another_machine_is_refused() -> None:
    with pytest.raises(DataError, match=r"no.* https"):
        await fetch("http://example.com/list.json")


async def test_nobody_there_is_said() -> None:
    with pytest.raises(VenueUnavailable, match="cannot be read"):
        await fetch("http://127.0.0.1:9/list.json")
