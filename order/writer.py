"""Whose rows a store's owner writes, and from which range it numbers them.

On SQLite one writer serves all groups and counts from 1. On PostgreSQL each group has a writer of its own,
with its own journal chain; it counts from its own range, so that numbers are unique without asking
anybody, and rows are appended in the order of the key, one place for each writer.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

RANGE = 1_000_000_000_000
"""Numbers of one writer: 2_000_000_000_017 is the 17th of writer 2. Nine thousand of them fit JSON's 2^53."""


@dataclass(frozen=True, slots=True)
class Writer:
    """One writer of an order store.

    Attributes:
        number: 0 where there is only one.
        group: The user group that it serves; None for all.
    """

    number: int = 0
    group: str | None = None

    @property
    def chain(self) -> str:
        """Name of its chain in the journal."""
        return "order" if self.group is None else f"order:{self.group}"

    @property
    def base(self) -> int:
        """Its numbers are above it."""
        return self.number * RANGE

    @property
    def span(self) -> tuple[int, int]:
        """Lowest and highest number that may be its own."""
        return self.base + 1, self.base + RANGE - 1

    @property
    def told(self) -> dict[str, list[object]]:
        """Return what the journal keeps of it at a start; nothing where it is the only one."""
        return {} if self.group is None else {"writer": [self.number, self.group]}

    def next_of(self, numbers: Iterable[int]) -> int:
        """Return the number after the highest of its own *numbers*."""
        return max(numbers, default=self.base) + 1

    def counter(self, name: str) -> str:
        """Return the key under which it keeps the counter *name*."""
        return name if self.group is None else f"{name}:{self.number}"


ONLY_WRITER = Writer()
"""Of a store that has one writer for all groups."""
