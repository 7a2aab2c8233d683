"""`trading verify`: the order room's audit held against the engine's outbox."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from order.audit import Audit, OutboxRow, audit
from order.mirror import as_sqlite
from order.reading import Reader
from order.stores import open_for_reading
from shared.bus.pointer import engine_of
from shared.errors import StoreError
from shared.store.port import Database
from shared.store.sqlite import Database as SqliteDatabase
from strategy.outbox import DATABASE_FILE
from strategy.outbox import SCHEMA as OUTBOX_SCHEMA
from strategy.outbox_proof import proven_rows


class Verdict:
    """An audit with how to show it.

    Args:
        audit: Of the stores.
        reconciled: How the last comparison with each broker's account went, by user; no part of the proof.
    """

    def __init__(self, audit: Audit, reconciled: Mapping[str, str] | None = None) -> None:
        self.audit = audit
        self.reconciled = dict(reconciled or {})

    @property
    def clean(self) -> bool:
        """Whether nothing is lost, doubled or unexplained."""
        return self.audit.clean

    def as_dict(self) -> dict[str, Any]:
        """Return the figures under their public names."""
        return {**asdict(self.audit), "reconciled": self.reconciled}

    def show(self) -> None:
        """Print the figures, then the findings."""
        figures = {name: value for name, value in asdict(self.audit).items() if name != "findings"}
        for name, value in figures.items():
            print(f"{name.replace('_', ' '):<16} {'–' if value is None else value:>8}")
        for line in self.audit.findings:
            print(line)
        for user_id, how in self.reconciled.items():
            print(f"{user_id} with the broker, {how}")
        said = "The books add up." if self.clean else "The books do not add up."
        if sys.stdout.isatty():
            said = f"\033[{'32' if self.clean else '1;31'}m{said}\033[0m"
        print(said)


def verify_home(home: Path, url: str | None = None) -> Verdict:
    """Audit the stores of a state folder.

    Args:
        home: The state folder.
        url: Of the PostgreSQL database that keeps the books; None: they lie in the state folder.

    The order store is read first: a signal accepted in between is pending, never lost.

    Raises:
        StoreError: There is no order store, or a store cannot be read.
    """
    with ExitStack() as stack:
        orders, engine = open_stores(home, url, stack)
        name = engine_of(orders.meta("environment") or "")
        found = audit(orders, name, "", []) if engine is None else _audit(orders, engine, name)
    return Verdict(found, _reconciled(home, url, found))


def _reconciled(home: Path, url: str | None, found: Audit) -> dict[str, str]:
    """Return how the last comparisons went; nothing where users are damaged, which *found* tells of."""
    try:
        with closing(Reader(home, url)) as books:
            return {user_id: str(last) for user_id, last in books.reconciliations()}
    except StoreError:
        if found.clean:
            raise
        return {}


def open_stores(
    home: Path, url: str | None, stack: ExitStack
) -> tuple[SqliteDatabase, SqliteDatabase | None]:
    """Return the order store and, where there is one, the engine's, for reading until *stack* closes.

    Raises:
        StoreError: There is no order store, or a store cannot be read.
    """
    kept = stack.enter_context(closing(open_for_reading(home, url)))
    orders = stack.enter_context(as_sqlite(kept))
    if not (home / DATABASE_FILE).exists():
        return orders, None
    engine = SqliteDatabase.open_reader(home / DATABASE_FILE, OUTBOX_SCHEMA)
    return orders, stack.enter_context(closing(engine))


def _audit(orders: Database, engine: SqliteDatabase, name: str) -> Audit:
    with orders.snapshot(), engine.snapshot() as sql:
        # Touch both, so that both snapshots begin here, the order store's first.
        orders.connection.execute("SELECT count(*) FROM meta").fetchone()
        epoch = sql.execute("SELECT epoch FROM epochs ORDER BY no DESC LIMIT 1").fetchone()
        broken: list[str] = []
        rows = (OutboxRow(seq, signal_id) for seq, signal_id in proven_rows(engine, broken.append))
        pruned = int(engine.meta("pruned") or 0)
        found = audit(orders, name, str(epoch[0]) if epoch else "", rows, pruned)
        for line in broken:
            found.find("unexplained", 1, line)
        return found
