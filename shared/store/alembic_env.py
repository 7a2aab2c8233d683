"""What every `migrations/env.py` does: run the scripts on the connection that it is handed."""

from __future__ import annotations


def run() -> None:
    """Run the pending migrations; called by Alembic through `env.py`, never at import of a room."""
    from alembic import context

    import shared.store.wide_integers  # noqa: F401 - teaches the compiler

    context.configure(connection=context.config.attributes["connection"], transactional_ddl=True)
    with context.begin_transaction():
        context.run_migrations()
