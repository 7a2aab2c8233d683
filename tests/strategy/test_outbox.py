from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from shared.bus.pointer import chain_digest
from shared.clock import ManualClock, utc_now
from shared.errors import LockHeld, RefusedBySafety, StoreError
from shared.ids import signal_id
from shared.models import Signal, SignalType
from strategy import outbox as outbox_module
from strategy.outbox import DATABASE_FILE, SCHEMA, Outbox

CLOCK = ManualClock()
WEEK_S = 7 * 24 * 3600 + 1


def signal(number: int, **changes: object) -> Signal:
    now = utc_now(CLOCK)
    fields = {
        "signal_id": signal_id("sim", "s", "TCS", "1m", number, 0),
        "run": "sim",
        "strategy_id": "s",
        "symbol": "TCS",
        "timeframe": "1m",
        "signal_type": SignalType.BUY,
        "price": Decimal("100.05"),
        "bar_close": now,
        "accepted_at": now,
        "valid_until": now + timedelta(seconds=60),
    }
    return Signal(**(fields | changes))  # type: ignore[arg-type]  # a dict of fields


@pytest.fixture
async def outbox(tmp_path: Path) -> AsyncIterator[Outbox]:
    """An outbox in an empty state folder."""
    opened = await Outbox.open(tmp_path, "paper", ManualClock())
    yield opened
    await opened.close()


def test_schema_head_is_that_of_the_scripts() -> None:
    config = Config()
    config.set_main_option("script_location", str(SCHEMA.migrations))
    assert ScriptDirectory.from_config(config).get_current_head() == SCHEMA.head


async def test_signals_get_gapless_numbers_and_chained_digests(outbox: Outbox) -> None:
    assert (outbox.head, outbox.first) == (0, 1)
    assert await outbox.commit("sim", [signal(1), signal(2)], {}) == [1, 2]
    assert await outbox.commit("sim", [signal(3)], {}) == [3]
    rows = await outbox.rows(0)
    assert [row.seq for row in rows] == [1, 2, 3]
    assert rows[2].digest == chain_digest(rows[1].digest, rows[2].payload)
    assert outbox.head == 3 and await outbox.digest_at(3) == rows[2].digest
    assert await outbox.digest_at(0) == "" and await outbox.digest_at(4) is None


async def test_known_signal_keeps_its_number(outbox: Outbox) -> None:
    await outbox.commit("sim", [signal(1), signal(2)], {})
    assert await outbox.commit("sim", [signal(3), signal(2), signal(3), signal(4)], {}) == [3, 2, 3, 4]
    assert len(await outbox.rows(0)) == 4
    changed = signal(1, price=Decimal("7"))
    assert await outbox.commit("sim", [changed], {}) == [1]
    assert outbox.head == 4


async def test_checkpoints_belong_to_a_run_and_never_go_back(outbox: Outbox) -> None:
    key = ("s", "TCS", "1m")
    await outbox.commit("sim", [], {key: 50})
    await outbox.commit("sim", [], {key: 40, ("s", "INFY", "1m"): 1})
    assert await outbox.checkpoints("sim") == {key: 50, ("s", "INFY", "1m"): 1}
    assert await outbox.checkpoints("live") == {}


async def test_everything_survives_a_restart(tmp_path: Path) -> None:
    first = await Outbox.open(tmp_path, "paper", CLOCK)
    await first.commit("sim", [signal(1), signal(2)], {("s", "TCS", "1m"): 9})
    await first.set_meta({"simulated_until": "5"})
    epoch, rows = first.epoch, await first.rows(0)
    await first.close()
    await first.close()
    again = await Outbox.open(tmp_path, "paper", CLOCK)
    assert again.head == 2 and again.epoch == epoch and await again.rows(0) == rows
    assert await again.checkpoints("sim") == {("s", "TCS", "1m"): 9}
    assert await again.meta("simulated_until") == "5" and await again.meta("other") is None
    assert await again.commit("sim", [signal(3)], {}) == [3]
    await again.close()


async def test_invalid_signal_writes_nothing(outbox: Outbox) -> None:
    with pytest.raises(ValueError, match="price"):
        await outbox.commit("sim", [signal(1), signal(2, price=Decimal("-1"))], {("s", "TCS", "1m"): 9})
    assert outbox.head == 0 and await outbox.rows(0) == [] and await outbox.checkpoints("sim") == {}


async def test_failed_commit_changes_no_memory_and_the_next_one_works(outbox: Outbox) -> None:
    await outbox.commit("sim", [signal(1)], {})
    connection = outbox._database.connection
    connection.execute("VACUUM")  # no free pages to fall back on
    pages = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages[0] if pages else 0}")
    with pytest.raises(StoreError, match="full"):
        await outbox.commit("sim", [signal(number, reason="x" * 500) for number in range(2, 200)], {})
    assert outbox.head == 1
    connection.execute("PRAGMA max_page_count = 100000")
    assert await outbox.commit("sim", [signal(2)], {}) == [2]
    assert [row.seq for row in await outbox.rows(0)] == [1, 2]


async def test_cancelled_commit_is_whole(outbox: Outbox) -> None:
    tasks = [asyncio.create_task(outbox.commit("sim", [signal(number)], {})) for number in range(1, 6)]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert await outbox.commit("sim", [signal(9)], {}) == [outbox.head]
    rows = await outbox.rows(0)
    assert [row.seq for row in rows] == list(range(1, outbox.head + 1))


async def test_rows_come_from_memory_and_disk_alike(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_module, "TAIL_ROWS", 4)
    for number in range(1, 11):
        await outbox.commit("sim", [signal(number)], {})
    for after in range(11):
        assert [row.seq for row in await outbox.rows(after, 3)] == list(range(after + 1, min(after + 4, 11)))


async def test_second_engine_is_told_who_holds_the_outbox(outbox: Outbox, tmp_path: Path) -> None:
    with pytest.raises(LockHeld, match="pid"):
        await Outbox.open(tmp_path, "paper", CLOCK)


async def test_other_environment_is_refused_and_frees_the_lock(tmp_path: Path) -> None:
    await (await Outbox.open(tmp_path, "paper", CLOCK)).close()
    with pytest.raises(RefusedBySafety, match="paper"):
        await Outbox.open(tmp_path, "live", CLOCK)
    await (await Outbox.open(tmp_path, "paper", CLOCK)).close()


async def test_new_epoch_is_kept_with_its_start(tmp_path: Path) -> None:
    outbox = await Outbox.open(tmp_path, "paper", CLOCK)
    await outbox.commit("sim", [signal(number) for number in range(1, 6)], {})
    old = outbox.epoch
    assert old.full and not old.placed
    await outbox.mark_placed()
    new = await outbox.renew_epoch("wiped", start=4)
    assert new.name != old.name and new.start == 4 and not new.full
    await outbox.renew_epoch("restored", start=1, void_older=True)
    await outbox.close()
    again = await Outbox.open(tmp_path, "paper", CLOCK)
    assert [epoch.void for epoch in again.epochs] == [True, True, False]
    assert again.epochs[0].placed and again.epoch.full
    await again.close()


async def test_prune_takes_only_old_rows_below_the_cursor(tmp_path: Path) -> None:
    clock = ManualClock()
    outbox = await Outbox.open(tmp_path, "paper", clock)
    await outbox.commit("sim", [signal(number) for number in range(1, 6)], {})
    assert await outbox.prune(5) == 0
    clock.advance(WEEK_S)
    await outbox.commit("sim", [signal(6)], {})
    assert await outbox.prune(4) == 3
    assert outbox.first == 4 and [row.seq for row in await outbox.rows(3)] == [4, 5, 6]
    digest = await outbox.digest_at(3)
    assert digest and chain_digest(digest, (await outbox.rows(3, 1))[0].payload) == await outbox.digest_at(4)
    clock.advance(WEEK_S)
    assert await outbox.prune(100) == 2
    assert [row.seq for row in await outbox.rows(0)] == [6]
    await outbox.close()
    again = await Outbox.open(tmp_path, "paper", clock)
    assert (again.first, again.head) == (6, 6) and await again.digest_at(5)
    await again.close()


async def test_clock_stepped_back_prunes_no_young_row(tmp_path: Path) -> None:
    clock = ManualClock()
    outbox = await Outbox.open(tmp_path, "paper", clock)
    clock.advance(WEEK_S)
    await outbox.commit("sim", [signal(1)], {})
    clock.advance(-WEEK_S)
    await outbox.commit("sim", [signal(2), signal(3)], {})
    clock.advance(WEEK_S)
    assert await outbox.prune(3) == 0
    await outbox.close()


async def test_copied_back_file_opens_as_it_was(tmp_path: Path) -> None:
    outbox = await Outbox.open(tmp_path, "paper", CLOCK)
    await outbox.commit("sim", [signal(1)], {})
    await outbox.close()
    shutil.copy(tmp_path / DATABASE_FILE, tmp_path / "copy")
    outbox = await Outbox.open(tmp_path, "paper", CLOCK)
    await outbox.commit("sim", [signal(2)], {})
    await outbox.close()
    shutil.copy(tmp_path / "copy", tmp_path / DATABASE_FILE)
    outbox = await Outbox.open(tmp_path, "paper", CLOCK)
    assert outbox.head == 1
    await outbox.close()


async def test_signals_and_checkpoints_are_one_transaction(outbox: Outbox) -> None:
    begun: list[str] = []

    def note(_cursor: object, sql: str, _values: object) -> bool:
        begun.append(sql)
        return True

    outbox._database.connection.set_exec_trace(note)
    await outbox.commit("sim", [signal(1), signal(2)], {("s", "TCS", "1m"): 9})
    outbox._database.connection.set_exec_trace(None)
    ends = [sql.split()[0] for sql in begun if sql.split()[0] in ("BEGIN", "COMMIT")]
    assert ends == ["BEGIN", "COMMIT"]
    assert any("INTO outbox" in sql for sql in begun) and any("INTO checkpoints" in sql for sql in begun)
