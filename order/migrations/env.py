"""Alembic entry point of the order store."""

from shared.store.alembic_env import run

run()
