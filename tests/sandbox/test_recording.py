from __future__ import annotations

import csv
import gzip
from pathlib import Path
from typing import Any

import pytest

from sandbox.market_clock import open_us
from sandbox.prices import Prices
from sandbox.recording import RecordedTape, load
from shared.clock import ManualClock
from shared.errors import ConfigurationError, DataError
from shared.instruments import Instrument
from tests.sandbox.box import BOOK, SECURE, Box, box
from tests.sandbox.floor import DAY, INSTRUMENTS, RELIANCE, Floor, recording


def tape(*paths: Path) -> RecordedTape:
    return RecordedTape(7, load(paths, INSTRUMENTS))


def candles(path: Path, instrument: Instrument, interval: str) -> list[tuple[int, ...]]:
    prices = Prices(tape(path))
    return list(prices.candles(instrument, interval, open_us(DAY), open_us(DAY) + 22_499_000_000))


def bars(folder: Path, rows: list[str], name: str = "RELIANCE.csv") -> Path:
    path = folder / name
    path.write_text("ts,open,high,low,close,volume\n" + "\n".join(rows) + "\n")
    return path


def test_tick_is_the_price_from_its_step_on(tmp_path: Path) -> None:
    made = tape(recording(tmp_path, [(4, 2000.0, 10), (5, 2001.0, 5), (100, 1990.5, 7)]))
    at = {second: made.step(RELIANCE, DAY, second) for second in (0, 3, 4, 5, 6, 99, 100, 22_499)}
    assert at == {0: (200_100, 0), 3: (200_100, 0), 4: (200_100, 15), 5: (200_100, 15), 6: (200_100, 0),
                  99: (200_100, 0), 100: (199_050, 7), 22_499: (199_050, 0)}  # fmt: skip
    assert made.volume_until(RELIANCE, DAY, 22_499) == 22


def test_ticks_out_of_order_doubled_or_broken_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "RELIANCE_raw.csv"
    path.write_text(
        "ts,ltp,cum_volume\n2021-04-12T09:15:10+05:30,2001,50\n2021-04-12T09:15:02+05:30,2000,20\n"
        "2021-04-12T09:15:10+05:30,2001,50\n2021-04-12T09:15:20+05:30,2002,40\nnonsense,1,1\n"
        "2021-04-12T09:15:30+05:30,-5,60\n1970-01-01T05:30:00+05:30,2003,70\n2021-04-12T16:00:00+05:30,9,99\n"
        "2021-04-10T10:00:00+05:30,9,99\n2021-04-12T04:00:00+00:00,2004,55\n2021-04-12T09:40:00,inf,60\n"
    )
    made = tape(path)
    assert [made.step(RELIANCE, DAY, second) for second in (2, 10, 20, 900)] == [
        (200_000, 20), (200_100, 30), (200_200, 0), (200_400, 5),
    ]  # fmt: skip
    assert made.first_day == DAY


@pytest.mark.parametrize(
    "rows",
    [
        [
            "2021-04-12T09:15:00+05:30,2000,2010,1990,2005,3001",
            "2021-04-12T09:16:00+05:30,2005,2006,1980.5,1981,77",
            "2021-04-12T09:18:00+05:30,1981,1981,1981,1981,0",
        ],
        ["2021-04-12 09:15:00,2000,2000,2000,2000,29", "2021-04-12 09:16:00,2000,2000.05,1999.95,2000,1"],
    ],
)
def test_bars_come_out_as_they_went_in(tmp_path: Path, rows: list[str]) -> None:
    told = {
        (at - open_us(DAY)) // 60_000_000: values
        for at, *values in candles(bars(tmp_path, rows), RELIANCE, "ONE_MINUTE")
    }
    for row in rows:
        when, *values = row.split(",")
        wanted = [round(float(value) * 100) for value in values[:4]] + [int(values[4])]
        assert told[int(when[14:16]) - 15] == wanted
    # Nothing is traded in a gap, and the price stands still.
    assert told[374][4] == 0
    assert told[374][0] == told[374][3] == round(float(rows[-1].split(",")[4]) * 100)


def test_size_of_bars_is_found_out(tmp_path: Path) -> None:
    rows = [f"2021-04-12T{9 + (15 + 5 * n) // 60:02d}:{(15 + 5 * n) % 60:02d}:00+05:30,{2000 + n},{2002 + n},"
            f"{1999 + n},{2001 + n},{100 + n}" for n in range(75)]  # fmt: skip
    path = bars(tmp_path, rows)
    told = candles(path, RELIANCE, "FIVE_MINUTE")
    assert [list(each[1:]) for each in told] == [
        [200_000 + 100 * n, 200_200 + 100 * n, 199_900 + 100 * n, 200_100 + 100 * n, 100 + n]
        for n in range(75)
    ]


def test_day_file_makes_days_and_the_close_before_is_the_reference(tmp_path: Path) -> None:
    path = tmp_path / "RELIANCE.csv"
    path.write_text("date,open,high,low,close,volume\n2021-04-09,1990,2010,1980,2000,5000\n"
                    "2021-04-12,1900,1910,1700,1720,9000\n")  # fmt: skip
    made = tape(path)
    day = made.day(RELIANCE, DAY)
    assert (day.previous, day.opening, day.high, day.low, day.minutes[-1]) == (
        200_000,
        190_000,
        191_000,
        170_000,
        172_000,
    )
    assert day.volume == 9_000
    # A day that went beyond the usual band had a wider one.
    floor = Floor(tmp_path, [(0, 2000.0, 0)])
    assert Prices(made).band(RELIANCE, floor.now) == (170_000, 220_000)


def test_days_around_the_recording_stay_at_its_price(tmp_path: Path) -> None:
    made = tape(recording(tmp_path, [(0, 2000.0, 0), (22_000, 2100.0, 0)]))
    before, after, later = (made.day(RELIANCE, DAY + n) for n in (-3, 1, 3))
    assert (before.minutes[-1], after.previous, later.previous) == (200_000, 210_000, 210_000)
    assert 200_000 < later.low < later.high < 220_000
    assert before.volume > 0


def test_other_symbols_are_made_up(tmp_path: Path) -> None:
    from sandbox.tape import Tape

    tcs = INSTRUMENTS.get("TCS")
    made = tape(recording(tmp_path, [(0, 2000.0, 0)]))
    assert made.day(tcs, DAY) == Tape(7).day(tcs, DAY)


@pytest.mark.parametrize(("name", "text"), [
    ("NOSUCH_1.csv", "ts,ltp,cum_volume\n2021-04-12T09:15:00+05:30,1,1\n"), ("RELIANCE.csv", ""),
    ("RELIANCE.csv", "ts,ltp,cum_volume\n"), ("RELIANCE.csv", "a,b\n1,2\n"), ("RELIANCE.csv.gz", "not gzip"),
])  # fmt: skip
def test_file_that_is_no_recording_is_an_error(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError):
        load([tmp_path / name], INSTRUMENTS)


def test_missing_path_and_empty_folder_are_errors(tmp_path: Path) -> None:
    for path in (tmp_path / "RELIANCE.csv", tmp_path):
        with pytest.raises(DataError):
            load([path], INSTRUMENTS)


def test_folder_means_the_known_symbols_in_it(tmp_path: Path) -> None:
    recording(tmp_path, [(0, 2000.0, 0)])
    (tmp_path / "NOSUCH.csv").write_text("nonsense")
    assert list(load([tmp_path], INSTRUMENTS)) == [("RELIANCE", DAY)]


async def test_replay_is_served_from_its_first_day_and_orders_fill_at_its_prices(tmp_path: Path) -> None:
    path = recording(tmp_path, [(0, 2000.0, 0), (60, 2050.0, 5_000)])
    async with box(replay=[path]) as sandbox:
        info = (await sandbox.send("GET", "/sandbox/info")).json
        assert info["session_open_us"] == open_us(DAY)
        assert "replay of" in info["label"]
        assert await sandbox.last() == 2000.0
        told = await sandbox.place(price="2040.00", transactiontype="SELL")
        await sandbox.settled(told.data["orderid"], "open")
        sandbox.clock.advance(60)
        row = await sandbox.settled(told.data["orderid"], "complete")
        assert row["averageprice"] == 2040.0
        assert await sandbox.last() == 2050.0
        assert (await sandbox.get(BOOK)).data[0]["updatetime"].startswith("12-Apr-2021 09:16")


async def test_replay_has_hours_of_its_own(tmp_path: Path) -> None:
    path = recording(tmp_path, [(0, 2000.0, 0)])
    with pytest.raises(ConfigurationError, match="hours"):
        async with box(replay=[path], wall=True):
            pass


async def test_replay_goes_on_after_a_restart(tmp_path: Path) -> None:
    path, clock = recording(tmp_path, [(0, 2000.0, 0), (60, 2050.0, 0)]), ManualClock()
    for last in (2000.0, 2050.0):
        async with box(replay=[path], clock=clock, state=tmp_path / "state", speed=20) as sandbox:
            assert await sandbox.last() == last
            clock.advance(1)


# -- the recordings of the real market, where they are -------------------------------------------------


def rows_of(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt") as lines:
        return list(csv.DictReader(lines))


def test_recorded_minutes_come_out_to_the_paisa(market_data: Path) -> None:
    path = market_data / "minute" / "RELIANCE.csv.gz"
    wanted = {
        row["ts"]: [round(float(row[name]) * 100) for name in ("open", "high", "low", "close")]
        + [int(row["volume"])]
        for row in rows_of(path)
        if row["ts"].startswith("2021-04-12")
    }
    prices = Prices(tape(path))
    found = list(prices.candles(RELIANCE, "ONE_MINUTE", open_us(DAY), open_us(DAY) + 22_499_000_000))
    assert len(wanted) > 300
    for at_us, *values in found:
        minute = (at_us - open_us(DAY)) // 60_000_000 + 555
        row = wanted.get(f"2021-04-12T{minute // 60:02d}:{minute % 60:02d}:00+05:30")
        assert values[4] == 0 if row is None else values == row


def test_recorded_ticks_end_where_the_day_ended(market_data: Path) -> None:
    path = market_data / "ticks" / "RELIANCE_2021-04-12.csv.gz"
    rows = [row for row in rows_of(path) if "09:15" <= row["ts"][11:16] < "15:30"]
    made = tape(path)
    day = made.day(RELIANCE, DAY)
    assert abs(day.minutes[-1] - round(float(rows[-1]["ltp"]) * 100)) <= 100
    assert day.low >= min(round(float(row["ltp"]) * 100) for row in rows)
    assert day.volume == max(int(row["cum_volume"]) for row in rows)


async def ledger_price(sandbox: Box) -> Any:
    body = {"exchange": "NSE", "tradingsymbol": "RELIANCE-EQ", "symboltoken": "2885"}
    return (await sandbox.post(f"{SECURE}order/v1/getLtpData", body)).data


async def test_day_of_the_crash_is_served(market_data: Path) -> None:
    files = sorted((market_data / "ticks").glob("*_2021-04-12.csv.gz"))
    async with box(replay=files, speed=1.0) as sandbox:
        sandbox.clock.advance(22_000)
        row = await ledger_price(sandbox)
        assert row["low"] <= row["ltp"] <= row["high"]
        assert row["ltp"] < row["open"] * 0.98
