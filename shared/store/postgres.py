"""A PostgreSQL database as the system uses it: one connection, durable commits, fenced where it writes.

All of a transaction travels in a pipeline: two round trips, whatever is in it. Rows in bulk go as arrays,
one statement for a thousand of them.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import count
from typing import Any

import psycopg
from psycopg import errors
from psycopg.pq import TransactionStatus

from shared.errors import StoreError
from shared.secret import masked_url
from shared.store.fence import STARTING, Fence, lock_key, own_name
from shared.store.schema import NoStore, Schema, claim_environment, require_head, require_known, upgrade

CONNECT_TIMEOUT_S = 5
LOCK_TIMEOUT_MS = 5000
SEND_TIMEOUT_MS = 10_000
"""How long what was sent may stay without an answer of the network before the connection counts as dead."""

KEEPALIVE_S = (10, 5, 3)
"""Idle time, interval, tries: after 25 s the server lets go of a machine that vanished, and of its locks."""

BULK_ROWS = 8
"""From so many rows on they travel as arrays; measured, see docs/adr."""

READ_AT_ONCE = 5000
"""Rows of a long result that are in memory at a time."""

DURABLE = {
    "synchronous_commit": ("on", "remote_apply"),
    "fsync": ("on",),
    "full_page_writes": ("on",),
}

_OUR_FAULT = (errors.IntegrityError, errors.DataError, errors.ProgrammingError)
_NOT_OURS = (errors.InsufficientPrivilege, errors.InvalidCatalogName, errors.InvalidPassword)


@lru_cache(maxsize=512)
def native(query: str) -> str:
    """Return *query* with `?` and `?2` as PostgreSQL writes them: `$1`, `$2`.

    In `?2 IS NULL` nothing tells what the value is, so there it is said to be a text.
    """
    highest = 0

    def number(found: re.Match[str]) -> str:
        nonlocal highest
        at = int(found[1] or highest + 1)
        highest = max(highest, at)
        return f"${at}{'::text' if found[2] else ''}"

    return re.sub(r"\?(\d*)(?=( IS NULL)?)", number, query)


class _Plain:
    """Runs statements at once; see `shared.store.port.Connection`."""

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database

    def execute(self, query: str, values: Sequence[object] = ()) -> psycopg.RawCursor[Any]:
        with self._database.translated():
            cursor = psycopg.RawCursor(self._database.live())
            return cursor.execute(native(query).encode(), _clean(values))

    def executemany(self, query: str, values: Sequence[Sequence[object]]) -> None:
        with self._database.translated():
            cursor = psycopg.RawCursor(self._database.live())
            cursor.executemany(native(query).encode(), [_clean(each) for each in values])


class _Snapshot(_Plain):
    """Reads long results in parts."""

    def __init__(self, database: PostgresDatabase) -> None:
        super().__init__(database)
        self._numbers = count(1)
        self._opened: list[psycopg.RawServerCursor[Any]] = []

    def execute(self, query: str, values: Sequence[object] = ()) -> Any:
        with self._database.translated():
            cursor = psycopg.RawServerCursor(self._database.live(), f"reading_{next(self._numbers)}")
            cursor.itersize = READ_AT_ONCE
            self._opened.append(cursor)
            return cursor.execute(native(query).encode(), _clean(values))

    def close(self) -> None:
        for cursor in self._opened:
            cursor.close()


class PostgresDatabase:
    """See `shared.store.port.Database`.

    Attributes:
        fence: What makes it the one writer; None where it only reads.
    """

    def __init__(self, url: str, fence: Fence | None = None) -> None:
        self.fence = fence
        self._url = url
        self._plain = _Plain(self)
        self._snapshot: _Snapshot | None = None
        self._tables: dict[str, tuple[list[tuple[str, str]], list[str]]] = {}
        self._connection = self._connect()

    @classmethod
    def open_writer(cls, url: str, schema: Schema, environment: str, group: str) -> PostgresDatabase:
        """Open the database as the one writer of *group*'s rows, making and migrating it where needed.

        Raises:
            StoreError: It cannot be reached or used, or is not durable.
            LockHeld: Another process writes these rows; the message says who.
            RefusedBySafety: The store has seen another environment.
        """
        label = masked_url(url)
        with _translated(label):
            _migrate(url, schema)
            database = cls(url, Fence(group))
        try:
            database._assert_durable()

            def mark() -> None:
                with database.transaction():
                    database.set_meta("environment", environment)

            claim_environment(label, database.meta("environment"), environment, mark)
        except BaseException:
            database.close()
            raise
        return database

    @classmethod
    def open_reader(cls, url: str, schema: Schema) -> PostgresDatabase:
        """Open the database for reading; sees committed rows only.

        Raises:
            StoreError: It cannot be reached, holds no store, or its version differs from the code's.
        """
        label = masked_url(url)
        with _translated(label):
            database = cls(url)
        try:
            with database.translated():
                found = _version(database._connection)
            if found is None:
                raise NoStore(
                    f"There is no store at {label}.", remedy="Start `trading run` once to make it."
                )
            require_head(label, schema, found)
        except BaseException:
            database.close()
            raise
        return database

    @property
    def label(self) -> str:
        """The address without its secrets."""
        return masked_url(self._url)

    def newest(self, number: str) -> str:
        """Return what puts the latest first: by time, for each group numbers in a range of its own."""
        return f"taken_us DESC, {number} DESC"

    @property
    def connection(self) -> _Plain:
        """For reading."""
        return self._snapshot or self._plain

    def using(self, index: str) -> str:
        """Leave it to the planner, which has statistics."""
        return ""

    @contextlib.contextmanager
    def transaction(self) -> Iterator[_Plain]:
        """Run the body as one transaction; durable when it returns, undone when it raises.

        Raises:
            LockHeld: Another process has taken over; nothing was written, and nothing will be.
        """
        with self.translated():
            connection = self.live()
            try:
                with connection.pipeline():
                    connection.execute(b"BEGIN")
                    ours = self._plain.execute(*self.fence.query()) if self.fence is not None else None
                    yield self._plain
                    if ours is not None and self.fence is not None and ours.fetchone() is None:
                        raise self.fence.lose()
                    connection.execute(b"COMMIT")
            except BaseException:
                with contextlib.suppress(psycopg.Error):
                    if connection.info.transaction_status is not TransactionStatus.IDLE:
                        connection.execute(b"ROLLBACK")
                raise

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[_Plain]:
        """Run the body on one consistent view of the store; within another snapshot, on that one."""
        if self._snapshot is not None:
            yield self._snapshot
            return
        with self.translated():
            connection = self.live()
            connection.execute(b"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            self._snapshot = _Snapshot(self)
            try:
                yield self._snapshot
            finally:
                opened, self._snapshot = self._snapshot, None
                with contextlib.suppress(psycopg.OperationalError, psycopg.InternalError):
                    opened.close()
                    connection.execute(b"ROLLBACK")

    def insert(
        self, table: str, rows: Sequence[tuple[Any, ...]], *, columns: str = "", replace: bool = False
    ) -> None:
        """Insert *rows* within the caller's transaction; see `shared.store.port`."""
        types, key = self._tables.get(table) or self._look_up(table)
        names = [name.strip() for name in columns.split(",")] if columns else [name for name, _ in types]
        into = f"INSERT INTO {table} ({', '.join(names)})"
        upsert = ""
        if replace:
            told = ", ".join(f"{name} = excluded.{name}" for name in names if name not in key)
            upsert = f" ON CONFLICT ({', '.join(key)}) DO UPDATE SET {told}"
        if len(rows) < BULK_ROWS:
            self._plain.executemany(f"{into} VALUES ({', '.join('?' * len(names))}){upsert}", rows)
            return
        of = dict(types)
        arrays = ", ".join(f"?::{of[name]}[]" for name in names)
        values = [_array(each) for each in zip(*rows, strict=True)]
        self._plain.execute(f"{into} SELECT * FROM unnest({arrays}){upsert}", values)

    def row(self, query: str, values: tuple[str | int, ...] = ()) -> tuple[Any, ...] | None:
        """Return the first row of *query*, or None."""
        with self.translated():
            row: tuple[Any, ...] | None = self._plain.execute(query, values).fetchone()
            return row

    def meta(self, key: str) -> str | None:
        """Return the value kept under *key*, or None."""
        row = self.row("SELECT value FROM meta WHERE key = ?", (key,))
        return None if row is None else str(row[0])

    def set_meta(self, key: str, value: str) -> None:
        """Keep *value* under *key* within the caller's transaction."""
        self.insert("meta", [(key, value)], replace=True)

    def hold(self, name: str) -> None:
        """Hold the lock *name* beside the writer's own; free when the connection is gone.

        Raises:
            LockHeld: Somebody else holds it; the message says who.
        """
        if self.fence is not None:
            with self.translated():
                self.fence.add(self.live(), name)

    def after_answer(self, *, idle: bool) -> None:
        """See, while nothing else is to be done, that we are still the owner.

        Raises:
            LockHeld: Another process has taken over.
        """
        if idle and self.fence is not None and self.row(*self.fence.query()) is None:
            raise self.fence.lose()

    def quick_check(self) -> str:
        """Return `ok`: the server looks after its own pages."""
        return "ok"

    def close(self) -> None:
        """Close the connection, and free what it holds."""
        self._connection.close()

    def live(self) -> psycopg.Connection:
        """Return the connection, made anew where it was lost; a writer takes its locks again.

        Raises:
            LockHeld: Another process has taken over meanwhile.
        """
        if self.fence is not None:
            self.fence.check()
        if self._connection.closed:
            self._connection = self._connect()
        return self._connection

    @contextlib.contextmanager
    def translated(self) -> Iterator[None]:
        """Turn the driver's words about server and network into ours; programming errors pass as they are."""
        with _translated(self.label):
            yield

    def _connect(self) -> psycopg.Connection:
        connection = _connected(self._url)
        try:
            if self.fence is not None:
                self.fence.enter(connection)
            else:
                connection.execute(b"SET default_transaction_read_only = on")
        except BaseException:
            connection.close()
            raise
        return connection

    def _look_up(self, table: str) -> tuple[list[tuple[str, str]], list[str]]:
        """Return columns with their types, and the primary key."""
        columns = self._plain.execute(
            "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute"
            " WHERE attrelid = ?::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
            (table,),
        ).fetchall()
        key = self._plain.execute(
            "SELECT attname FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = ANY (indkey)"
            " WHERE indrelid = ?::regclass AND indisprimary",
            (table,),
        ).fetchall()
        found = ([(str(name), str(kind)) for name, kind in columns], [str(name) for (name,) in key])
        self._tables[table] = found
        return found

    def weak_settings(self) -> str:
        """Return the first setting of the server with which a commit is not durable; empty where none is."""
        for name, good in DURABLE.items():
            row = self.row(f"SHOW {name}")
            if row is None or row[0] not in good:
                return f"{name} is {row[0] if row else 'unknown'}"
        return ""

    def _assert_durable(self) -> None:
        weak = self.weak_settings()
        if weak:
            raise StoreError(
                f"{self.label}: {weak}; a commit would not be durable.",
                remedy="Set it to on in postgresql.conf, and for this database and role.",
            )


def _connected(url: str) -> psycopg.Connection:
    idle, interval, tries = KEEPALIVE_S
    connection = psycopg.connect(
        url,
        autocommit=True,
        cursor_factory=psycopg.RawCursor,
        connect_timeout=CONNECT_TIMEOUT_S,
        application_name=own_name(),
        tcp_user_timeout=SEND_TIMEOUT_MS,
        keepalives_idle=idle,
        keepalives_interval=interval,
        keepalives_count=tries,
    )
    for name, value in (
        ("lock_timeout", LOCK_TIMEOUT_MS),
        ("tcp_keepalives_idle", idle),
        ("tcp_keepalives_interval", interval),
        ("tcp_keepalives_count", tries),
        ("tcp_user_timeout", SEND_TIMEOUT_MS),
    ):
        connection.execute(f"SET {name} = {value}".encode())
    return connection


def _version(connection: psycopg.Connection) -> str | None:
    known = connection.execute(b"SELECT to_regclass('alembic_version')").fetchone()
    if known is None or known[0] is None:
        return None
    row = connection.execute(b"SELECT version_num FROM alembic_version").fetchone()
    return None if row is None else str(row[0])


def _migrate(url: str, schema: Schema) -> None:
    """Bring the store to the code's version, alone: two groups may start at once on a new database."""
    with _connected(url) as connection:
        if _version(connection) == schema.head:
            return
    from sqlalchemy import create_engine, text
    from sqlalchemy.exc import DBAPIError
    from sqlalchemy.pool import NullPool

    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(url), poolclass=NullPool)
    try:
        with engine.begin() as migrated:
            migrated.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": lock_key(STARTING)})
            known = migrated.execute(text("SELECT to_regclass('alembic_version')::text")).scalar()
            found = known and migrated.execute(text("SELECT version_num FROM alembic_version")).scalar()
            if found != schema.head:
                require_known(masked_url(url), schema, found)
                upgrade(migrated, schema)
    except DBAPIError as error:
        raise StoreError(
            f"{masked_url(url)} cannot be made or migrated: {error.orig}.",
            remedy="See that the role may make tables there.",
        ) from error


def _clean(values: Sequence[object]) -> Sequence[object]:
    """Return *values* without NUL in texts, which PostgreSQL does not keep."""
    if any(type(value) is str and "\0" in value for value in values):
        return [value.replace("\0", "\ufffd") if isinstance(value, str) else value for value in values]
    return values


def _array(values: Sequence[object]) -> str:
    """Return a column's values as the text of an array."""
    return "{" + ",".join([_element(value) for value in values]) + "}"


def _element(value: object) -> str:
    if type(value) is int:
        return str(value)
    if value is None:
        return "NULL"
    if isinstance(value, str):
        text = str(value).replace("\\", "\\\\").replace('"', '\\"').replace("\0", "\ufffd")
        return f'"{text}"'
    if isinstance(value, bytes):
        return f'"\\\\x{value.hex()}"'
    raise TypeError(f"a store keeps numbers, texts and bytes, not {type(value).__name__}")


@contextlib.contextmanager
def _translated(label: str) -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        if isinstance(error, _OUR_FAULT) and not isinstance(error, _NOT_OURS):
            raise
        said = " ".join(str(error).split())
        raise StoreError(
            f"{label}: {said}.", remedy="See that the server runs, may be reached, and has room on its disk."
        ) from error
