from __future__ import annotations

from collections.abc import Sequence

import pytest

from shared.calendar import Calendar
from strategy.repair import Defects, Instants, TickMinute, clean_ticks, in_order, read_bars

COLUMNS = {"time": 0, "price": 1, "volume": 2}
BAR_COLUMNS = {"time": 0, "open": 1, "high": 2, "low": 3, "close": 4, "volume": 5}
calendar = Calendar.load()


def _ticks(*rows: str) -> tuple[list[TickMinute], Defects]:
    defects = Defects()
    cells = [row.split(",") for row in rows]
    return list(clean_ticks(cells, COLUMNS, Instants(calendar), defects)), defects


def _bars(rows: Sequence[str]) -> tuple[list[tuple[float, ...]], Defects]:
    defects = Defects()
    found = in_order(read_bars([row.split(",") for row in rows], BAR_COLUMNS, defects), defects.counts)
    return [(bar.open, bar.high, bar.low, bar.close, bar.volume) for bar in found], defects


D = "2021-04-12 "


def test_good_ticks_make_minutes_with_their_volume() -> None:
    minutes, defects = _ticks(
        f"{D}09:15:01,100.0,50", f"{D}09:15:59,101.0,80", f"{D}09:16:00,99.5,90", f"{D}09:16:30,99.0,95"
    )
    assert [(minute.prices, minute.volume) for minute in minutes] == [
        ([100.0, 101.0], 30),
        ([99.5, 99.0], 15),
    ]
    assert minutes[0].last_us == minutes[0].start_us + 59_000_000
    assert defects.counts == {"first_tick_volume": 1}


@pytest.mark.parametrize(
    ("bad", "rule"),
    [
        ("1970-01-01 05:30:00,100.5,60", "epoch_1970"),
        ("2021-04-10 10:00:00,100.5,60", "not_a_trading_day"),
        ("2021-04-14 10:00:00,100.5,60", "not_a_trading_day"),
        (f"{D}09:08:00,100.5,60", "out_of_session"),
        (f"{D}15:30:00,100.5,60", "out_of_session"),
        (f"{D}09:15:00,100.5,60", "backward"),
        ("2021-04-09 10:00:00,100.5,60", "backward"),
        (f"{D}09:15:01,100.0,50", "duplicate"),
        (f"{D}09:15:01,0,60", "bad_price"),
        (f"{D}09:15:01,-3,60", "bad_price"),
        (f"{D}09:15:01,nan,60", "bad_price"),
        (f"{D}09:15:01,1e400,60", "bad_price"),
        (f"{D}09:15:01,abc,60", "unreadable"),
        (f"{D}09:15:01,100.5,many", "unreadable"),
        (f"{D}09:15:01,100.5,-5", "unreadable"),
        (f"{D}09:15:01,100.5,nan", "unreadable"),
        ("yesterday,100.5,60", "unreadable"),
        ("", "unreadable"),
        (f"{D}09:15:01", "unreadable"),
    ],
)
def test_bad_tick_is_dropped_and_counted(bad: str, rule: str) -> None:
    good = [f"{D}09:15:01,100.0,50", f"{D}09:15:02,101.0,70"]
    clean, _ = _ticks(*good)
    found, defects = _ticks(good[0], bad, good[1])
    assert found == clean
    assert defects.counts == {"first_tick_volume": 1, rule: 1}


def test_falling_volume_keeps_the_price_and_the_maximum() -> None:
    [minute], defects = _ticks(
        f"{D}09:15:01,100.0,50", f"{D}09:15:02,101.0,80", f"{D}09:15:03,102.0,70", f"{D}09:15:04,103.0,85"
    )
    assert (minute.prices, minute.volume) == ([100.0, 101.0, 102.0, 103.0], 35)
    assert defects.counts["falling_volume"] == 1


def test_each_day_begins_its_volume_anew() -> None:
    minutes, defects = _ticks(
        f"{D}09:15:01,100.0,5000", "2021-04-13 09:15:01,100.0,70", "2021-04-13 09:15:02,100.0,90"
    )
    assert [minute.volume for minute in minutes] == [0, 20]
    assert defects.counts == {"first_tick_volume": 2}


def test_float_noise_is_rounded_to_the_paisa() -> None:
    [minute], defects = _ticks(f"{D}09:15:01,1331.5999755859375,1")
    assert minute.prices == [1331.6]
    assert defects.counts["float_noise"] == 1


def test_first_unreadable_row_is_remembered() -> None:
    _, defects = _ticks(f"{D}09:15:01,100.0,50", "x,y,z", "u,v,w")
    assert defects.first_unreadable == (2, "x,y,z")
    assert defects.rows == 3


G = "2021-04-12T09:15:00+05:30,100,102,99,101,10"


@pytest.mark.parametrize(
    ("bad", "rule"),
    [
        ("2021-04-12T09:16:00+05:30,100,98,99,98.5,10", "bad_range"),
        ("2021-04-12T09:16:00+05:30,103,102,99,101,10", "bad_range"),
        ("2021-04-12T09:16:00+05:30,100,102,99,98,10", "bad_range"),
        ("2021-04-12T09:16:00+05:30,nan,102,99,101,10", "bad_price"),
        ("2021-04-12T09:16:00+05:30,100,inf,99,101,10", "bad_price"),
        ("2021-04-12T09:16:00+05:30,0,102,0,101,10", "bad_price"),
        ("2021-04-12T09:16:00+05:30,100,102,99,101,-1", "bad_volume"),
        ("2021-04-12T09:16:00+05:30,100,102,99,101,nan", "unreadable"),
        ("2021-04-12T09:16:00+05:30,100,102,99,[],1", "unreadable"),
        ("2021-04-12T09:16:00+05:30,100,102", "unreadable"),
        ("when,100,102,99,101,1", "unreadable"),
        (G, "duplicate"),
    ],
)
def test_bad_bar_is_dropped_and_counted(bad: str, rule: str) -> None:
    found, defects = _bars([G, bad])
    assert found == [(100.0, 102.0, 99.0, 101.0, 10)]
    assert defects.counts == {rule: 1}


def test_unsorted_bars_are_sorted_and_counted() -> None:
    later, earlier = "2021-04-12 09:16,101,101,101,101,1", "2021-04-12 09:15,100,100,100,100,1"
    found, defects = _bars([later, earlier])
    assert [bar[0] for bar in found] == [100.0, 101.0]
    assert defects.counts == {"unsorted": 1}


def test_of_two_bars_of_one_time_the_larger_volume_stays() -> None:
    small = "2024-03-28,734.2,752.6,734.2,752.35,16"
    large = "2024-03-28,737.75,759.55,736.9,752.35,21705116"
    for rows in ([small, large], [large, small]):
        found, defects = _bars(rows)
        assert [bar[4] for bar in found] == [21705116]
        assert defects.counts == {"duplicate": 1}


def test_missing_volume_is_nothing_traded() -> None:
    found, _ = _bars(["2021-04-12 09:15,100,100,100,100,"])
    assert found[0][4] == 0


def test_same_price_and_volume_in_another_second_is_no_duplicate() -> None:
    [minute], defects = _ticks(f"{D}09:15:01,100.0,0", f"{D}09:15:02,101.0,0", f"{D}09:15:03,100.0,0")
    assert (minute.prices, dict(defects.counts)) == ([100.0, 101.0, 100.0], {})


@pytest.mark.parametrize(
    "text",
    [
        "2021-04-12 09:15:07",
        "2021-04-12T09:15:59+05:30",
        "2021-04-12 09:15:60",
        "2021-04-12 09:15:0x",
        "2021-04-12 09:15:07.250000",
        "20210412 09:15:07",
        "12-04-2021 09:15:07",
        "1618199107",
        "2021-04-10 09:15:07",
        "2021-04-12 15:30:01",
        "1970-01-01 05:30:00",
        "2021-04-12",
        "2021-04-12 03:45:07+00:00",
    ],
)
def test_reading_by_the_minute_equals_reading_alone(text: str) -> None:
    warmed = Instants(calendar)
    for second in range(60):
        warmed.read(f"{text[:17]}{second:02}{text[19:]}")
    at_us = Instants(calendar)._read(text)
    assert warmed.read(text) == Instants(calendar).read(text) == at_us
