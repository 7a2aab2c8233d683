from __future__ import annotations

import json
import shutil
from pathlib import Path

import apsw
import msgspec
import pytest

from order import slippage
from order.schema import FILE_NAME
from tests.app.test_cli import invoke, message

DAY = "2021-04-12"


def count(home: Path) -> int:
    sql = apsw.Connection(str(home / FILE_NAME), flags=apsw.SQLITE_OPEN_READONLY)
    (found,) = next(iter(sql.execute("SELECT count(*) FROM journal")))
    sql.close()
    return int(found)


def test_day_of_a_replay_is_decided_anew_alike(traded: Path) -> None:
    result = invoke("replay-day", DAY, "--json", home=traded)
    found = json.loads(result.stdout)
    assert (result.exit_code, found["differences"], found["first"]) == (0, 0, "")
    assert found["entries"] + found["lead_in"] == count(traded)
    assert found["moves"] > 0


def test_decision_that_differs_is_told_with_exit_1(traded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slippage, "NIFTY50_BPS", 9)
    result = invoke("replay-day", DAY, home=traded)
    assert result.exit_code == 1
    assert "then" in result.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    ("day", "said"), [("2021-04-13", "nothing of 2021-04-13"), ("yesterday", "is no day")]
)
def test_day_that_cannot_be_is_one_message(traded: Path, day: str, said: str) -> None:
    result = invoke("replay-day", day, home=traded)
    assert result.exit_code != 0
    assert said in message(result)


@pytest.mark.parametrize("name", ["journal.jsonl", "journal.jsonl.gz"])
def test_exported_file_is_proven_without_the_system(traded: Path, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    said = json.loads(invoke("journal", "export", "--out", str(path), "--json", home=traded).stdout)
    assert path.stat().st_mode & 0o077 == 0
    result = invoke("verify", "--journal", str(path), "--json", home=tmp_path / "nowhere")
    found = json.loads(result.stdout)
    assert (result.exit_code, found["findings"], found["entries"]["order"]) == (0, [], count(traded))
    assert sum(found["entries"].values()) == said["entries"]


def test_every_line_on_the_screen_is_json(traded: Path) -> None:
    lines = invoke("journal", "export", home=traded).stdout.splitlines()
    assert [msgspec.json.decode(line)["kind"] for line in (lines[0], lines[-1])] == ["head", "end"]


def test_file_that_was_changed_is_told_with_exit_1(traded: Path, tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    invoke("journal", "export", "--out", str(path), home=traded)
    path.write_text(path.read_text().replace('"RELIANCE"', '"TCS"', 1))
    result = invoke("verify", "--journal", str(path), home=traded)
    assert result.exit_code == 1
    assert "was changed" in result.stdout


def test_missing_file_is_one_message(tmp_path: Path) -> None:
    result = invoke("verify", "--journal", "none.jsonl", home=tmp_path)
    assert result.exit_code == 2
    assert "journal export" in message(result)


def test_days_outside_the_journal_give_a_file_without_entries(traded: Path) -> None:
    lines = invoke("journal", "export", "--to", "2020-01-01", home=traded).stdout.splitlines()
    assert len(lines) == 2


def test_outbox_that_was_changed_is_found(traded: Path, tmp_path: Path) -> None:
    home = Path(shutil.copytree(traded, tmp_path / "used", ignore=shutil.ignore_patterns("*.sock")))
    sql = apsw.Connection(str(home / "engine.db"))
    sql.execute("DELETE FROM outbox WHERE seq = (SELECT max(seq) FROM outbox)")
    sql.close()
    result = invoke("verify", "--json", home=home)
    assert result.exit_code == 1
    assert "the outbox ends at" in json.loads(result.stdout)["findings"][0]
