from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from shared.errors import DataError
from shared.instrument_master import (
    FILE_NAME,
    Master,
    MasterRow,
    compare,
    kind_of,
    load,
    merged,
    problems,
    save,
)
from shared.instruments import Instruments

ROW = MasterRow("RELIANCE", "RELIANCE-EQ", "2885", "EQ", 10, 1, 200_000, True, True)


def changed(**values: object) -> MasterRow:
    return msgspec.structs.replace(ROW, **values)


def many(count: int) -> list[MasterRow]:
    return [changed(symbol=f"S{number}", token=str(number)) for number in range(count)]


def test_what_is_kept_comes_back(tmp_path: Path) -> None:
    assert load(tmp_path) is None
    master = Master("2026-11-23", "here", [ROW])
    save(tmp_path, master)
    assert load(tmp_path) == master
    (tmp_path / FILE_NAME).write_bytes(b"junk")
    with pytest.raises(DataError, match="damaged"):
        load(tmp_path)


def test_sane_rows_have_no_problems() -> None:
    assert problems([ROW, changed(symbol="NIFTY50", token="1", series="INDEX", tick_paise=0)]) == []


@pytest.mark.parametrize(
    "row",
    [
        changed(token="", symbol="X"),
        changed(token="12x", symbol="X"),
        changed(symbol="X"),
        changed(token="1", tick_paise=0),
        changed(token="1", tick_paise=7),
        changed(token="1", lot=0),
        changed(token="1", freeze_quantity=-1),
    ],
)
def test_senseless_row_is_found(row: MasterRow) -> None:
    assert len(problems([ROW, row])) == 1


def test_same_list_twice_differs_in_nothing() -> None:
    found = compare(many(100), many(100))
    assert (found.new, found.gone, found.changed, found.alarms) == ([], [], [], [])


def test_ordinary_changes_are_told_without_alarm() -> None:
    new, finer = changed(symbol="NEW", token="999"), changed(symbol="S0", token="0", tick_paise=5)
    after = [new, finer, *many(100)[2:]]
    found = compare(many(100), after)
    assert (found.new, found.gone, found.changed) == (["NEW"], ["S1"], ["S0: tick_paise 10 → 5"])
    assert found.alarms == []


@pytest.mark.parametrize(
    ("after", "alarm"),
    [
        (many(100)[:40], "cut off"),
        (many(100)[:90], "are gone"),
        ([changed(symbol=f"S{n}", token=str(n + 500)) for n in range(100)], "another token"),
        ([changed(symbol="S0", token="0", freeze_quantity=100), *many(100)[1:]], "freeze quantity fell"),
    ],
)
def test_odd_changes_are_an_alarm(after: list[MasterRow], alarm: str) -> None:
    assert any(alarm in line for line in compare(many(100), after).alarms)


def test_table_is_renewed_and_keeps_what_only_it_knows(tmp_path: Path) -> None:
    known = list(Instruments.load())
    fresh = changed(symbol="FRESH", trading_symbol="FRESH-BE", token="77", series="BE")
    rows = [changed(tick_paise=50), fresh]
    renewed = {each.symbol: each for each in merged(known, Master("2026-11-23", "here", rows))}
    reliance = renewed["RELIANCE"]
    assert (reliance.tick_paise, reliance.freeze_quantity, reliance.nifty50) == (50, 200_000, True)
    assert renewed["FRESH"].trade_to_trade
    assert (renewed["TCS"].token, renewed["TCS"].tick_paise) == ("", 5)
    path = tmp_path / "map.json"
    Instruments.save(path, renewed.values(), "about", "2026-11-23")
    again = Instruments.load(path)
    assert list(again) == list(renewed.values())
    assert again.as_of == "2026-11-23"
    assert replace(reliance, token="1") != reliance


@pytest.mark.parametrize(
    ("symbol", "kind"),
    [
        ("RELIANCE", "EQ"),
        ("NIFTYBEES", "ETF"),
        ("MON100ETF", "ETF"),
        ("GOLDBEES", "ETF_OTHER"),
        ("LIQUIDCASE", "ETF_OTHER"),
        ("SETFGOLD", "ETF_OTHER"),
        ("GOLDIAM", "EQ"),
    ],
)
def test_kind_of_a_new_instrument_is_read_from_its_name(symbol: str, kind: str) -> None:
    assert kind_of(symbol) == kind
