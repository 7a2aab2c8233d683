"""The order store of a simulation: SQLite in memory files, with commits that fail and commits to die at."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from order.orders import Changes
from order.schema import FILE_NAME
from order.stores import SqliteOrderStore
from shared.errors import StoreError

MEMORY = Path("/dev/shm")
"""Where there is no disk to wait for: a simulation's crashes are not power cuts."""


class Died(BaseException):
    """The process ended here: nobody may catch it but the simulation."""


class MortalStore(SqliteOrderStore):
    """See `order.store.OrderStore`.

    Attributes:
        fails: Commits from now on that fail without a trace.
        dies: Asked before and after each commit; True ends the process there.
    """

    def __init__(self, home: Path) -> None:
        super().__init__(home, "proof")
        self.fails = 0
        self.dies: Callable[[], bool] = bool

    def commit(self, changes: Changes) -> None:
        """Write *changes*, all of it or nothing.

        Raises:
            StoreError: It was told to.
        """
        if self.fails:
            self.fails -= 1
            raise StoreError("The disk is full.")
        if self.dies():
            raise Died
        super().commit(changes)
        if self.dies():
            raise Died


@contextmanager
def mortal_store() -> Iterator[MortalStore]:
    """Yield an empty store; nothing of it stays."""
    with tempfile.TemporaryDirectory(prefix="simulation-", dir=_folder()) as folder:
        shutil.copy(_blank(), Path(folder) / FILE_NAME)
        store = MortalStore(Path(folder))
        try:
            yield store
        finally:
            store.close()


def _folder() -> Path | None:
    return MEMORY if MEMORY.is_dir() else None


@cache
def _blank() -> Path:
    """Return an empty store: a copy costs a thousandth of its migrations."""
    folder = Path(tempfile.mkdtemp(prefix="simulation-blank-", dir=_folder()))
    SqliteOrderStore(folder, "proof").close()
    return folder / FILE_NAME
