"""Alembic entry point of the engine's outbox."""

from shared.store.alembic_env import run

run()
