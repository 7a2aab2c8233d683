"""Why orders were refused, and how to mend it: below the table, each reason once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec

from order.reading import OrderView
from order.remedies import Remedy, remedy
from shared.models import OrderState

if TYPE_CHECKING:
    pass

LONGEST_EXAMPLE = 160


class ExplainedOrder(OrderView, frozen=True, kw_only=True):
    """An order; `remedy` says what its refusal means and how to mend it, or is empty."""

    remedy: str


def of_order(row: OrderView) -> Remedy | None:
    """Return what *row* was refused for, explained; None where it was not."""
    return remedy(OrderState(row.state), row.rule, row.user_id)


def explained(rows: Iterable[OrderView]) -> list[ExplainedOrder]:
    """Return *rows* with their remedies."""
    return [ExplainedOrder(**msgspec.structs.asdict(row), remedy=str(of_order(row) or "")) for row in rows]


def tell(rows: Sequence[OrderView]) -> None:
    """Print each reason that occurs in *rows* once: how often, the newest example, meaning and remedy."""
    count: Counter[str] = Counter()
    newest: dict[str, tuple[OrderView, Remedy]] = {}
    for row in rows:
        found = of_order(row)
        if found is not None:
            count[found.name] += 1
            newest.setdefault(found.name, (row, found))
    if newest:
        print("\nRefused, and what to do")
    for name, (row, found) in newest.items():
        said = row.rule if len(row.rule) <= LONGEST_EXAMPLE else f"{row.rule[:LONGEST_EXAMPLE]}…"
        print(f"{name}, {count[name]} ×" + (f": “{said.removeprefix(f'{name}: ')}”" if said != name else ""))
        print(f"  {found.means}\n  → {found.mend}")
