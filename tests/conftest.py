"""What every test may count on: no configuration from outside, and nothing skipped in CI."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from shared.settings import Settings
from shared.store import sqlite

PROJECT = Path(__file__).resolve().parents[1]
LONGEST = (
    "test_crash.py", "test_account.py", "test_everything_killed.py", "test_rehearsal.py", "test_groups.py",
    "test_owners_shares.py", "test_late_exit.py", "strategy/test_relay.py", "app/test_cli.py",
    "test_tampering.py", "app/test_run.py", "app/test_arming.py",
)  # fmt: skip
"""Files that begin first: with several workers, a long file that begins last keeps all others waiting."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first, after whatever else has ordered the tests."""
    places = {PROJECT / "tests" / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Start each test unconfigured, in a folder of its own: no `.env` is read and no `./var` written."""
    for name in Settings.names():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def own_logs(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let what a test, or a command that it runs in this process, says of logs end with it."""
    configure = structlog.configure

    def uncached(**how: Any) -> None:
        configure(**{**how, "cache_logger_on_first_use": False})

    monkeypatch.setattr(structlog, "configure", uncached)
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session", autouse=True)
def short_wal() -> Iterator[None]:
    """Let stores opened here make no room in their WAL: a comfort that costs each of thousands 20 ms."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite, "WAL_ROOM_BYTES", 4096)
        yield


@pytest.fixture(scope="session")
def market_data() -> Path:
    """Return the folder of recorded market data, or skip: it is not part of the project."""
    named = os.environ.get("TRADING_TEST_DATA")
    folder = Path(named) if named else PROJECT.parent / "shared" / "market-data"
    if not folder.is_dir():
        pytest.skip(f"no market data at {folder}; name its folder in TRADING_TEST_DATA")
    return folder


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """Return the address of a PostgreSQL server."""
    # Imported here, as below: most tests need neither the driver nor a server.
    from tests import postgres

    with postgres.server() as url:
        yield url


@pytest.fixture(scope="session")
def postgres_template(postgres_server: str) -> Iterator[str]:
    """Return the address of a database with the order store's tables; a copy is cheaper than a migration."""
    from order.stores import PostgresOrderStore
    from tests import postgres

    with postgres.database(postgres_server) as url:
        PostgresOrderStore(url, "paper").close()
        postgres.run(url, "TRUNCATE meta, writers")
        yield url


@pytest.fixture
def postgres_url(postgres_server: str, postgres_template: str) -> Iterator[str]:
    """Return the address of an own, empty order store on PostgreSQL."""
    from tests import postgres

    with postgres.database(postgres_server, postgres_template) as url:
        yield url


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skipped test into a failed one where CI=true: there, everything has been installed."""
    report = yield
    if os.environ.get("CI") == "true" and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped in CI: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Do the same for modules that skip as a whole."""
    report = yield
    if os.environ.get("CI") == "true" and report.outcome == "skipped":
        report.outcome = "failed"
        report.longrepr = f"skipped in CI: {report.longrepr}"
    return report
