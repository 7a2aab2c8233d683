from __future__ import annotations

import json
import shutil
from datetime import date
from pathlib import Path

import apsw
import msgspec
import pytest

from app.doctor import Finding, examine, show
from app.plan import CREDENTIALS
from app.verify import verify_home
from order.reconcile import Finding as Difference
from order.reconcile import Kind, Reconciliation
from order.schema import FILE_NAME
from order.stores import PostgresOrderStore
from shared.store.lock import FileLock
from tests import postgres
from tests.order.conftest import MONDAY_US


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRADING_HOME", str(tmp_path / "var"))
    return tmp_path / "var"


@pytest.fixture
def used(home: Path, traded: Path) -> Path:
    return Path(shutil.copytree(traded, home, ignore=shutil.ignore_patterns("*.sock")))


def faults(today: date | None = None) -> dict[str, Finding]:
    return {finding.name: finding for finding in examine(today) if not finding.ok}


def test_doctor_with_nothing_set_up_finds_no_fault_and_makes_nothing(home: Path) -> None:
    assert faults() == {}
    assert not home.exists()


def test_doctor_of_a_used_folder_finds_no_fault(used: Path) -> None:
    found = {finding.name: finding.what for finding in examine()}
    assert faults() == {}
    assert "environment paper" in found["order store"]
    assert found["locks"] == "free, nothing runs on this state"


def note_comparison(home: Path, *, clean: bool) -> None:
    """Store how the last comparison of the first user's account went."""
    text = "TCS INTRADAY: 5 at the broker, 0 here"
    finding = Difference(Kind.DIFFERENCE, "TCS", "INTRADAY", 5, text=text)
    made = Reconciliation(
        at_us=MONDAY_US, when="minute", clean=clean, findings=() if clean else (finding,), orders=3,
        foreign=1, cash_paise=100_000_050,
    )  # fmt: skip
    connection = apsw.Connection(str(home / FILE_NAME))
    value = msgspec.json.encode(made).decode()
    connection.execute("INSERT INTO account_marks VALUES (1, 'reconciled', '', ?, 1)", (value,))
    connection.close()


@pytest.mark.parametrize(
    ("clean", "said"), [(True, "clean"), (False, "TCS INTRADAY: 5 at the broker, 0 here")]
)
def test_doctor_tells_how_the_broker_and_the_books_agree(used: Path, clean: bool, said: str) -> None:
    note_comparison(used, clean=clean)
    (found,) = (each for each in examine() if each.name == "reconciliation")
    assert found.ok is clean
    assert found.what == (
        f"user_001: 01 Jul 2024 10:00:00 IST (minute): {said}; 3 orders, 1 of others, ₹1,000,000.50 there"
    )


def test_verify_tells_it_too(used: Path) -> None:
    note_comparison(used, clean=False)
    found = verify_home(used).as_dict()
    assert "TCS INTRADAY: 5 at the broker" in found["reconciled"]["user_001"]


def test_doctor_names_who_holds_the_locks_and_takes_none(used: Path) -> None:
    lock = FileLock(used / "order.lock")
    lock.acquire()
    found = {finding.name: finding.what for finding in examine()}
    lock.release()
    assert found["locks"].startswith("books: pid ")
    assert lock.try_acquire()
    lock.release()


def test_doctor_with_a_broken_env_tells_every_setting(home: Path) -> None:
    Path(".env").write_text("PAPER_PROFILE=fancy\nREDIS_URI=redis://localhost\nSIGNAL_KEY=short\n")
    told = [finding.what for finding in examine() if not finding.ok]
    assert len(told) == 3
    assert "Did you mean REDIS_URL?" in " ".join(told)
    assert "short" not in " ".join(told)


def test_doctor_with_paper_off_and_nothing_else_plans_a_sandbox(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAPER_TRADING", "false")
    found = {finding.name: finding.what for finding in examine()}
    assert found["plan"] == "market data: embedded, orders: SANDBOX"


def test_doctor_tells_that_orders_are_live_and_that_a_rehearsals_folder_is_none_for_them(
    used: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAPER_TRADING", "false")
    for name in CREDENTIALS:
        monkeypatch.setenv(name, "wrong")
    found = {finding.name: finding for finding in examine()}
    assert (found["plan"].ok, found["plan"].what) == (True, "market data: live, orders: LIVE")
    assert "another folder for live" in found["order store"].remedy
    list_ = found["instruments"]
    assert (list_.ok, "at most 3 days" in list_.what, "refresh" in list_.remedy) == (False, True, True)
    monkeypatch.setenv("PAPER_TRADING", "true")
    assert "instruments" not in faults(), "what is read may be named by an old list"


def test_doctor_of_a_key_that_others_may_read_says_how_to_close_it(used: Path) -> None:
    (used / "signal.key").chmod(0o640)
    assert faults()["signal key"].remedy == f"chmod 600 {used / 'signal.key'}"


def test_doctor_of_a_store_of_another_environment_is_a_fault(used: Path) -> None:
    _change(used / "orders.db", "UPDATE meta SET value = 'live' WHERE key = 'environment'")
    assert list(faults()) == ["order store"]


def test_doctor_of_a_store_from_the_future_asks_for_the_newer_version(used: Path) -> None:
    _change(used / "engine.db", "UPDATE alembic_version SET version_num = '9999'")
    assert "newer version" in faults()["engine store"].remedy


def test_doctor_of_damaged_pages_is_a_fault(used: Path) -> None:
    path = used / "orders.db"
    content = bytearray(path.read_bytes())
    content[4096 : 4096 * 4] = b"\xff" * (4096 * 3)
    path.write_bytes(content)
    assert "order store" in faults()


def test_doctor_without_a_server_at_redis_url_is_a_fault(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", f"unix://{home}/nobody.sock")
    assert "REDIS_URL" in faults()["bus"].remedy


@pytest.mark.parametrize(
    ("today", "ok", "said"),
    [(date(2026, 11, 30), True, "knows 2026"), (date(2199, 1, 1), False, "2199")],
)
def test_doctor_judges_the_calendar_by_the_year(home: Path, today: date, ok: bool, said: str) -> None:
    finding = next(each for each in examine(today) if each.name == "calendar")
    assert (finding.ok, said in finding.what) == (ok, True)


def test_doctor_in_december_warns_of_a_missing_next_year(home: Path) -> None:
    from shared.calendar import Calendar

    calendar = Calendar.load()
    last = next(year for year in range(2026, 2100) if not calendar.known(year + 1))
    finding = next(each for each in examine(date(last, 12, 1)) if each.name == "calendar")
    assert finding.ok
    assert str(last + 1) in finding.what
    assert finding.remedy


def test_findings_are_shown_with_their_remedies(capsys: pytest.CaptureFixture[str]) -> None:
    found = [Finding("a", True, "fine"), Finding("bus", False, "gone", "Start it.")]
    show(found, as_json=False)
    assert capsys.readouterr().out.splitlines() == [
        "ok     a    fine",
        "FAULT  bus  gone",
        "            → Start it.",
        "1 fault.",
    ]
    show(found, as_json=True)
    assert [json.loads(line)["ok"] for line in capsys.readouterr().out.splitlines()] == [True, False]


def _change(path: Path, statement: str) -> None:
    connection = apsw.Connection(str(path))
    connection.execute(statement)
    connection.close()


def test_doctor_looks_at_books_on_postgresql(
    home: Path, monkeypatch: pytest.MonkeyPatch, postgres_server: str
) -> None:
    with postgres.database(postgres_server) as url:
        monkeypatch.setenv("DATABASE_URL", url)
        assert "order store" not in faults()
        PostgresOrderStore(url, "paper", "family").close()
        assert "order store" not in faults()
        postgres.run(url, "UPDATE meta SET value = 'live'")
        assert "environment live" in faults()["order store"].what
    assert "order store" in faults()
