"""SQLite under one owner: lock, connection, thread, migrations."""
