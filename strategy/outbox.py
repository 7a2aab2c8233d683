"""The engine's outbox: what is committed here is a signal, whatever happens to the bus afterwards.

Rows are numbered without a gap (`seq`, from 1) and chained by digests, so that two histories can be
told apart. One engine process per outbox, by a lock; SQLite with full sync. All memory state is
replaced on the owning thread after the commit: a failed commit changes nothing, a cancelled caller
loses nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from shared.bus.codec import encode
from shared.bus.pointer import GENESIS, chain_digest, check_name
from shared.bus.stream import Row
from shared.clock import Clock, SystemClock
from shared.failpoint import hit
from shared.ids import new_epoch
from shared.models import Signal
from shared.store.lock import FileLock
from shared.store.schema import Schema
from shared.store.sqlite import Database
from shared.store.thread import OwnedThread

SCHEMA = Schema(migrations=Path(__file__).with_name("migrations"), head="0001")
DATABASE_FILE = "engine.db"
LOCK_FILE = "engine.lock"

KEEP_US = 7 * 24 * 3600 * 1_000_000
"""Rows younger than this are kept even when everybody has them."""

TAIL_ROWS = 1024
"""Newest rows kept in memory: the relay sends them without a look at the disk."""

CheckpointKey = tuple[str, str, str]
"""Strategy id, symbol, timeframe."""


@dataclass(frozen=True, slots=True)
class Epoch:
    """One stream's worth of history.

    Attributes:
        start: First `seq` sent in it.
        full: It starts with the oldest row kept.
        placed: Its pointer has been in Redis; if it is missing now, Redis was wiped.
        void: It belongs to a history that this outbox (restored from an older copy) does not share,
            so its cursors say nothing about our numbers.
    """

    name: str
    start: int
    full: bool
    placed: bool = False
    void: bool = False


@dataclass(frozen=True, slots=True)
class _State:
    head: int
    digest: str
    first: int
    epochs: tuple[Epoch, ...]
    tail: tuple[Row, ...] = ()


class Outbox:
    """Signals and checkpoints of one engine; open it with `Outbox.open`.

    Attributes:
        engine: The engine's name on the bus.
    """

    def __init__(
        self, database: Database, lock: FileLock, thread: OwnedThread, clock: Clock, engine: str
    ) -> None:
        self.engine = engine
        self._database = database
        self._lock = lock
        self._thread = thread
        self._clock = clock
        self._state = _load(database)

    @classmethod
    async def open(
        cls, home: Path, environment: str, clock: Clock | None = None, *, engine: str = "main"
    ) -> Outbox:
        """Open the outbox in the state folder *home*, making it on first use.

        Raises:
            LockHeld: Another engine process has it.
            StoreError: The file is damaged, read-only, full or too new.
            RefusedBySafety: It belongs to another environment.
        """
        check_name("engine", engine)
        clock = clock or SystemClock()
        lock = FileLock(home / LOCK_FILE)
        lock.acquire()
        thread = OwnedThread("outbox")

        def load() -> Outbox:
            database = Database.open_writer(home / DATABASE_FILE, SCHEMA, environment)
            try:
                _ensure_epoch(database, clock)
                return cls(database, lock, thread, clock, engine)
            except BaseException:
                database.close()
                raise

        try:
            return await thread.run(load)
        except BaseException:
            thread.close()
            lock.release()
            raise

    @property
    def head(self) -> int:
        """Number of the newest signal; 0 before the first."""
        return self._state.head

    @property
    def first(self) -> int:
        """Number of the oldest row kept; `head + 1` where there is none."""
        return self._state.first

    @property
    def epoch(self) -> Epoch:
        """The epoch that counts."""
        return self._state.epochs[-1]

    @property
    def epochs(self) -> tuple[Epoch, ...]:
        """All epochs so far, oldest first."""
        return self._state.epochs

    async def checkpoints(self, run: str) -> dict[CheckpointKey, int]:
        """Return for each (strategy, symbol, timeframe) the close of the last bar decided in *run*, µs."""

        def read() -> dict[CheckpointKey, int]:
            rows = self._database.connection.execute(
                "SELECT strategy_id, symbol, timeframe, close_us FROM checkpoints WHERE run = ?", (run,)
            )
            return {(str(row[0]), str(row[1]), str(row[2])): int(row[3]) for row in rows}

        return await self._thread.run(read)

    async def commit(
        self, run: str, signals: Sequence[Signal], checkpoints: Mapping[CheckpointKey, int]
    ) -> list[int]:
        """Accept *signals* and *checkpoints* in one durable transaction.

        A signal that is there already (by id) keeps its number and is not written again; a checkpoint
        never moves backwards.

        Returns:
            The number of each signal, in order.

        Raises:
            ValueError: A signal is out of bounds; nothing is written.
            StoreError: The disk says no; nothing is written.
        """
        payloads = [encode(signal) for signal in signals]
        return await self._thread.run(self._commit, run, list(signals), payloads, dict(checkpoints))

    async def rows(self, after_seq: int, limit: int = 256) -> list[Row]:
        """Return the rows that follow *after_seq*, oldest first, at most *limit*."""
        state = self._state
        if after_seq >= state.head:
            return []
        if state.tail and state.tail[0].seq <= after_seq + 1:
            offset = after_seq + 1 - state.tail[0].seq
            return list(state.tail[offset : offset + limit])
        return await self._thread.run(self._rows, after_seq, limit)

    async def digest_at(self, seq: int) -> str | None:
        """Return the chain digest of row *seq*; None where that row is not kept."""
        state = self._state
        if seq == state.head:
            return state.digest
        return await self._thread.run(self._digest_at, seq)

    async def renew_epoch(self, reason: str, *, start: int, void_older: bool = False) -> Epoch:
        """Begin a new epoch whose stream starts with row *start*.

        Args:
            reason: Why; kept for whoever looks into it.
            void_older: The epochs so far belong to another history (see `Epoch.void`).
        """
        return await self._thread.run(self._renew_epoch, reason, start, void_older)

    async def mark_placed(self) -> None:
        """Remember that the pointer of the current epoch has been in Redis."""
        await self._thread.run(self._mark_placed)

    async def meta(self, key: str) -> str | None:
        """Return what the engine keeps under *key*."""
        return await self._thread.run(self._database.meta, f"engine.{key}")

    async def set_meta(self, values: Mapping[str, str]) -> None:
        """Keep *values*, durably, in one transaction."""

        def write() -> None:
            with self._database.transaction():
                for key, value in values.items():
                    self._database.set_meta(f"engine.{key}", value)

        await self._thread.run(write)

    async def prune(self, below_seq: int) -> int:
        """Delete rows under *below_seq* that are older than seven days; never the newest row.

        Returns:
            How many rows went. Their total is kept, so that gaplessness can still be shown.
        """
        return await self._thread.run(self._prune, below_seq)

    async def rest(self) -> None:
        """Fold what has gathered in the WAL; for when nothing is waiting."""
        await self._thread.run(self._database.checkpoint_if_due, idle=True)

    async def close(self) -> None:
        """Close the file and free the lock; harmless when repeated."""
        if self._lock.held:
            await self._thread.run(self._database.close)
            self._thread.close()
            self._lock.release()

    def _commit(
        self, run: str, signals: list[Signal], payloads: list[bytes], checkpoints: dict[CheckpointKey, int]
    ) -> list[int]:
        state, now_us = self._state, self._clock.now_us()
        digest, fresh, seqs = state.digest, list[Row](), list[int]()
        with self._database.transaction() as connection:
            for signal, payload in zip(signals, payloads, strict=True):
                known = connection.execute(
                    "SELECT seq FROM outbox WHERE signal_id = ?", (signal.signal_id,)
                ).fetchone()
                if known is not None:
                    seqs.append(int(known[0]))
                    continue
                digest = chain_digest(digest, payload)
                row = Row(state.head + len(fresh) + 1, payload, digest)
                connection.execute(
                    "INSERT INTO outbox (seq, signal_id, payload, digest, committed_us)"
                    " VALUES (?, ?, ?, ?, ?)",
                    (row.seq, signal.signal_id, row.payload, row.digest, now_us),
                )
                fresh.append(row)
                seqs.append(row.seq)
            connection.executemany(
                "INSERT INTO checkpoints (run, strategy_id, symbol, timeframe, close_us)"
                " VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT (run, strategy_id, symbol, timeframe)"
                " DO UPDATE SET close_us = max(close_us, excluded.close_us)",
                [(run, *key, close_us) for key, close_us in checkpoints.items()],
            )
            if fresh:
                hit("engine.commit")
        if fresh:
            tail = (*state.tail, *fresh)[-TAIL_ROWS:]
            self._state = replace(state, head=fresh[-1].seq, digest=digest, tail=tail)
        self._database.checkpoint_if_due()
        return seqs

    def _rows(self, after_seq: int, limit: int) -> list[Row]:
        rows = self._database.connection.execute(
            "SELECT seq, payload, digest FROM outbox WHERE seq > ? ORDER BY seq LIMIT ?", (after_seq, limit)
        )
        return [Row(int(row[0]), bytes(row[1]), str(row[2])) for row in rows]

    def _digest_at(self, seq: int) -> str | None:
        if seq == 0:
            return GENESIS
        row = self._database.connection.execute("SELECT digest FROM outbox WHERE seq = ?", (seq,)).fetchone()
        if row is not None:
            return str(row[0])
        return self._database.meta("pruned_digest") if seq == self._state.first - 1 else None

    def _renew_epoch(self, reason: str, start: int, void_older: bool) -> Epoch:
        state = self._state
        epoch = Epoch(new_epoch(), start, full=start <= state.first)
        older = state.epochs
        with self._database.transaction() as connection:
            if void_older:
                connection.execute("UPDATE epochs SET void = 1")
                older = tuple(replace(known, void=True) for known in older)
            _insert_epoch(self._database, epoch, reason, self._clock)
        self._state = replace(state, epochs=(*older, epoch))
        return epoch

    def _mark_placed(self) -> None:
        state = self._state
        current = replace(state.epochs[-1], placed=True)
        with self._database.transaction() as connection:
            connection.execute("UPDATE epochs SET placed = 1 WHERE epoch = ?", (current.name,))
        self._state = replace(state, epochs=(*state.epochs[:-1], current))

    def _prune(self, below_seq: int) -> int:
        state = self._state
        with self._database.transaction() as connection:
            # The first row that must stay bounds it, not the last that may go: clocks step back.
            young = connection.execute(
                "SELECT min(seq) FROM outbox WHERE committed_us >= ?", (self._clock.now_us() - KEEP_US,)
            ).fetchone()
            bound = state.head if young is None or young[0] is None else int(young[0])
            last = min(bound, below_seq, state.head) - 1
            if last < state.first:
                return 0
            self._database.set_meta("pruned_digest", self._digest_at(last) or GENESIS)
            self._database.set_meta("pruned", str(last))
            connection.execute("DELETE FROM outbox WHERE seq <= ?", (last,))
        self._state = replace(state, first=last + 1, tail=tuple(row for row in state.tail if row.seq > last))
        return last + 1 - state.first


def _load(database: Database) -> _State:
    connection = database.connection
    newest = connection.execute("SELECT seq, digest FROM outbox ORDER BY seq DESC LIMIT 1").fetchone()
    oldest = connection.execute("SELECT min(seq) FROM outbox").fetchone()
    epochs = connection.execute("SELECT epoch, start_seq, complete, placed, void FROM epochs ORDER BY no")
    head, digest = (int(newest[0]), str(newest[1])) if newest else (0, GENESIS)
    return _State(
        head=head,
        digest=digest,
        first=int(oldest[0]) if oldest and oldest[0] is not None else head + 1,
        epochs=tuple(
            Epoch(str(row[0]), int(row[1]), bool(row[2]), bool(row[3]), bool(row[4])) for row in epochs
        ),
    )


def _ensure_epoch(database: Database, clock: Clock) -> None:
    if database.connection.execute("SELECT 1 FROM epochs LIMIT 1").fetchone() is None:
        with database.transaction():
            _insert_epoch(database, Epoch(new_epoch(), 1, full=True), "made with the outbox", clock)


def _insert_epoch(database: Database, epoch: Epoch, reason: str, clock: Clock) -> None:
    database.connection.execute(
        "INSERT INTO epochs (epoch, start_seq, complete, placed, void, reason, made_us)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            epoch.name,
            epoch.start,
            int(epoch.full),
            int(epoch.placed),
            int(epoch.void),
            reason,
            clock.now_us(),
        ),
    )
