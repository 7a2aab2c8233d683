"""A measured figure with its floor, and how it is shown."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec


class Figure(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of `trading bench`.

    Attributes:
        name: What was measured.
        unit: Of all numbers but `ratio`.
        p50, p99: Median and 99th percentile, where it is a distribution.
        value: The figure, where it is one number.
        floor: What the same machine needs, in the same run, for the bare minimum of the work.
        ratio: Figure (p50 or value) over floor.
        limit: What the project promises: at most, or at least for rates.
        met: Whether the promise holds in this run.
        note: How it was measured.
    """

    name: str
    unit: str
    p50: float | None = None
    p99: float | None = None
    value: float | None = None
    floor: float
    ratio: float
    limit: str
    met: bool
    note: str = ""


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which *share* of *values* lie (nearest rank); NaN for none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan


def timing(name: str, values_ms: Sequence[float], floor_ms: float, limit_ms: float, note: str) -> Figure:
    """Return a latency: the median within *limit_ms*, the 99th percentile within four medians."""
    p50, p99 = percentile(values_ms, 0.5), percentile(values_ms, 0.99)
    return Figure(
        name=name,
        unit="ms",
        p50=round(p50, 3),
        p99=round(p99, 3),
        floor=round(floor_ms, 3),
        ratio=round(p50 / floor_ms, 2),
        limit=f"p50 ≤ {limit_ms:g}, p99 ≤ 4 × p50",
        met=p50 <= limit_ms and p99 <= 4 * p50,
        note=note,
    )


def single(
    name: str, unit: str, value: float, floor: float, limit: float, note: str, *, at_least: bool = False
) -> Figure:
    """Return a figure that is one number."""
    return Figure(
        name=name,
        unit=unit,
        value=round(value, 3),
        floor=round(floor, 3),
        ratio=round(value / floor, 3) if floor else math.inf,
        limit=f"{'≥' if at_least else '≤'} {limit:g}",
        met=value >= limit if at_least else value <= limit,
        note=note,
    )
