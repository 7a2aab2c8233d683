"""A copy of an order store on PostgreSQL as a SQLite file, for proofs that read every row.

What audits the books is then the same, statement by statement, whatever keeps them; and a running system
is not kept waiting: the copy is one snapshot, read once.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from order.schema import FILE_NAME, SCHEMA
from order.sql_store import KEPT_TABLES
from shared.store.port import Database
from shared.store.sqlite import Database as SqliteDatabase

ROWS_AT_ONCE = 5000


@contextlib.contextmanager
def as_sqlite(database: Database) -> Iterator[SqliteDatabase]:
    """Yield *database* itself where it is SQLite, else a copy that is gone at the end."""
    if isinstance(database, SqliteDatabase):
        yield database
        return
    with tempfile.TemporaryDirectory(prefix="trading-copy-") as folder:
        copy = SqliteDatabase.open_writer(
            Path(folder) / FILE_NAME, SCHEMA, database.meta("environment") or "paper"
        )
        try:
            # It lives for one proof: what a crash would cost is the proof.
            copy.connection.execute("PRAGMA synchronous=OFF")
            copy.connection.execute("PRAGMA foreign_keys=OFF")
            # Several writers number their names each by itself, so one may be there more than once.
            copy.connection.execute("DROP TABLE names")
            copy.connection.execute(
                "CREATE TABLE names (no INTEGER PRIMARY KEY, kind TEXT NOT NULL, name TEXT NOT NULL)"
            )
            with database.snapshot() as source, copy.transaction():
                for table in (*KEPT_TABLES, "journal"):
                    _copy(source.execute(f"SELECT * FROM {table}"), copy, table)
            yield copy
        finally:
            copy.close()


def _copy(rows: Any, copy: SqliteDatabase, table: str) -> None:
    if table == "dead_letters":
        # Their number is the table's to give, and there with holes: the journal knows only their order.
        ordered = sorted((tuple(row) for row in rows), key=lambda row: (str(row[2]).encode(), int(row[0])))
        rows = iter([(number, *row[1:]) for number, row in enumerate(ordered, 1)])
    else:
        rows = iter(rows)
    while batch := [tuple(row) for row in islice(rows, ROWS_AT_ONCE)]:
        copy.insert(table, batch, replace=table == "meta")
