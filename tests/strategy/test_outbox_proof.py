from __future__ import annotations

from contextlib import closing
from pathlib import Path

import apsw
import pytest

from shared.clock import ManualClock
from shared.store.sqlite import Database
from strategy.outbox import DATABASE_FILE, KEEP_US, SCHEMA, Outbox
from strategy.outbox_proof import proven_rows
from tests.strategy.test_outbox import signal

LENGTH = 6


def proof(home: Path) -> tuple[list[int], list[str]]:
    said: list[str] = []
    with closing(Database.open_reader(home / DATABASE_FILE, SCHEMA)) as database:
        return [seq for seq, _ in proven_rows(database, said.append)], said


async def fill(home: Path, *, keep: int = 1) -> None:
    clock = ManualClock()
    outbox = await Outbox.open(home, "paper", clock)
    for number in range(LENGTH):
        await outbox.commit("live", [signal(number + 1)], {})
    if keep > 1:
        clock.advance(KEEP_US / 1e6 + 1)
        await outbox.prune(keep)
    await outbox.close()


@pytest.mark.parametrize("keep", [1, 3])
async def test_outbox_as_it_was_written_is_proven(tmp_path: Path, keep: int) -> None:
    await fill(tmp_path, keep=keep)
    assert proof(tmp_path) == (list(range(keep, LENGTH + 1)), [])


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("UPDATE outbox SET payload = payload || ' ' WHERE seq = 3", "row 3 was changed"),
        ("UPDATE outbox SET digest = 'x' WHERE seq = 3", "row 3 was changed"),
        ("UPDATE outbox SET signal_id = 'x' WHERE seq = 3", "row 3 has the id x, which is not its signal's"),
        ("UPDATE outbox SET seq = 30 WHERE seq = 3", "row 3 is missing before 4"),
        ("DELETE FROM outbox WHERE seq = 3", "row 3 is missing before 4"),
        ("INSERT INTO outbox VALUES (7, 'x', x'7b7d', 'x', 1)", "row 7 was changed"),
        ("DELETE FROM outbox WHERE seq = 1", "row 1 is missing before 2"),
    ],
)
async def test_damage_to_the_outbox_is_found(tmp_path: Path, damage: str, said: str) -> None:
    await fill(tmp_path)
    sql = apsw.Connection(str(tmp_path / DATABASE_FILE))
    sql.execute(damage)
    sql.close()
    assert f"outbox: {said}" in proof(tmp_path)[1]
