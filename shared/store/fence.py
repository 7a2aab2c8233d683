"""One writer for each name in a PostgreSQL database: locks of its session, and an epoch in every commit.

A session holds an advisory lock for as long as its connection lives, so an owner that dies frees it, and
nobody waits for a time to run out. Whoever takes a name over raises its epoch. A commit reads the epoch and
holds its row until it is through: an owner that was paused, cut off or declared dead finds another's epoch
there, and from then on refuses everything.
"""

from __future__ import annotations

import os
import socket
from hashlib import blake2b

import psycopg

from shared.errors import LockHeld
from shared.store.lock import own_command

STARTING = "trading: one at a time"
"""Locked, until its transaction ends, by who migrates a store or enters a new writer."""

NAME_BYTES = 63
"""PostgreSQL keeps so much of an application's name."""


def lock_key(name: str) -> int:
    """Return the number (64 bits, signed) under which *name* is locked."""
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big", signed=True)


def own_name() -> str:
    """Return who we are, as the server shows it to others."""
    name = f"pid {os.getpid()} on {socket.gethostname()} ({own_command()})"
    return name.encode()[:NAME_BYTES].decode(errors="ignore")


class Fence:
    """What one writer holds.

    Attributes:
        group: Whose rows are written.
        number: Of the writer, from 1; its own for good.
        epoch: Raised by each owner that takes over, and by this one when its connection was lost.
        lost: Why nothing may be written any more; empty while we are the owner.
    """

    def __init__(self, group: str) -> None:
        self.group = group
        self.number = 0
        self.epoch = 0
        self.lost = ""
        self._names = [f"place of the order writer of the group {group}"]

    def enter(self, connection: psycopg.Connection) -> None:
        """Take all locks on a new connection and raise the epoch; an owner who was replaced is out for good.

        Raises:
            LockHeld: Somebody else holds one of the locks, or has held the name since.
        """
        self.check()
        try:
            for name in self._names:
                self._lock(connection, name)
            self._raise_epoch(connection)
        except LockHeld as error:
            # Before the first entry nothing was lost: the caller may try again.
            self.lost = error.what if self.epoch else ""
            raise

    def add(self, connection: psycopg.Connection, name: str) -> None:
        """Hold *name* as well, for as long as the writer lives.

        Raises:
            LockHeld: Somebody else holds it; the message says who.
        """
        if name not in self._names:
            self._lock(connection, name)
            self._names.append(name)

    def check(self) -> None:
        """Make sure that we have not been replaced, as far as we know.

        Raises:
            LockHeld: We have.
        """
        if self.lost:
            raise LockHeld(self.lost, remedy="Stop this process; another one does its work.")

    def query(self) -> tuple[str, tuple[str, int]]:
        """Return the query that gives a row while our epoch holds, and keeps others off until the commit."""
        return "SELECT 1 FROM writers WHERE group_name = ? AND epoch = ? FOR SHARE", (self.group, self.epoch)

    def lose(self) -> LockHeld:
        """Note that the epoch is another's; return what to raise."""
        self.lost = f"Another process has taken over the books of the group {self.group!r}."
        return LockHeld(self.lost, remedy="Stop this process; another one does its work.")

    def _lock(self, connection: psycopg.Connection, name: str) -> None:
        key = lock_key(name)
        row = connection.execute("SELECT pg_try_advisory_lock($1::bigint)", (key,)).fetchone()
        if row is not None and row[0]:
            return
        held = connection.execute(
            "SELECT application_name, coalesce(host(client_addr), 'its own machine')"
            " FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE locktype = 'advisory' AND granted"
            " AND (classid::bigint << 32 | objid::bigint) = $1::bigint"
            " AND pg_locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())",
            (key,),
        ).fetchone()
        who = f"{held[0]}, connected from {held[1]}" if held else "another process"
        raise LockHeld(
            f"The {name} is held by {who}.", remedy="Stop that process, or wait until its connection is gone."
        )

    def _raise_epoch(self, connection: psycopg.Connection) -> None:
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock($1::bigint)", (lock_key(STARTING),))
            if self.epoch:
                row = connection.execute(
                    "UPDATE writers SET epoch = epoch + 1 WHERE group_name = $1 AND epoch = $2"
                    " RETURNING writer_no, epoch",
                    (self.group, self.epoch),
                ).fetchone()
            else:
                row = connection.execute(
                    "INSERT INTO writers (group_name, writer_no, epoch, holder, since_us) SELECT $1,"
                    " coalesce(max(writer_no), 0) + 1, 1, $2,"
                    " (extract(epoch FROM clock_timestamp()) * 1000000)::bigint FROM writers"
                    " ON CONFLICT (group_name) DO UPDATE SET epoch = writers.epoch + 1,"
                    " holder = excluded.holder, since_us = excluded.since_us RETURNING writer_no, epoch",
                    (self.group, own_name()),
                ).fetchone()
        if row is None:
            raise self.lose()
        self.number, self.epoch = int(row[0]), int(row[1])
