"""SQLite as this system uses it: WAL, full sync, one writing connection, forward migrations.

The schema is written once, dialect-neutral, as Alembic scripts in `<room>/migrations`. Alembic (a
third of a second to import) runs only where the version in the file is not the one that the code
wants; the hot path speaks to apsw, which carries a SQLite free of the WAL bug fixed in 3.51.3.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

import apsw

from shared.errors import RefusedBySafety, StoreError
from shared.store.schema import NoStore, Schema, claim_environment, require_head, require_known, upgrade

CHECKPOINT_PAGES = 4000
"""Pages (4 KiB) in the WAL after which a checkpoint is due in any case; about 16 MB, some 20 ms."""

IDLE_CHECKPOINT_PAGES = 500
"""The same when nothing is waiting: a burst is folded in the quiet after it."""

WAL_ROOM_BYTES = 6 << 20
"""The WAL is made this long when a store is opened: a commit that need not lengthen the file is a tenth
of a millisecond faster, for its fsync has no metadata to write."""

ROWS_AT_ONCE = 16
"""Rows in one INSERT of a hot table: a third less than one by one, and prepared soon."""

BUSY_TIMEOUT_MS = 5000
MINIMUM_SQLITE = (3, 51, 3)

class Database:
    """One apsw connection and what is known about its file."""

    def __init__(self, path: Path, connection: apsw.Connection) -> None:
        self.path = path
        self.connection = connection
        self._wal_pages = 0
        self._in_transaction = False

    @property
    def label(self) -> str:
        """The file."""
        return str(self.path)

    def newest(self, number: str) -> str:
        """Return what puts the latest first: there is one writer, so numbers grow with time."""
        return f"{number} DESC"

    def using(self, index: str) -> str:
        """Name the index: without statistics the planner reads a table in the order of its key."""
        return f"INDEXED BY {index}"

    @classmethod
    def open_writer(cls, path: Path, schema: Schema, environment: str) -> Database:
        """Open *path* as its one writer, making and migrating it where needed.

        The caller holds the lock that guards the file.

        Raises:
            StoreError: Damaged, read-only, on a full disk, or made by a newer version.
            RefusedBySafety: The store has seen another environment.
        """
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        found = _version(path)
        if found != schema.head:
            _migrate(path, schema, found)
        with _translated(path):
            connection = apsw.Connection(str(path))
            connection.set_busy_timeout(BUSY_TIMEOUT_MS)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA wal_autocheckpoint=0")
            connection.execute("PRAGMA foreign_keys=ON")
            connection.execute("PRAGMA cache_size=-65536")
        database = cls(path, connection)
        database._assert_durable()
        database._make_wal_room()
        connection.set_wal_hook(database._note_wal)
        database._claim_environment(environment)
        return database

    @classmethod
    def open_reader(cls, path: Path, schema: Schema) -> Database:
        """Open *path* read-only; sees committed rows only, also while a writer is at work.

        Raises:
            NoStore: There is no such store.
            StoreError: Its version differs from the code's.
        """
        if not path.exists():
            raise NoStore(f"There is no store at {path}.", remedy="Start `trading run` once to make it.")
        found = _version(path)
        require_head(str(path), schema, found)
        with _translated(path):
            connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
            connection.set_busy_timeout(BUSY_TIMEOUT_MS)
        return cls(path, connection)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[apsw.Connection]:
        """Run the body as one transaction; durable (full sync) when it returns, undone when it raises."""
        connection = self.connection
        with _translated(self.path):
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[apsw.Connection]:
        """Run the body on one consistent view of the store; within another snapshot, on that one."""
        connection = self.connection
        nested: bool = connection.in_transaction
        if nested:
            yield connection
            return
        with _translated(self.path):
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    def insert(
        self, table: str, rows: Sequence[tuple[Any, ...]], *, columns: str = "", replace: bool = False
    ) -> None:
        """Insert *rows* within the caller's transaction, many at a time; see `shared.store.port`."""
        one, many = _insert(table, len(rows[0]), columns, replace)
        whole = len(rows) // ROWS_AT_ONCE * ROWS_AT_ONCE
        for start in range(0, whole, ROWS_AT_ONCE):
            self.connection.execute(many, tuple(chain.from_iterable(rows[start : start + ROWS_AT_ONCE])))
        for row in rows[whole:] if whole else rows:
            self.connection.execute(one, row)

    def after_answer(self, *, idle: bool) -> None:
        """Fold the WAL into the file when it has grown."""
        self.checkpoint_if_due(idle=idle)

    def checkpoint_if_due(self, *, idle: bool = False) -> None:
        """Move the WAL into the file when it has grown; call it after the answer, not before.

        Args:
            idle: Nothing is waiting, so a smaller WAL is reason enough.
        """
        if self._wal_pages >= (IDLE_CHECKPOINT_PAGES if idle else CHECKPOINT_PAGES):
            # A reader on an old snapshot may keep part of it back; the next call goes on from there.
            with _translated(self.path), contextlib.suppress(apsw.BusyError):
                self.connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
            self._wal_pages = 0

    def row(self, query: str, values: tuple[str | int, ...] = ()) -> tuple[Any, ...] | None:
        """Return the first row of *query*, or None.

        Raises:
            StoreError: The file cannot be read.
        """
        with _translated(self.path):
            return self.connection.execute(query, values).fetchone()

    def quick_check(self) -> str:
        """Return `ok`, or the first thing that is wrong with the file's pages; reads all of it."""
        with _translated(self.path):
            row = self.connection.execute("PRAGMA quick_check(1)").fetchone()
        return "ok" if row is None else str(row[0])

    def meta(self, key: str) -> str | None:
        """Return the value kept under *key*, or None."""
        row = self.row("SELECT value FROM meta WHERE key = ?", (key,))
        return None if row is None else str(row[0])

    def set_meta(self, key: str, value: str) -> None:
        """Keep *value* under *key*; within the caller's transaction where there is one."""
        self.connection.execute(
            "INSERT INTO meta (key, value) VALUES (?, ?)"
            " ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            (key, value),
        )

    def close(self) -> None:
        """Close the connection; the last one out folds the WAL into the file."""
        self.connection.close()

    def _note_wal(self, _connection: apsw.Connection, _name: str, pages: int) -> int:
        self._wal_pages = pages
        return apsw.SQLITE_OK

    def _make_wal_room(self) -> None:
        run = self.connection.execute
        # Room is a comfort: a disk that has none is told of by the first transaction that needs it.
        with _translated(self.path), contextlib.suppress(apsw.FullError, apsw.IOError):
            run("CREATE TABLE IF NOT EXISTS wal_room (bytes BLOB)")
            with contextlib.suppress(apsw.FullError, apsw.IOError):
                run("INSERT INTO wal_room VALUES (zeroblob(?))", (WAL_ROOM_BYTES,))
            run("DROP TABLE wal_room")
            run("PRAGMA wal_checkpoint(RESTART)")
            run("PRAGMA shrink_memory")  # the room's pages went through the cache

    def _assert_durable(self) -> None:
        mode = self.connection.execute("PRAGMA journal_mode").fetchone()
        sync = self.connection.execute("PRAGMA synchronous").fetchone()
        version = tuple(int(part) for part in apsw.sqlite_lib_version().split("."))
        if mode is None or mode[0] != "wal" or sync is None or sync[0] != 2 or version < MINIMUM_SQLITE:
            raise StoreError(
                f"{self.path}: journal mode {mode}, synchronous {sync}, SQLite {apsw.sqlite_lib_version()};"
                " wanted WAL, FULL (2) and at least 3.51.3.",
                remedy="Put the state folder on a local disk and run `make setup` again.",
            )

    def _claim_environment(self, environment: str) -> None:
        def mark() -> None:
            with self.transaction():
                self.set_meta("environment", environment)

        try:
            claim_environment(str(self.path), self.meta("environment"), environment, mark)
        except RefusedBySafety:
            self.connection.close()
            raise


@cache
def _insert(table: str, width: int, columns: str, replace: bool) -> tuple[str, str]:
    """Return the statements that insert one row, and `ROWS_AT_ONCE` of them."""
    into = f"INSERT{' OR REPLACE' if replace else ''} INTO {table}{f' ({columns})' if columns else ''} VALUES"
    row = f"({', '.join('?' * width)})"
    return f"{into} {row}", f"{into} {', '.join([row] * ROWS_AT_ONCE)}"


def _version(path: Path) -> str | None:
    if not path.exists():
        return None
    with _translated(path):
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            connection.set_busy_timeout(BUSY_TIMEOUT_MS)
            known = connection.execute(
                "SELECT 1 FROM sqlite_schema WHERE name = 'alembic_version'"
            ).fetchone()
            if known is None:
                return None
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
            return None if row is None else str(row[0])
        finally:
            connection.close()


def _migrate(path: Path, schema: Schema, found: str | None) -> None:
    # Imported here: a store of the right version, which is the rule, pays nothing for it.
    from sqlalchemy import create_engine
    from sqlalchemy.exc import DatabaseError

    require_known(str(path), schema, found)
    # Autocommit at the driver: the one BEGIN below makes all DDL a single transaction.
    engine = create_engine(f"sqlite:///{path}", connect_args={"isolation_level": None})
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            upgrade(connection, schema)
            connection.commit()
    except DatabaseError as error:
        raise StoreError(f"{path} cannot be made or migrated: {error.orig}.", remedy=_DISK) from error
    finally:
        engine.dispose()
    path.chmod(0o600)


_DISK = "Check that the state folder is writable, on a disk with room, and that the file is a store of ours."


@contextlib.contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Turn the driver's words about disk and file into ours; programming errors pass as they are."""
    try:
        yield
    except (
        apsw.FullError,
        apsw.ReadOnlyError,
        apsw.IOError,
        apsw.CorruptError,
        apsw.NotADBError,
        apsw.CantOpenError,
        apsw.BusyError,
    ) as error:
        raise StoreError(f"{path}: {error}.", remedy=_DISK) from error
