from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from order.schema import SCHEMA as ORDERS
from shared.errors import RefusedBySafety, StoreError
from shared.store.schema import Schema
from shared.store.sqlite import WAL_ROOM_BYTES, Database
from strategy.outbox import SCHEMA as SIGNALS


@pytest.fixture(autouse=True)
def room_as_in_earnest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the WAL as long as outside of tests; other tests have no use for that."""
    monkeypatch.setattr("shared.store.sqlite.WAL_ROOM_BYTES", WAL_ROOM_BYTES)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database.open_writer(tmp_path / "orders.db", ORDERS, "paper")
    yield database
    database.close()


@pytest.mark.parametrize("schema", [ORDERS, SIGNALS])
def test_head_in_the_code_is_the_head_of_the_scripts(schema: Schema) -> None:
    config = Config()
    config.set_main_option("script_location", str(schema.migrations))
    assert ScriptDirectory.from_config(config).get_current_head() == schema.head


@pytest.mark.parametrize("schema", [ORDERS, SIGNALS])
def test_new_file_is_made_at_the_head_for_its_owner_alone(tmp_path: Path, schema: Schema) -> None:
    path = tmp_path / "deep" / "store.db"
    Database.open_writer(path, schema, "paper").close()
    assert path.stat().st_mode & 0o077 == 0
    reader = Database.open_reader(path, schema)
    assert reader.row("SELECT version_num FROM alembic_version") == (schema.head,)
    reader.close()


def test_writer_is_durable(database: Database) -> None:
    assert database.row("PRAGMA journal_mode") == ("wal",)
    assert database.row("PRAGMA synchronous") == (2,)


def test_transaction_is_undone_when_its_body_raises(database: Database) -> None:
    with pytest.raises(RuntimeError, match="half way"), database.transaction():
        database.set_meta("key", "value")
        raise RuntimeError("half way")
    assert database.meta("key") is None
    with database.transaction():
        database.set_meta("key", "value")
        database.set_meta("key", "newer")
    assert database.meta("key") == "newer"


def test_snapshot_sees_one_state_while_a_writer_goes_on(database: Database) -> None:
    reader = Database.open_reader(database.path, ORDERS)
    with reader.snapshot():
        assert reader.meta("key") is None
        with database.transaction():
            database.set_meta("key", "value")
        assert reader.meta("key") is None
    assert reader.meta("key") == "value"
    reader.close()


def test_reader_cannot_write(database: Database) -> None:
    reader = Database.open_reader(database.path, ORDERS)
    with pytest.raises(StoreError), reader.transaction():
        reader.set_meta("key", "value")
    reader.close()


def test_missing_store_is_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"no store at .*trading run"):
        Database.open_reader(tmp_path / "none.db", ORDERS)


def test_reader_of_another_version_is_refused(database: Database) -> None:
    with pytest.raises(StoreError, match=f"schema {ORDERS.head}, this version reads 7777"):
        Database.open_reader(database.path, Schema(ORDERS.migrations, "7777"))


def test_newer_store_is_never_migrated_backwards(database: Database) -> None:
    database.connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreError, match="newer version"):
        Database.open_writer(database.path, ORDERS, "paper")
    assert database.row("SELECT version_num FROM alembic_version") == ("9999",)


def test_store_of_another_environment_is_refused(database: Database) -> None:
    with pytest.raises(RefusedBySafety, match="'paper' and refuses 'live'"):
        Database.open_writer(database.path, ORDERS, "live")


def test_unknown_environment_is_a_mistake_in_the_code(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown environment 'test'"):
        Database.open_writer(tmp_path / "x.db", ORDERS, "test")


def test_locked_store_is_said_in_our_words(database: Database) -> None:
    other = apsw.Connection(str(database.path))
    other.execute("BEGIN IMMEDIATE")
    database.connection.set_busy_timeout(0)
    with pytest.raises(StoreError, match="state folder"), database.transaction():
        pass
    other.execute("ROLLBACK")
    other.close()


def test_damaged_read_is_said_in_our_words(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def execute(self, *_: object) -> None:
            raise apsw.IOError("disk I/O error")

    connection = database.connection
    monkeypatch.setattr(database, "connection", Broken())
    with pytest.raises(StoreError, match="disk I/O error"):
        database.meta("key")
    monkeypatch.setattr(database, "connection", connection)


def test_grown_wal_is_folded_into_the_file(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.store.sqlite.CHECKPOINT_PAGES", 1)
    wal = database.path.with_name("orders.db-wal")
    before = database.path.stat().st_size
    with database.transaction():
        for number in range(20_000):
            database.set_meta(f"key {number}", "x" * 500)
    assert wal.stat().st_size > 10_000_000
    database.checkpoint_if_due()
    assert database.path.stat().st_size > before + 4_000_000


def test_wal_has_room_at_the_start_and_a_commit_does_not_lengthen_it(database: Database) -> None:
    wal = database.path.with_name("orders.db-wal")
    before = wal.stat().st_size
    assert before >= WAL_ROOM_BYTES
    with database.transaction():
        database.set_meta("key", "x" * 50_000)
    assert wal.stat().st_size == before


def test_wal_room_is_no_memory(database: Database) -> None:
    connection = database.connection
    assert isinstance(connection, apsw.Connection)
    kept, _ = connection.status(apsw.SQLITE_DBSTATUS_CACHE_USED)
    assert kept < WAL_ROOM_BYTES / 20


def test_wal_room_left_by_a_killed_start_is_no_obstacle(tmp_path: Path) -> None:
    path = tmp_path / "orders.db"
    first = Database.open_writer(path, ORDERS, "paper")
    first.connection.execute("CREATE TABLE wal_room (bytes BLOB)")
    first.close()
    again = Database.open_writer(path, ORDERS, "paper")
    assert again.row("SELECT 1 FROM sqlite_schema WHERE name = 'wal_room'") is None
    again.close()
