from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.app.test_cli import invoke

Trading = Callable[..., subprocess.CompletedProcess[str]]


def test_orders_of_a_user_tell_each_reason_once_with_its_remedy(
    tmp_path: Path, trading: Trading, wave: Path
) -> None:
    home = tmp_path / "var"
    for words in (
        ("users", "add", "tight", "--limit", "max_order_inr=1000", "--limit", "max_entries_day=1"),
        ("users", "subscribe", "tight", "ma_crossover", "--shares", "10"),
        ("run", "--replay", str(wave), "--until-end", "--json"),
        ("users", "limits", "tight", "max_order_inr=25000"),
        ("run", "--replay", str(wave), "--again", "--until-end", "--json"),
    ):
        assert trading(*words, home=home).returncode == 0
    asked = ("orders", "--user", "tight", "-n", "999")
    rows = [json.loads(line) for line in invoke(*asked, "--json", home=home).stdout.splitlines()]
    refused = Counter(row["rule"].partition(":")[0] for row in rows if row["state"] == "REFUSED")
    assert {"order_value", "entries_day"} <= set(refused)
    assert {row["state"] for row in rows} == {"REFUSED", "FILLED"}
    table, _, told = invoke(*asked, home=home).stdout.partition("\nRefused, and what to do\n")
    assert "REFUSED" in table
    for name, count in refused.items():
        assert told.count(f"{name}, {count} ×") == 1
    for row in rows:
        assert bool(row["remedy"]) is (row["state"] == "REFUSED")
        for word in row["remedy"].split():
            assert word in told
    everybody = invoke("orders", "-n", "999", home=home).stdout
    assert "REFUSED" not in everybody
    assert "what to do" not in everybody
