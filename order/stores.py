"""Where an order store lies: a file in the state folder, or a PostgreSQL database."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from order.schema import FILE_NAME, SCHEMA
from order.sql_store import SqlOrderStore
from order.writer import Writer
from shared.bus.embedded import RUNTIME_ROOT
from shared.errors import LockHeld, StoreError
from shared.store.lock import FileLock
from shared.store.port import Database
from shared.store.sqlite import Database as SqliteDatabase

if TYPE_CHECKING:
    from shared.store.postgres import PostgresDatabase

DEFAULT_GROUP = "default"
ACCOUNT_LOCKS = RUNTIME_ROOT / f"trading-{os.getuid()}-accounts"
"""Locks of accounts at a broker, for all state folders of a user of this machine."""


class SqliteOrderStore(SqlOrderStore):
    """One file, one writer for all groups; the caller holds the order lock."""

    def __init__(self, home: Path, environment: str, locks: Path = ACCOUNT_LOCKS) -> None:
        super().__init__(SqliteDatabase.open_writer(home / FILE_NAME, SCHEMA, environment))
        self._folder = locks
        self._locks: dict[str, FileLock] = {}

    def hold(self, account: str) -> None:
        """Keep other order managers of this machine off an account; see `OrderStore`."""
        if account not in self._locks:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self._folder.stat().st_uid != os.getuid():
                raise StoreError(f"{self._folder} is not a folder of this user.", remedy="Remove it.")
            lock = FileLock(self._folder / f"{account}.lock")
            if not lock.try_acquire():
                holder = lock.holder()
                who = f"pid {holder.pid} ({holder.command})" if holder else "another process"
                raise LockHeld(
                    f"The account {account} is traded by {who}, from another state folder.",
                    remedy="Stop that process: two order managers of one account know nothing of each other.",
                )
            self._locks[account] = lock

    def close(self) -> None:
        """Close the file and let go of the accounts."""
        super().close()
        for lock in self._locks.values():
            lock.release()


class PostgresOrderStore(SqlOrderStore):
    """One database, one writer for each group, on any machine that reaches it.

    Raises:
        LockHeld: Another process writes the group's rows; the message says who.
    """

    def __init__(self, url: str, environment: str, group: str = DEFAULT_GROUP) -> None:
        from shared.store.postgres import PostgresDatabase

        database = PostgresDatabase.open_writer(url, SCHEMA, environment, group)
        super().__init__(database, Writer(number_of(database), group))
        self._postgres = database

    def hold(self, account: str) -> None:
        """Keep every other order manager of this database off an account; see `OrderStore`."""
        self._postgres.hold(f"account {account}")


def number_of(database: PostgresDatabase) -> int:
    """Return the number of the writer that holds *database*."""
    if database.fence is None:
        raise StoreError(f"{database.label} is open for reading only.")
    return database.fence.number


def open_for_reading(home: Path, url: str | None) -> Database:
    """Open the order store read-only.

    Args:
        home: The state folder.
        url: A PostgreSQL database's address; None for the file in the state folder.

    Raises:
        StoreError: There is none, or it is of another version.
    """
    if url is None:
        return SqliteDatabase.open_reader(home / FILE_NAME, SCHEMA)
    from shared.store.postgres import PostgresDatabase

    return PostgresDatabase.open_reader(url, SCHEMA)
