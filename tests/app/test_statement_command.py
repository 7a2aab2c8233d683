from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from app.statement_command import LOT, RECORD
from tests.app.test_cli import invoke, message
from tests.rehearsal import PATIENCE_S, Rehearsal


def rows(home: Path, *arguments: str) -> list[dict[str, Any]]:
    result = invoke(*arguments, "--json", home=home)
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def summed(found: list[dict[str, Any]], name: str) -> Decimal:
    return sum((Decimal(row[name] or 0) for row in found), Decimal(0))


@pytest.fixture(scope="module")
def crash_day(market_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ticks of 12 April 2021, replayed."""
    home = tmp_path_factory.mktemp("crash-day") / "var"
    files = [str(market_data / "ticks" / f"{name}_2021-04-12.csv.gz") for name in ("RELIANCE",)]
    assert invoke("run", "--replay", *files, "--speed", "max", "--until-end", home=home).exit_code == 0
    return home


def test_recorded_day_adds_up_with_profit_charges_and_verify(crash_day: Path) -> None:
    profits = {row["user_id"]: row for row in rows(crash_day, "profit")}
    assert len(profits) == 3
    for user_id, profit in profits.items():
        (found,) = rows(crash_day, "statement", "--user", user_id)
        assert found["day"] == "2021-04-12"
        for name in ("realised", "charges"):
            assert Decimal(found["carried"][name]) == Decimal(profit[name])
            assert Decimal(found["of_day"][name]) == Decimal(profit[name])
        assert Decimal(found["net"]) == Decimal(profit["net"])
        booked = rows(crash_day, "charges", "--user", user_id)
        assert sum(map(Decimal, found["charges"].values())) == summed(booked, "total")
        assert Decimal(found["charges"]["stt"]) == summed(booked, "stt")
        assert len(found["orders"]) == len(rows(crash_day, "orders", "--user", user_id, "--all", "-n", "999"))
        fills = rows(crash_day, "fills", "--user", user_id, "-n", "999")
        assert len(found["fills"]) == len(fills) > 0
        assert summed(found["fills"], "charges") == summed(fills, "charges")
        lots = rows(crash_day, "lots", "--user", user_id, "--year", "2021-22")
        assert {lot["tax_class"] for lot in lots} == {"speculative"}
        assert summed(lots, "profit") == Decimal(profit["realised"])
        assert summed(lots, "charges") == Decimal(profit["charges"])
        assert rows(crash_day, "lots", "--user", user_id, "--year", "2020-21") == []
    assert invoke("verify", home=crash_day).exit_code == 0


def test_csv_has_all_of_it(crash_day: Path, tmp_path: Path) -> None:
    (found,) = rows(crash_day, "statement", "--user", "user_002")
    path = tmp_path / "day.csv"
    assert invoke("statement", "--user", "user_002", "--csv", str(path), home=crash_day).exit_code == 0
    assert path.stat().st_mode & 0o077 == 0
    kept = table(path)
    assert tuple(kept[0]) == RECORD
    kinds = {row["record"] for row in kept}
    assert {"order", "fill", "disposition", "charge stt", "of_day", "net", "adjustment"} <= kinds
    spent = [row for row in kept if row["record"] in ("fill", "adjustment")]
    assert summed(spent, "charges") == Decimal(found["of_day"]["charges"])
    by_kind = [row for row in kept if row["record"].startswith("charge ")]
    assert summed(by_kind, "amount") == Decimal(found["of_day"]["charges"])
    slipped = [row for row in kept if row["record"] == "order"]
    assert summed(slipped, "slippage") == Decimal(found["slippage"])


def test_page_and_lots_are_written_and_told(crash_day: Path, tmp_path: Path) -> None:
    page, lots = tmp_path / "day.html", tmp_path / "lots.csv"
    said = invoke("statement", "--user", "user_002", "--html", str(page), home=crash_day).stdout
    assert str(page) in said
    assert page.read_text().startswith("<!doctype html>")
    asked = ("lots", "--user", "user_002", "--year", "2021-22")
    said = invoke(*asked, "--csv", str(lots), home=crash_day).stdout
    kept = table(lots)
    assert said == f"{len(kept)} lots in {lots}\n"
    assert tuple(kept[0]) == LOT
    assert kept[0]["bought"] == kept[0]["sold"] == "2021-04-12"


def test_terminal_shows_every_part(crash_day: Path) -> None:
    said = invoke("statement", "--user", "user_003", "--day", "2021-04-12", home=crash_day).stdout
    for part in ("Carried forward", "STT", "slippage against the reference", "Fills", "REFUSED"):
        assert part in said
    said = invoke("statement", "--user", "user_003", "--day", "2021-04-11", home=crash_day).stdout
    assert "No orders on this day." in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("statement", "--user", "nobody"), "There is no user 'nobody'"),
        (("statement", "--user", "user_001", "--day", "12.4.2021"), "'12.4.2021' is no day"),
        (("statement", "--user", "user_001", "--run", "live"), "There is no market 'live'"),
        (("lots", "--user", "user_001", "--year", "2026"), "'2026' is no financial year"),
        (("lots", "--user", "user_001", "--year", "2026-28"), "2026-27"),
        (("lots", "--user", "user_001", "--year", "9999-00"), "'9999-00' is no financial year"),
    ],
)
def test_mistakes_are_told(arguments: tuple[str, ...], said: str, traded: Path) -> None:
    result = invoke(*arguments, home=traded)
    assert result.exit_code != 0
    assert said in message(result)


@pytest.fixture
def rehearsal(tmp_path: Path) -> Iterator[Rehearsal]:
    made = Rehearsal(tmp_path)
    yield made
    made.close()


@pytest.mark.timeout(3 * PATIENCE_S)
def test_day_at_the_sandbox_is_the_sandbox_own_ledger(rehearsal: Rehearsal) -> None:
    rehearsal.sandbox("--speed", "600", "--seed", "7")
    run = rehearsal.start("run", "--for", "12")
    rehearsal.arm()
    assert run.wait(12 + PATIENCE_S) == 0
    assert rehearsal.start("run", "--for", "3").wait(PATIENCE_S) == 0  # what was filled at the end is read
    ledger = {order["ordertag"]: order for order in rehearsal.ask("/sandbox/ledger")["orders"]}
    days = {order["placed_at"][:10] for order in rehearsal.rows("orders", "--user", "user_001", "-n", "9999")}
    found = [
        each
        for day in sorted(days)
        for each in rehearsal.rows("statement", "--user", "user_001", "--day", day)
    ]
    shown = {line["order_id"]: line for each in found for line in each["orders"] if line["filled"]}
    assert len(shown) >= 5, "too few orders to show anything"
    theirs = {tag: order for tag, order in ledger.items() if int(order["filledshares"])}
    assert shown.keys() == theirs.keys()
    for tag, line in shown.items():
        assert line["filled"] == int(theirs[tag]["filledshares"])
        average = Decimal(str(theirs[tag]["averageprice"]))
        assert abs(Decimal(line["average_price"]) - average) <= Decimal("0.005")
        assert 1 <= line["place"] <= line["of"] or line["purpose"] == "STOP"
    (profit,) = rehearsal.rows("profit", "--user", "user_001")
    for name in ("realised", "charges"):
        total = sum(Decimal(each["of_day"][name]) for each in found)
        assert total == Decimal(found[-1]["carried"][name]) == Decimal(profit[name])
    assert Decimal(found[-1]["net"]) == Decimal(profit["net"])
    assert rehearsal.rows("verify")[0]["unexplained"] == 0
