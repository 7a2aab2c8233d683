"""PostgreSQL behind the port: placeholders, bulk, snapshots, durability, versions, its failures in words."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from order.schema import SCHEMA
from shared.errors import RefusedBySafety, StoreError
from shared.store.postgres import PostgresDatabase, native
from shared.store.schema import Schema
from tests import postgres


@pytest.fixture
def database(postgres_url: str) -> Iterator[PostgresDatabase]:
    opened = PostgresDatabase.open_writer(postgres_url, SCHEMA, "paper", "g")
    yield opened
    opened.close()


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("a = ? AND b = ?", "a = $1 AND b = $2"),
        ("a = ?1 AND (?2 IS NULL OR b = ?2)", "a = $1 AND ($2::text IS NULL OR b = $2)"),
        ("a = ? LIMIT ?3 OFFSET ?", "a = $1 LIMIT $3 OFFSET $4"),
        ("SELECT 1", "SELECT 1"),
    ],
)
def test_placeholder_is_written_as_the_server_reads_it(query: str, said: str) -> None:
    assert native(query) == said


def test_transaction_is_undone_when_its_body_raises(database: PostgresDatabase) -> None:
    with pytest.raises(RuntimeError), database.transaction():
        database.set_meta("x", "1")
        raise RuntimeError
    assert database.meta("x") is None
    with database.transaction():
        database.set_meta("x", "2")
    assert database.meta("x") == "2"


@pytest.mark.parametrize("count", [1, 7, 8, 300])
def test_rows_replace_those_of_the_same_key_one_by_one_and_in_bulk(
    database: PostgresDatabase, count: int
) -> None:
    for value in ("old", 'new "\\ {,}\0'):
        with database.transaction():
            database.insert("meta", [(f"k{n}", value) for n in range(count)], replace=True)
    rows = list(database.connection.execute("SELECT value FROM meta WHERE key LIKE 'k%'"))
    assert rows == [('new "\\ {,}\ufffd',)] * count


def test_what_is_no_row_of_a_store_is_not_written(database: PostgresDatabase) -> None:
    with pytest.raises(TypeError, match="float"), database.transaction():
        database.insert("cursors", [("g", f"{n}", "e", 0.5) for n in range(9)])


def test_snapshot_sees_one_state_while_a_writer_goes_on(
    database: PostgresDatabase, postgres_url: str
) -> None:
    reader = PostgresDatabase.open_reader(postgres_url, SCHEMA)
    with reader.snapshot() as sql:
        assert sql.execute("SELECT count(*) FROM meta WHERE key = ?", ("x",)).fetchone() == (0,)
        with database.transaction():
            database.set_meta("x", "1")
        with reader.snapshot() as inner:
            assert inner.execute("SELECT count(*) FROM meta WHERE key = 'x'").fetchone() == (0,)
    assert reader.meta("x") == "1"
    reader.close()


def test_whole_numbers_have_64_bits_whatever_the_migrations_say(postgres_url: str) -> None:
    small = postgres.run(
        postgres_url,
        "SELECT table_name, column_name FROM information_schema.columns"
        " WHERE table_schema = 'public' AND data_type IN ('integer', 'smallint')",
    )
    assert small == []


def test_commit_that_would_not_be_durable_is_refused(postgres_url: str) -> None:
    name = postgres_url.rpartition("/")[2].partition("?")[0]
    postgres.run(postgres_url, f"ALTER DATABASE {name} SET synchronous_commit = off")
    with pytest.raises(StoreError, match="synchronous_commit is off"):
        PostgresDatabase.open_writer(postgres_url, SCHEMA, "paper", "g")


def test_database_of_another_environment_is_refused(postgres_url: str) -> None:
    PostgresDatabase.open_writer(postgres_url, SCHEMA, "paper", "g").close()
    with pytest.raises(RefusedBySafety, match="'paper' and refuses 'sandbox'"):
        PostgresDatabase.open_writer(postgres_url, SCHEMA, "sandbox", "g")


def test_newer_database_is_not_touched(postgres_url: str) -> None:
    postgres.run(postgres_url, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreError, match="schema 9999"):
        PostgresDatabase.open_writer(postgres_url, SCHEMA, "paper", "g")
    with pytest.raises(StoreError, match="schema 9999"):
        PostgresDatabase.open_reader(postgres_url, SCHEMA)
    with pytest.raises(StoreError, match="reads 7777"):
        PostgresDatabase.open_reader(postgres_url, Schema(SCHEMA.migrations, "7777"))


def test_database_without_a_store_says_so(postgres_server: str) -> None:
    with postgres.database(postgres_server) as url:
        with pytest.raises(StoreError, match="no store"):
            PostgresDatabase.open_reader(url, SCHEMA)
        PostgresDatabase.open_writer(url, SCHEMA, "paper", "g").close()
        PostgresDatabase.open_reader(url, SCHEMA).close()


def test_reader_cannot_write(postgres_url: str, database: PostgresDatabase) -> None:
    reader = PostgresDatabase.open_reader(postgres_url, SCHEMA)
    with pytest.raises(StoreError, match="read-only"), reader.transaction():
        reader.set_meta("x", "1")
    reader.close()
    assert database.meta("x") is None


@pytest.mark.parametrize("address", ["127.0.0.1:1/none", "127.0.0.1:5/none?connect_timeout=1"])
def test_server_that_is_not_there_is_said_without_its_password(address: str) -> None:
    with pytest.raises(StoreError) as caught:
        PostgresDatabase.open_writer(f"postgresql://user:geheim@{address}", SCHEMA, "paper", "g")
    assert "geheim" not in str(caught.value)
    assert "***@127.0.0.1" in str(caught.value)
