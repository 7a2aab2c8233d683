"""`verify_1m` and `recovery_100k`: the proof of a long journal, and a start with many orders at work."""

from __future__ import annotations

import hashlib
import time
from contextlib import closing
from pathlib import Path

from app.bench.figures import Figure, single
from app.bench.journal_store import BATCH, SYMBOLS, Maker, file_of
from order.audit import audit
from order.manager import OrderManager
from order.schema import SCHEMA
from shared.settings import Settings
from shared.store.sqlite import Database

VERIFY_ROWS, VERIFY_LIMIT_S = 1_000_000, 30.0
RECOVERY_USERS, RECOVERY_LIMIT_S = 5_000, 5.0
QUICK = 10
"""A look takes a tenth of the rows, and has a tenth of the time."""


def verify_rows(folder: Path, *, quick: bool) -> Figure:
    """Measure the whole audit of a journal of a million rows, made by the real code."""
    home, rows = folder / "verify", VERIFY_ROWS // (QUICK if quick else 1)
    start = time.perf_counter()
    maker = Maker(home, 1)
    while maker.rows() < rows:
        for _ in range(rows // (BATCH * 20) + 1):
            maker.take(BATCH)
    have = maker.rows()
    maker.close()
    made_s = time.perf_counter() - start
    with closing(Database.open_reader(file_of(home), SCHEMA)) as database:
        start = time.perf_counter()
        digest = b""
        for (body,) in database.connection.execute("SELECT body FROM journal ORDER BY no"):
            digest = hashlib.sha256(digest + bytes(body)).digest()
        floor_s = time.perf_counter() - start
        start, cpu = time.perf_counter(), time.process_time()
        found = audit(database, "main", "", [])
        took_s, cpu_s = time.perf_counter() - start, time.process_time() - cpu
    said = "clean" if found.clean else f"NOT CLEAN: {found.findings[:1]}"
    limit_s = VERIFY_LIMIT_S * rows / VERIFY_ROWS
    note = f"{have:,} rows, {said}, processor {cpu_s:.1f} s; made in {made_s:.0f} s; floor: their hashes"
    return single("verify_1m", "s", took_s, floor_s, limit_s, note)


async def recovery(folder: Path, *, quick: bool) -> Figure:
    """Measure `OrderManager.initialize` with a hundred thousand orders at work."""
    home, users = folder / "recovery", RECOVERY_USERS // (QUICK if quick else 1)
    maker = Maker(home, users, symbols=len(SYMBOLS), profile="realistic")
    for number in range(len(SYMBOLS)):
        maker.take(1, number)
    maker.close()
    with closing(Database.open_reader(file_of(home), SCHEMA)) as database:
        start = time.perf_counter()
        at_work = len(list(database.connection.execute("SELECT * FROM orders WHERE state = 'ACCEPTED'")))
        floor_s = time.perf_counter() - start
    manager = OrderManager(settings=Settings.load(env_file=None, home=home), demo_strategies=())
    start, cpu = time.perf_counter(), time.process_time()
    await manager.initialize()
    took_s, cpu_s = time.perf_counter() - start, time.process_time() - cpu
    await manager.close()
    limit_s = RECOVERY_LIMIT_S * users / RECOVERY_USERS
    note = f"{at_work:,} orders at work, processor {cpu_s:.1f} s; floor: read their rows"
    return single("recovery_100k", "s", took_s, floor_s, limit_s, note)
