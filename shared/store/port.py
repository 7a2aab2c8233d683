"""What rooms need of a database: SQLite and PostgreSQL behind one port.

SQL is written once, in what both understand: `?` or `?1` for values, `ON CONFLICT` for upserts, no alias of
a result in WHERE or HAVING. What cannot be said alike (rows in bulk, newest first) is a method.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol


class Rows(Protocol):
    """The result of a query, read once."""

    def __iter__(self) -> Iterator[Any]:
        """Yield the rows that are left."""
        ...

    def fetchone(self) -> Any:
        """Return the next row, or None."""
        ...


class Connection(Protocol):
    """Runs statements."""

    def execute(self, query: str, values: Any = ..., /) -> Rows:
        """Run one statement."""
        ...

    def executemany(self, query: str, values: Any, /) -> object:
        """Run one statement for each row of values."""
        ...


class Database(Protocol):
    """One connection to a store; whoever opened it decided whether it may write."""

    @property
    def label(self) -> str:
        """What to call it in messages; holds no secret."""
        ...

    @property
    def connection(self) -> Connection:
        """For reading; what is written goes through `transaction`."""
        ...

    def newest(self, number: str) -> str:
        """Return the cheapest right `ORDER BY` for rows joined with `inbox`, the latest first.

        Args:
            number: Column with the rows' own number, which grows with time for each writer.
        """
        ...

    def using(self, index: str) -> str:
        """Return what makes a query use *index* where the planner would not by itself; empty elsewhere."""
        ...

    def transaction(self) -> AbstractContextManager[Connection]:
        """Run the body as one transaction; durable (full sync) when it returns, undone when it raises."""
        ...

    def snapshot(self) -> AbstractContextManager[Connection]:
        """Run the body on one consistent view of the store; within another snapshot, on that one."""
        ...

    def insert(
        self, table: str, rows: Sequence[tuple[Any, ...]], *, columns: str = "", replace: bool = False
    ) -> None:
        """Insert *rows* within the caller's transaction; for a thousand of them in bulk.

        Args:
            table: Its name.
            rows: At least one.
            columns: Names separated by commas; all columns where empty.
            replace: In place of rows with the same primary key.
        """
        ...

    def row(self, query: str, values: tuple[str | int, ...] = ()) -> tuple[Any, ...] | None:
        """Return the first row of *query*, or None."""
        ...

    def meta(self, key: str) -> str | None:
        """Return the value kept under *key*, or None."""
        ...

    def set_meta(self, key: str, value: str) -> None:
        """Keep *value* under *key* within the caller's transaction."""
        ...

    def after_answer(self, *, idle: bool) -> None:
        """Do what is due but must not delay an answer; more of it when *idle*."""
        ...

    def quick_check(self) -> str:
        """Return `ok`, or the first thing that is wrong with how the store lies on its disk."""
        ...

    def close(self) -> None:
        """Close the connection; committed state stays."""
        ...
