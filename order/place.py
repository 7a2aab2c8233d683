"""Where one order manager works: its lock and control socket on this machine, and its store."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from order.control import control_path
from order.reading import Reader
from order.schema import LOCK_NAME
from order.sql_store import SqlOrderStore
from order.stores import DEFAULT_GROUP, PostgresOrderStore, SqliteOrderStore
from shared.errors import ConfigurationError, LockHeld
from shared.secret import masked_url
from shared.settings import Settings
from shared.store.lock import FileLock


@dataclass(frozen=True, slots=True)
class Place:
    """One writer's place.

    Attributes:
        home: The state folder.
        url: Of the PostgreSQL database that keeps the books; None: a file in *home*.
        group: The user group that the writer serves; None on SQLite, where one serves all.
    """

    home: Path
    url: str | None = None
    group: str | None = None

    @classmethod
    def of(cls, settings: Settings, group: str | None = None) -> Place:
        """Return the place that *settings* name.

        Args:
            settings: As read.
            group: On PostgreSQL the group to serve; `default` where None. Nothing on SQLite.
        """
        if settings.postgres_url is None:
            return cls(settings.home)
        return cls(settings.home, settings.postgres_url, group or DEFAULT_GROUP)

    @property
    def books(self) -> str:
        """Where the books lie: the state folder, or the database's address without its password."""
        return str(self.home) if self.url is None else masked_url(self.url)

    @property
    def whose(self) -> str:
        """Of which group they are, to put behind `books`; nothing on SQLite."""
        return "" if self.group is None else f", group {self.group}"

    @property
    def lock_name(self) -> str:
        """Name of the lock's file in the state folder."""
        return LOCK_NAME if self.group is None else f"order-{self._digest}.lock"

    @property
    def control(self) -> Path:
        """The control socket of whoever holds the lock."""
        path = control_path(self.home)
        return path if self.group is None else path.with_name(f"order-{self._digest}.sock")

    def lock(self) -> FileLock:
        """Return the lock, not taken."""
        return FileLock(self.home / self.lock_name)

    def open(self, environment: str) -> SqlOrderStore:
        """Open the store as its one writer; the caller holds the lock.

        Raises:
            LockHeld: Another machine, or another state folder, serves the group on this database.
        """
        if self.url is None or self.group is None:
            return SqliteOrderStore(self.home, environment)
        return PostgresOrderStore(self.url, environment, self.group)

    def group_of(self, asked: str | None) -> str:
        """Return the group of a user that is added here.

        Raises:
            ConfigurationError: Another order manager keeps the group that was *asked* for.
        """
        if self.group is not None and asked not in (None, self.group):
            raise ConfigurationError(
                f"This order manager serves the group {self.group!r}, not {asked!r}.",
                remedy="On PostgreSQL each group's users are kept by its own order manager.",
            )
        return asked or self.group or DEFAULT_GROUP

    def held(self) -> LockHeld:
        """Return what to raise where another process of this machine has the lock."""
        other = "another state folder (TRADING_HOME)" if self.url is None else "another group or database"
        return LockHeld(
            f"The books in {self.books}{self.whose} are kept by {self.keeper()}.",
            remedy=f"Stop it, or use {other}.",
        )

    def keeper(self) -> str:
        """Return who of this machine has the lock, for people; only to be asked where it is held."""
        holder = self.lock().holder()
        return f"pid {holder.pid} ({holder.command})" if holder else "another process"

    def reader(self) -> Reader:
        """Open the books for reading.

        Raises:
            StoreError: There are none yet, or they cannot be read.
        """
        return Reader(self.home, self.url)

    @property
    def _digest(self) -> str:
        """A short name of the group that fits any file system."""
        return blake2b((self.group or "").encode(), digest_size=5).hexdigest()
