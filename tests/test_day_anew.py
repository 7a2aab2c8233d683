"""A recorded crash day is traded, then decided anew out of its journal: alike, until one input is altered."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from order.schema import FILE_NAME
from shared.calendar import DAY_US
from tests.rehearsal import PATIENCE_S, TRADING

DAY = "2021-04-12"
OPEN_US = 1_618_199_100_000_000
"""09:15 that day."""

SYMBOLS = ("RELIANCE", "TCS", "INFY", "SBIN")


def trading(home: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    done = subprocess.run(
        [*TRADING, *arguments, "--json"], env={"TRADING_HOME": str(home), "PATH": "/usr/bin:/bin"},
        cwd=home.parent, capture_output=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    return done.returncode, json.loads(done.stdout)


@pytest.fixture(scope="module")
def traded(tmp_path_factory: pytest.TempPathFactory, market_data: Path) -> Path:
    """A state folder in which the minutes around the day were traded."""
    home = tmp_path_factory.mktemp("day") / "var"
    files = [str(market_data / "minute" / f"{symbol}.csv.gz") for symbol in SYMBOLS]
    code, found = trading(home, "run", "--replay", *files, "--speed", "max", "--until-end")
    assert (code, found["lost"], found["unexplained"]) == (0, 0, 0)
    return home


def altered(home: Path, change: Callable[[list[Any]], bool]) -> int:
    """Alter the first input of which a fill came and that *change* takes; return the number of its entry."""
    with closing(sqlite3.connect(home / FILE_NAME)) as sql:
        for no, body in sql.execute("SELECT no, body FROM journal WHERE kind = 'commit' ORDER BY no"):
            version, inputs, rows = msgspec.msgpack.decode(body)
            if "fills" in rows and any(change(each) for each in inputs):
                new = msgspec.msgpack.encode([version, inputs, rows])
                sql.execute("UPDATE journal SET body = ? WHERE no = ?", (new, no))
                sql.commit()
                return int(no)
    raise AssertionError("there is no such input")


def dearer(given: list[Any]) -> bool:
    """Make a price of the day one rupee higher."""
    quotes = given[2][1] if given[0] == "quotes" else []
    if not quotes or not OPEN_US < quotes[0][2] < OPEN_US + DAY_US:
        return False
    quotes[0][1] += 100
    return True


def test_day_decided_anew_is_the_day_that_was(traded: Path) -> None:
    code, found = trading(traded, "replay-day", DAY)
    assert (code, found["differences"], found["first"]) == (0, 0, "")
    assert found["entries"] > 50 and found["moves"] > 100


def test_altered_input_is_named_by_the_decision_that_differs(traded: Path, tmp_path: Path) -> None:
    home = Path(shutil.copytree(traded, tmp_path / "var", ignore=shutil.ignore_patterns("*.sock", "valkey")))
    no = altered(home, dearer)
    code, found = trading(home, "replay-day", DAY)
    assert code == 1
    assert found["differences"] > 0
    assert found["first"].startswith(f"entry {no} (commit), orders (")
    assert re.search(r"value_paise \d+ then, \d+ now", found["first"])
    code, told = trading(home, "verify")
    assert code == 1
    assert any(f"entry {no}" in line for line in told["findings"]), told["findings"]
