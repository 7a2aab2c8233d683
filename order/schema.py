"""Which version of the order store this code reads and writes."""

from __future__ import annotations

from pathlib import Path

from shared.store.schema import Schema

SCHEMA = Schema(migrations=Path(__file__).parent / "migrations", head="0010")
FILE_NAME = "orders.db"
LOCK_NAME = "order.lock"
