from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from shared.errors import DataError
from strategy.sources.tables import open_table


def _file(folder: Path, content: str | bytes, name: str = "TCS.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(
    ("header", "is_bars"),
    [
        ("ts,open,high,low,close,volume", True),
        ("Datetime,Open,High,Low,Close,Volume,Symbol", True),
        ("\ufeffDate,Time,o,h,l,c,v", True),
        (" SYMBOL, SERIES, DATE1, OPEN_PRICE, HIGH_PRICE, LOW_PRICE, CLOSE_PRICE, TTL_TRD_QNTY", True),
        ("timestamp,ltp,volume", False),
        ("ts,ltp,cum_volume", False),
        ("exchange_timestamp,last_price,volume_traded", False),
        ("ts,ltp", False),
    ],
)
def test_header_spellings_are_understood(tmp_path: Path, header: str, is_bars: bool) -> None:
    table = open_table(_file(tmp_path, header + "\n2021-04-12 09:15,1,1,1,1,1,1,1\n"))
    assert table.is_bars is is_bars
    assert table.first_row == 2


def test_date_and_time_columns_are_put_together_in_either_order(tmp_path: Path) -> None:
    for header, date, clock in (("date,time", 0, 1), ("time,date", 1, 0)):
        table = open_table(_file(tmp_path, f"{header},open,high,low,close\n1,1,1,1,1,1\n"))
        assert (table.columns["time"], table.columns["clock"]) == (date, clock)


def test_three_header_rows_of_yfinance_are_understood(tmp_path: Path) -> None:
    text = (
        "Price,Close,High,Low,Open,Volume\nTicker,TCS.NS,TCS.NS,TCS.NS,TCS.NS,TCS.NS\n"
        "Datetime,,,,,\n2026-05-20,1,1,1,1,1\n"
    )
    table = open_table(_file(tmp_path, text))
    assert table.columns == {"time": 0, "close": 1, "high": 2, "low": 3, "open": 4, "volume": 5}
    assert table.tickers == ("TCS.NS",)
    assert [row[0] for row in table.rows()] == ["2026-05-20"]


def test_headerless_rows_are_understood_by_their_shape(tmp_path: Path) -> None:
    named = open_table(_file(tmp_path, "NIFTY,20210201,09:16,1,1,1,1,0,0\n"))
    assert named.columns["symbol"] == 0 and named.columns["clock"] == 2 and named.columns["close"] == 6
    assert open_table(_file(tmp_path, "2021-04-12 09:15,1,1,1,1,5\n")).is_bars
    assert not open_table(_file(tmp_path, "2021-04-12 09:15,100.5,5\n")).is_bars


def test_gzip_is_known_by_its_content_not_its_name(tmp_path: Path) -> None:
    text = b"ts,ltp\n2021-04-12 09:15:00,1\n"
    assert open_table(_file(tmp_path, gzip.compress(text, mtime=0), "TCS.csv")).content == text
    assert open_table(_file(tmp_path, text, "TCS.csv.gz")).content == text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        (b"\x1f\x8bnothing", "damaged|Cannot read"),
        (gzip.compress(b"ts,ltp\n" * 99, mtime=0)[:-9], "damaged"),
        (b"\xff\xfe\x00\x01binary", "not a text file"),
        (b"ts,ltp\n2021-04-12,1\x00\n", "NUL"),
        (b"ts,ltp\n", "no row with data"),
        (b"alpha,beta\n1,2\n", "line 1: no column for time, open, high, low, close"),
        (b"ts,open,high,low\n1,2,3,4\n", "no column for close"),
        (b"ts,open,open_price,high,low,close\n1,2,3,4,5,6\n", "two columns mean open"),
        (b"1,2\n", "no header"),
        (b"ts,last_price,open_interest\n1,2,3\n", "futures or options"),
    ],
)
def test_wrong_file_is_refused_with_its_name_and_a_remedy(
    tmp_path: Path, content: bytes, message: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        open_table(_file(tmp_path, content))
    assert "TCS.csv" in str(caught.value)
    assert caught.value.remedy


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        open_table(tmp_path / "none.csv")
    with pytest.raises(DataError, match="directory"):
        open_table(tmp_path)
