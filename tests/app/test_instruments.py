from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.cli import app
from shared.instruments import DEFAULT_PATH, Instruments

REAL = Path(__file__).resolve().parents[2].parent / "shared" / "market-data" / "scrip_master_subset.json"


def row(symbol: str, token: str, **more: object) -> dict[str, object]:
    return {
        "token": token, "symbol": symbol, "name": symbol[:-3], "lotsize": "1", "instrumenttype": "",
        "exch_seg": "NSE", "tick_size": "5.000000", "freeze_qty": "1000", "is_cas_enabled": False, **more,
    }  # fmt: skip


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A copy of the table of instruments."""
    path = tmp_path / "map.json"
    shutil.copy(DEFAULT_PATH, path)
    return path


def run(*arguments: str, home: Path) -> tuple[int, str, str]:
    environment = {"TRADING_HOME": str(home), "COLUMNS": "120"}
    result = CliRunner().invoke(app, ["instruments", *arguments], env=environment)
    return result.exit_code, result.stdout, result.stderr


def refresh(tmp_path: Path, table: Path, rows: list[dict[str, object]], *more: str) -> tuple[int, str, str]:
    path = tmp_path / "master.json"
    path.write_text(json.dumps(rows))
    return run("refresh", "--from", str(path), "--table", str(table), *more, home=tmp_path / "var")


def whole() -> list[dict[str, object]]:
    """All that the table has, as a broker would list it."""
    return [
        row(each.trading_symbol, each.token)
        for each in Instruments.load()
        if each.token and each.tradable
    ]


def test_refresh_renews_the_table_and_tells_what_changed(tmp_path: Path, table: Path) -> None:
    code, said, _ = refresh(tmp_path, table, whole(), "--accept", "--json")
    assert code == 0
    assert json.loads(said)["listed"] == len(whole())
    assert Instruments.load(table).get("RELIANCE").freeze_quantity == 1000
    code, said, _ = refresh(tmp_path, table, [*whole(), row("FRESH-EQ", "424242")], "--json")
    assert (code, json.loads(said)["new"]) == (0, ["FRESH"])
    assert Instruments.load(table).get("FRESH").token == "424242"


def test_odd_list_is_refused_and_changes_nothing(tmp_path: Path, table: Path) -> None:
    refresh(tmp_path, table, whole(), "--accept")
    before = table.read_bytes()
    code, _, said = refresh(tmp_path, table, whole()[:3])
    assert code == 1
    assert "cut off" in said
    assert "--accept" in said
    assert table.read_bytes() == before


def test_list_that_is_torn_is_refused(tmp_path: Path, table: Path) -> None:
    path = tmp_path / "master.json"
    path.write_text(json.dumps(whole())[:-40])
    code, _, said = run("refresh", "--from", str(path), "--table", str(table), home=tmp_path)
    assert (code, "cut off" in said) == (1, True)


def test_find_and_show_tell_what_is_known(tmp_path: Path) -> None:
    code, said, _ = run("find", "relia", home=tmp_path)
    assert (code, "2885" in said) == (0, True)
    code, said, _ = run("show", "RELIANCE", home=tmp_path)
    assert (code, "RELIANCE-EQ" in said, "0.05 rupees" in said) == (0, True, True)
    assert json.loads(run("show", "TCS", "--json", home=tmp_path)[1])["token"] == "11536"
    code, _, said = run("show", "RELIANSE", home=tmp_path)
    assert (code, "Did you mean RELIANCE" in said) == (2, True)
    assert run("find", "nothing like it", home=tmp_path)[0] == 2


@pytest.mark.skipif(not REAL.exists(), reason="the recorded rows are not beside the project")
def test_recorded_rows_of_the_real_list_are_read(tmp_path: Path, table: Path) -> None:
    rows = json.loads(REAL.read_text())["rows"]
    code, said, error = refresh(tmp_path, table, rows, "--accept", "--json")
    assert code == 0, error
    told = json.loads(said)
    assert told["listed"] > 50
    assert Instruments.load(table).get("RELIANCE").token == "2885"
