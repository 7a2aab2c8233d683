"""The journal folded back into tables: how every row has to stand, by what was written down.

Streams: the rows go into tables of their own beside the store's (temporary ones, which spill to disk), and
SQL compares them. So memory stays small however long the journal is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import apsw
import msgspec

from order.journal import Entry
from order.record import BASE, COMMIT, unpack

ROWS_AT_ONCE = 4096
"""Rows that gather before they are written."""

FOLDED = frozenset({COMMIT, BASE, "user"})
"""Kinds of entries that tell of rows."""

PREFIX = "folded_"
MOST_DIFFERENCES = 20
"""Rows of one table that are told of by name; all are counted."""

NOT_COMPARED: dict[tuple[str, str], str] = {}
"""Columns whose change is not looked for, with the reason."""

_KEEPS = {"users": "created_us", "subscriptions": "since_us"}
"""Columns that keep what was written first."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the order store, as the store itself describes it.

    Attributes:
        columns: Names, in order.
        types: Their types.
        defaults: What a column has in rows written before it was there, as SQL.
        key: Names of the primary key.
    """

    name: str
    columns: tuple[str, ...]
    types: tuple[str, ...]
    defaults: tuple[str, ...]
    key: tuple[str, ...]

    @property
    def columns_typed(self) -> str:
        """Return the columns with their types, as a table is made of them."""
        return ", ".join(f"{name} {kind}" for name, kind in zip(self.columns, self.types, strict=True))

    @property
    def numbered(self) -> bool:
        """Whether the key is a number that the table gives where none is given."""
        return len(self.key) == 1 and self.types[self.columns.index(self.key[0])].upper() == "INTEGER"

    @classmethod
    def read(cls, sql: apsw.Connection, name: str) -> Table:
        """Return the table *name* of the store."""
        rows = list(sql.execute(f"PRAGMA main.table_info({name})"))
        keyed = sorted((int(row[5]), str(row[1])) for row in rows if row[5])
        return cls(
            name,
            tuple(str(row[1]) for row in rows),
            tuple(str(row[2]) for row in rows),
            tuple("NULL" if row[4] is None else str(row[4]) for row in rows),
            tuple(column for _, column in keyed),
        )


@dataclass(slots=True)
class Fold:
    """Tables as the journal tells them.

    Attributes:
        sql: A connection to the store; what is folded goes into temporary tables on it, or, with an
            empty *prefix*, into the tables themselves.
        started: The journal tells of all rows from its first entry on, or from a repetition on.
        environment: What the store is marked with, by the last start.
    """

    sql: apsw.Connection
    tables: dict[str, Table]
    prefix: str = PREFIX
    started: bool = False
    environment: str = ""
    _rows: dict[str, list[Sequence[Any]]] = field(default_factory=dict)
    _count: int = 0

    @classmethod
    def beside(cls, sql: apsw.Connection, names: Sequence[str]) -> Fold:
        """Return a fold into new temporary tables, one for each of *names*."""
        fold = cls(sql, {name: Table.read(sql, name) for name in names})
        for table in fold.tables.values():
            end = "" if table.numbered else " WITHOUT ROWID"
            sql.execute(
                f"CREATE TEMP TABLE {PREFIX}{table.name}"
                f" ({table.columns_typed}, PRIMARY KEY ({', '.join(table.key)})){end}"
            )
        return fold

    def take(self, entry: Entry) -> None:
        """Take what *entry* says of rows.

        Raises:
            msgspec.DecodeError, ValueError: Its body cannot be read.
        """
        if entry.kind == COMMIT:
            _, inputs, rows = msgspec.msgpack.decode(entry.body)
            self.started = self.started or entry.no == 1
            if inputs and inputs[0][0] == "start":
                self.environment = str(inputs[0][2][0]["environment"])
            for table, packed in rows.items():
                self._add(table, unpack(packed))
        elif entry.kind == BASE:
            _, table, packed = msgspec.msgpack.decode(entry.body)
            self.started = True
            self._add(table, unpack(packed))
        elif entry.kind == "user":
            body = msgspec.msgpack.decode(entry.body)
            if isinstance(body, list):
                self._user(body[2])

    def flush(self) -> None:
        """Write what has gathered."""
        for name, rows in self._rows.items():
            self._put(self.tables[name], rows)
        self._rows.clear()
        self._count = 0

    def meta(self, key: str, value: str) -> None:
        """Take a row of `meta` that follows from something else."""
        self._add("meta", [(key, value)])

    def differences(self, name: str) -> Iterator[tuple[int, str]]:
        """Yield how many rows of a table differ from what the journal says, with a line about each."""
        table, folded = self.tables[name], f"{self.prefix}{name}"
        on = " AND ".join(f"a.{column} IS b.{column}" for column in table.key)
        others = [c for c in table.columns if c not in table.key and (name, c) not in NOT_COMPARED]
        differ = " OR ".join(f"a.{column} IS NOT b.{column}" for column in others) or "0"
        pairs = ", ".join(f"a.{c}, b.{c}" for c in table.columns)
        first = table.key[0]
        self.flush()
        yield from self._tell(
            f"SELECT {pairs} FROM main.{name} a LEFT JOIN {folded} b ON {on}"
            f" WHERE b.{first} IS NULL OR {differ}",
            table,
            "",
        )
        yield from self._tell(
            f"SELECT {pairs} FROM {folded} a LEFT JOIN main.{name} b ON {on} WHERE b.{first} IS NULL",
            table,
            "is in the journal and not in the table",
        )

    # -- inside ----------------------------------------------------------------------------------

    def _tell(self, query: str, table: Table, said: str) -> Iterator[tuple[int, str]]:
        more = 0
        for number, row in enumerate(self.sql.execute(query)):
            if number >= MOST_DIFFERENCES:
                more += 1
                continue
            ours = dict(zip(table.columns, row[0::2], strict=True))
            told = dict(zip(table.columns, row[1::2], strict=True))
            key = ", ".join(f"{column} {ours[column]}" for column in table.key)
            if said:
                yield 1, f"{table.name}: row with {key} {said}"
            elif told[table.key[0]] is None:
                yield 1, f"{table.name}: row with {key} is not in the journal"
            else:
                other = [c for c in table.columns if ours[c] != told[c]]
                words = ", ".join(f"{c} is {_short(ours[c])}, written as {_short(told[c])}" for c in other)
                yield 1, f"{table.name}: row with {key} was changed: {words}"
        if more:
            yield more, f"{table.name}: {more} more rows differ"

    def _add(self, table: str, rows: Sequence[Sequence[Any]]) -> None:
        self._rows.setdefault(table, []).extend(rows)
        self._count += len(rows)
        if self._count >= ROWS_AT_ONCE:
            self.flush()

    def _put(self, table: Table, rows: list[Sequence[Any]]) -> None:
        # Rows of one length at a time, in their order: older ones may lack columns that came later.
        start = 0
        for end in range(1, len(rows) + 1):
            if end == len(rows) or len(rows[end]) != len(rows[start]):
                width = len(rows[start])
                values = ", ".join(chain("?" * width, table.defaults[width:]))
                self.sql.executemany(
                    f"INSERT OR REPLACE INTO {self.prefix}{table.name} VALUES ({values})", rows[start:end]
                )
                start = end

    def _user(self, rows: dict[str, list[Sequence[Any]]]) -> None:
        self.flush()
        subscriptions = f"{self.prefix}subscriptions"
        self.sql.execute(f"UPDATE {subscriptions} SET active = 0 WHERE user_no = ?", (rows["users"][0][0],))
        for name, each in rows.items():
            table, kept = self.tables[name], _KEEPS[name]
            news = ", ".join(f"{c} = excluded.{c}" for c in table.columns if c != kept)
            key = ", ".join(table.key)
            for row in each:
                values = ", ".join(chain("?" * len(row), table.defaults[len(row) :]))
                self.sql.execute(
                    f"INSERT INTO {self.prefix}{name} VALUES ({values})"
                    f" ON CONFLICT ({key}) DO UPDATE SET {news}",
                    tuple(row),
                )


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
