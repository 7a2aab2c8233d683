"""A PostgreSQL database that exists for one scene."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

from shared.errors import StoreError


@contextmanager
def made(server: str) -> Iterator[str]:
    """Yield the address of a new database on *server* and drop it at the end.

    Raises:
        StoreError: The server lets nobody in, or nobody make a database.
    """
    import psycopg

    name = f"trading_proof_{uuid4().hex[:12]}"
    try:
        with psycopg.connect(server, autocommit=True, connect_timeout=5) as admin:
            admin.execute(f"CREATE DATABASE {name}".encode())
    except psycopg.Error as error:
        raise StoreError(
            f"No database for a proof: {error}", remedy="Name a server on which you may make databases."
        ) from error
    head, _, query = server.partition("?")
    try:
        yield f"{head.rpartition('/')[0]}/{name}{'?' + query if query else ''}"
    finally:
        with psycopg.connect(server, autocommit=True, connect_timeout=5) as admin:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
