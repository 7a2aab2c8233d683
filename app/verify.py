"""`trading verify`: the order room's audit held against the engine's outbox."""

from __future__ import annotations

import sys
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from order.audit import Audit, OutboxRow, audit
from order.schema import FILE_NAME, SCHEMA
from shared.store.sqlite import Database
from strategy.outbox import DATABASE_FILE
from strategy.outbox import SCHEMA as OUTBOX_SCHEMA


class Verdict:
    """An audit with how to show it."""

    def __init__(self, audit: Audit) -> None:
        self.audit = audit

    @property
    def clean(self) -> bool:
        """Whether nothing is lost, doubled or unexplained."""
        return self.audit.clean

    def as_dict(self) -> dict[str, Any]:
        """Return the figures under their public names."""
        return asdict(self.audit)

    def show(self) -> None:
        """Print the figures, then the findings."""
        figures = {name: value for name, value in self.as_dict().items() if name != "findings"}
        for name, value in figures.items():
            print(f"{name.replace('_', ' '):<14} {value:>8}")
        for line in self.audit.findings:
            print(line)
        said = "The books add up." if self.clean else "The books do not add up."
        if sys.stdout.isatty():
            said = f"\033[{'32' if self.clean else '1;31'}m{said}\033[0m"
        print(said)


def verify_home(home: Path) -> Verdict:
    """Audit the stores of a state folder.

    The order store is read first: a signal accepted in between is pending, never lost.

    Raises:
        StoreError: There is no order store, or a store cannot be read.
    """
    with closing(Database.open_reader(home / FILE_NAME, SCHEMA)) as orders:
        if not (home / DATABASE_FILE).exists():
            return Verdict(audit(orders, "main", "", []))
        with closing(Database.open_reader(home / DATABASE_FILE, OUTBOX_SCHEMA)) as engine:
            return Verdict(_audit(orders, engine))


def _audit(orders: Database, engine: Database) -> Audit:
    with orders.snapshot(), engine.snapshot() as sql:
        # Touch both, so that both snapshots begin here, the order store's first.
        orders.connection.execute("SELECT count(*) FROM meta").fetchone()
        rows = [
            OutboxRow(int(s), str(i))
            for s, i in sql.execute("SELECT seq, signal_id FROM outbox ORDER BY seq")
        ]
        epoch = sql.execute("SELECT epoch FROM epochs ORDER BY no DESC LIMIT 1").fetchone()
        pruned = rows[0].seq - 1 if rows else 0
        return audit(orders, engine.meta("engine") or "main", str(epoch[0]) if epoch else "", rows, pruned)
