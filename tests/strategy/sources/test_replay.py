from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.calendar import IST
from shared.clock import ManualClock
from shared.errors import ConfigurationError, DataError
from shared.models import Bar, instant
from strategy.sources.replay import ReplaySource

Recorded = Callable[[str], Path]
FIVE = ("RELIANCE", "SBIN", "TCS", "NIFTY50", "BANKNIFTY")
TICK_FILES = [f"ticks/{name}_2021-04-12.csv.gz" for name in FIVE]
HEADER = "ts,open,high,low,close,volume\n"


def _csv(folder: Path, name: str, *rows: str, header: str = HEADER) -> Path:
    path = folder / name
    path.write_text(header + "".join(f"{row}\n" for row in rows))
    return path


def _all(source: ReplaySource) -> list[Bar]:
    bars = []
    while (batch := source.next_batch(source.now_us())) is not None:
        assert all(bar.close_us == batch.at_us for bar in batch.bars)
        assert [quote.symbol for quote in batch.quotes] == [bar.symbol for bar in batch.bars]
        bars += batch.bars
    assert source.done
    return bars


def test_batches_come_in_market_order_with_all_symbols_of_a_minute(tmp_path: Path) -> None:
    tcs = _csv(tmp_path, "TCS.csv", "2021-04-12 09:16,2,2,2,2,20", "2021-04-12 09:15,1,1,1,1,10")
    infy = _csv(tmp_path, "INFY.csv", "2021-04-12 09:15,5,6,4,5.5,7")
    source = ReplaySource([tcs, infy])
    assert source.symbols == ["INFY", "TCS"]
    first = source.next_batch(source.now_us())
    assert first is not None
    assert [bar.symbol for bar in first.bars] == ["INFY", "TCS"]
    assert [(quote.price_paise, quote.volume, quote.at_us) for quote in first.quotes] == [
        (550, 7, first.at_us),
        (100, 10, first.at_us),
    ]
    assert source.progress == 0.5
    assert source.defects == {"unsorted": 1}


def test_next_batch_waits_for_its_time(tmp_path: Path) -> None:
    source = ReplaySource([_csv(tmp_path, "TCS.csv", "2021-04-12 09:15,1,1,1,1,1")])
    end = source.now_us()
    assert source.next_batch(end - 1) is None
    assert source.next_batch(end) is not None


def test_run_is_named_after_the_content_alone(tmp_path: Path) -> None:
    row = "2021-04-12 09:15,1,1,1,1,1"
    one, two = _csv(tmp_path, "TCS.csv", row), _csv(tmp_path, "INFY.csv", row)
    (tmp_path / "other").mkdir()
    packed = tmp_path / "other" / "TCS_april.csv.gz"
    packed.write_bytes(gzip.compress(one.read_bytes()))
    run = ReplaySource([one, two]).run
    assert run.startswith("replay-") and len(run) == len("replay-") + 12
    assert ReplaySource([two, packed]).run == run
    assert ReplaySource([one, two], again=3).run == f"{run}.3"
    assert ReplaySource([one]).run != run
    changed = _csv(tmp_path, "TCS_2.csv", "2021-04-12 09:15,1,1,1,1,2")
    assert ReplaySource([changed, two]).run != run


def test_run_tells_symbols_with_swapped_content_apart(tmp_path: Path) -> None:
    rows = "2021-04-12 09:15,1,1,1,1,1", "2021-04-12 09:15,2,2,2,2,2"
    straight = [_csv(tmp_path, "TCS.csv", rows[0]), _csv(tmp_path, "INFY.csv", rows[1])]
    crossed = [_csv(tmp_path, "TCS_x.csv", rows[1]), _csv(tmp_path, "INFY_x.csv", rows[0])]
    assert ReplaySource(straight).run != ReplaySource(crossed).run


@pytest.mark.parametrize(
    ("name", "symbol"),
    [
        ("RELIANCE_2021-04-12.csv", "RELIANCE"),
        ("tick_RELIANCE_2021-06-11_epoch1970.csv", "RELIANCE"),
        ("nifty_1m_2021.csv", "NIFTY50"),
        ("TCS_1m_2026jun.csv", "TCS"),
        ("infy.csv", "INFY"),
    ],
)
def test_symbol_is_found_in_the_file_name(tmp_path: Path, name: str, symbol: str) -> None:
    assert ReplaySource([_csv(tmp_path, name, "2021-04-12 09:15,1,1,1,1,1")]).symbols == [symbol]


def test_unknown_symbol_is_refused_with_the_nearest(tmp_path: Path) -> None:
    path = _csv(tmp_path, "RELIANCE-BSE_2025h2.csv", "2021-04-12 09:15,1,1,1,1,1")
    with pytest.raises(ConfigurationError, match=r"RELIANCE-BSE'.*Did you mean RELIANCE"):
        ReplaySource([path])


def test_symbol_column_splits_the_file_and_counts_strangers(tmp_path: Path) -> None:
    header = "symbol,series,ts,open,high,low,close,volume\n"
    rows = [f"{name}, {series},2021-04-12,1,1,1,1,1" for name, series in
            [("TCS", "EQ"), ("INFY.NS", "EQ"), ("SBIN", "N2"), ("NOBODY", "EQ")]]  # fmt: skip
    source = ReplaySource([_csv(tmp_path, "day.csv", *rows, header=header)])
    assert source.symbols == ["INFY", "TCS"]
    assert source.defects == {"other_series": 1, "unknown_symbol": 1}


def test_labels_at_the_end_of_the_minute_are_moved_to_its_start(tmp_path: Path) -> None:
    rows = ["NIFTY,20210201,09:08,1,1,1,1,0,0", "NIFTY,20210201,09:16,2,2,2,2,0,0"]
    rows += ["NIFTY,20210201,09:17,3,3,3,3,0,0", "NIFTY,20210201,15:30,4,4,4,4,0,0"]
    source = ReplaySource([_csv(tmp_path, "a.csv", *rows, header="")])
    starts = [f"{instant(bar.start_us).astimezone(IST):%H:%M}" for bar in _all(source)]
    assert starts == ["09:15", "09:16", "15:29"]
    assert source.defects == {"out_of_session": 1}


def test_daily_rows_become_sessions(tmp_path: Path) -> None:
    rows = ["2021-04-09,1,2,1,2,9", "2021-04-10,1,2,1,2,9", "2021-04-12,1,2,1,2,9"]
    source = ReplaySource([_csv(tmp_path, "TCS.csv", *rows, header="date,open,high,low,close,volume\n")])
    bars = _all(source)
    assert source.timeframe == "1d"
    assert [f"{instant(bar.close_us).astimezone(IST):%d %H:%M}" for bar in bars] == ["09 15:30", "12 15:30"]
    assert source.defects == {"not_a_trading_day": 1}


def test_different_bar_lengths_are_refused_together(tmp_path: Path) -> None:
    minute = _csv(tmp_path, "TCS.csv", "2021-04-12 09:15,1,1,1,1,1", "2021-04-12 09:16,1,1,1,1,1")
    five = _csv(tmp_path, "INFY.csv", "2021-04-12 09:15,1,1,1,1,1", "2021-04-12 09:20,1,1,1,1,1")
    with pytest.raises(DataError, match=r"different bar lengths.*1m.*5m"):
        ReplaySource([minute, five])


def test_many_unreadable_rows_are_refused_with_line_and_value(tmp_path: Path) -> None:
    rows = ["2021-04-12 09:15,1,1,1,1,1", "2021-04-12 09:16,abc,1,1,1,1"]
    with pytest.raises(DataError, match=r"TCS\.csv, line 3: cannot read '2021-04-12 09:16,abc"):
        ReplaySource([_csv(tmp_path, "TCS.csv", *rows)])


def test_few_unreadable_rows_are_counted(tmp_path: Path) -> None:
    rows = [f"2021-04-12 {9 + m // 60:02}:{m % 60:02},1,1,1,1,1" for m in range(15, 60)]
    source = ReplaySource([_csv(tmp_path, "TCS.csv", *rows, "2021-04-12 10:15,?,1,1,1,1")])
    assert source.defects == {"unreadable": 1}
    assert source.by_file == {"TCS.csv": {"unreadable": 1}}


def test_file_without_a_usable_row_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no usable row.*1 not_a_trading_day"):
        ReplaySource([_csv(tmp_path, "TCS.csv", "2021-04-10 09:15,1,1,1,1,1")])
    with pytest.raises(DataError, match="Nothing to replay"):
        ReplaySource([])


def test_same_symbol_in_two_files_is_merged_without_doubles(tmp_path: Path) -> None:
    one = _csv(tmp_path, "TCS_1.csv", "2021-04-12 09:15,1,1,1,1,1", "2021-04-12 09:16,2,2,2,2,2")
    two = _csv(tmp_path, "TCS_2.csv", "2021-04-12 09:16,3,3,3,3,9", "2021-04-12 09:17,4,4,4,4,4")
    for files in ([one, two], [two, one]):
        source = ReplaySource(files)
        assert [bar.close for bar in _all(source)] == [1.0, 3.0, 4.0]
        assert source.defects == {"duplicate": 1}


def test_bars_of_one_time_and_volume_are_chosen_alike_in_any_order(tmp_path: Path) -> None:
    one = _csv(tmp_path, "TCS_1.csv", "2021-04-12 09:15,1,3,1,2,0")
    two = _csv(tmp_path, "TCS_2.csv", "2021-04-12 09:15,1,3,1,3,0")
    for files in ([one, two], [two, one]):
        assert [bar.close for bar in _all(ReplaySource(files))] == [3.0]


def test_pace_lets_the_clock_decide(tmp_path: Path) -> None:
    rows = [f"2021-04-12 09:{m},1,1,1,1,1" for m in range(15, 19)] + ["2021-04-13 09:15,1,1,1,1,1"]
    clock = ManualClock()
    source = ReplaySource([_csv(tmp_path, "TCS.csv", *rows)], clock=clock)
    source.pace(60.0)
    seen = []
    for _ in range(5):
        taken = 0
        while source.next_batch(source.now_us()) is not None:
            taken += 1
        seen.append(taken)
        clock.advance(1.0)
    assert seen == [1, 1, 1, 1, 1]
    assert source.done and source.due_in_s() is None


def test_recorded_tick_day_is_repaired_the_same_way_each_time(recorded: Recorded) -> None:
    files = [recorded(name) for name in TICK_FILES]
    source, again = ReplaySource(files), ReplaySource(reversed(files))
    assert source.run == again.run
    assert source.defects == again.defects
    assert set(source.defects) == {"duplicate", "falling_volume", "backward", "first_tick_volume"}
    bars = _all(source)
    assert bars == _all(again)
    reliance = [bar for bar in bars if bar.symbol == "RELIANCE"]
    assert len(reliance) > 350
    # The day's cumulative volume at the last tick less what the first tick carried.
    assert 0 < sum(bar.volume for bar in reliance) <= 9_429_114


@pytest.mark.parametrize(
    ("name", "rules"),
    [
        ("tick_RELIANCE_2021-06-11_epoch1970.csv.gz", {"epoch_1970", "not_a_trading_day", "out_of_session"}),
        ("tick_SBIN_most_out_of_order.csv.gz", {"backward", "duplicate", "falling_volume"}),
        ("tick_TCS_multi_date.csv.gz", {"epoch_1970", "backward", "first_tick_volume"}),
        ("tick_NIFTY50_after_close_flood.csv.gz", {"out_of_session", "not_a_trading_day"}),
        ("yf_RELIANCE_1m_naive_float32.csv.gz", {"float_noise"}),
        ("yf_RELIANCE_5min_multiheader_utc.csv.gz", {"float_noise"}),
        ("yf_NIFTY_5min_zero_volume.csv.gz", {"float_noise"}),
        ("nifty_1m_2021-02_halt_endlabels.txt.gz", {"out_of_session"}),
        ("nse_hist_SBIN_mixed_series.csv.gz", {"unsorted", "duplicate"}),
    ],
)
def test_recorded_defects_are_survived_and_named(recorded: Recorded, name: str, rules: set[str]) -> None:
    source = ReplaySource([recorded(f"raw_defects/{name}")])
    assert rules <= set(source.defects)
    closes = [bar.close_us for bar in _all(source)]
    assert closes == sorted(set(closes))


@pytest.mark.parametrize(
    "name", ["pathway_RELIANCE_nested_json.csv.gz", "breeze_futures_ticks_depth_2025-11-17.csv.gz"]
)
def test_recorded_files_of_another_kind_are_refused(recorded: Recorded, name: str) -> None:
    with pytest.raises(DataError, match=name):
        ReplaySource([recorded(f"raw_defects/{name}")])


@pytest.mark.parametrize(
    ("name", "timeframe"),
    [
        ("minute/RELIANCE.csv.gz", "1m"),
        ("minute_yf/TCS_1m_2026jun.csv.gz", "1m"),
        ("minute_5m/INFY_2026.csv.gz", "5m"),
        ("daily/RELIANCE.csv.gz", "1d"),
        ("daily_adjusted/RELIANCE.csv.gz", "1d"),
    ],
)
def test_recorded_clean_files_lose_nothing(recorded: Recorded, name: str, timeframe: str) -> None:
    source = ReplaySource([recorded(name)])
    assert source.timeframe == timeframe
    assert source.defects == {}
    assert len(_all(source)) == source.rows


def test_closing_auction_is_no_continuous_trading(tmp_path: Path) -> None:
    rows = [f"{day} 15:{m},1,1,1,1,1" for day in ("2026-07-31", "2026-08-03") for m in (13, 14, 15, 16)]
    early, late = (ReplaySource([_csv(tmp_path, f"{name}.csv", *rows)]) for name in ("TCS", "BATAINDIA"))
    assert early.defects == {"out_of_session": 2}
    assert late.defects == {}
