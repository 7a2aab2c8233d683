"""What every store has, whatever keeps it: a schema with versions, and a mark of its environment.

The schema is written once, dialect-neutral, as Alembic scripts in `<room>/migrations`. Alembic (a third
of a second to import) runs only where the version in a store is not the one that the code wants.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from shared.errors import RefusedBySafety, StoreError

if TYPE_CHECKING:
    from sqlalchemy import Connection as Migrated

ENVIRONMENTS = ("paper", "sandbox", "live", "proof")

LIVE_WANTS = (
    "A live folder wants PAPER_TRADING=false, a user's credentials (`trading users credentials set USER`) and"
    " no ANGEL_ONE_…_URL. For anything else use another folder (TRADING_HOME) or database."
)
"""What is missing where live books refuse a run."""


class NoStore(StoreError):
    """There is a database, and nothing of ours in it yet."""


@dataclass(frozen=True, slots=True)
class Schema:
    """Where a store's migrations lie and which version the code wants.

    Attributes:
        migrations: Folder with `versions/`.
        head: Newest revision; a test holds it equal to the scripts' own head.
    """

    migrations: Path
    head: str


def require_head(store: str, schema: Schema, found: str | None) -> None:
    """Make sure that a store that is only read has the code's version.

    Raises:
        StoreError: It has another.
    """
    if found == schema.head:
        return
    raise StoreError(
        f"{store} has schema {found or 'none'}, this version reads {schema.head}.",
        remedy=(
            "Install the newer version that made it; a store is never migrated backwards."
            if found is not None and found > schema.head
            else "Start `trading run` once with this version to migrate it."
        ),
    )


def require_known(store: str, schema: Schema, found: str | None) -> None:
    """Make sure that a store of version *found* can be brought to the head.

    Raises:
        StoreError: A newer version made it.
    """
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(schema.migrations))
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if found is not None and found not in known:
        raise StoreError(
            f"{store} has schema {found}, which this version does not know (it knows up to {schema.head}).",
            remedy="Install the newer version that made it; a store is never migrated backwards.",
        )


def upgrade(connection: Migrated, schema: Schema) -> None:
    """Run the pending scripts within the caller's transaction."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(schema.migrations))
    config.attributes["connection"] = connection
    command.upgrade(config, schema.head)


def claim_environment(store: str, seen: str | None, wanted: str, mark: Callable[[], None]) -> None:
    """Mark a new store with its environment, or hold the mark against the one that is wanted.

    Args:
        store: Its name, for the message.
        seen: The mark that it has, or None.
        wanted: One of `ENVIRONMENTS`.
        mark: Writes the mark.

    Raises:
        RefusedBySafety: The store has seen another environment.
    """
    if wanted not in ENVIRONMENTS:
        raise ValueError(f"unknown environment {wanted!r}; one of {ENVIRONMENTS}")
    if seen is None:
        mark()
    elif seen != wanted:
        raise RefusedBySafety(
            f"{store} belongs to the environment {seen!r} and refuses {wanted!r}.",
            remedy=LIVE_WANTS if seen == "live" else
            "Use another state folder (TRADING_HOME) or database for it.",
        )
