"""What a strategy was when an account was armed with it, and what has changed since. Pure.

The order side knows no strategies: whoever arms tells what they are.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

ARMED_WITH = "armed_with"
"""The kind of mark that keeps one, by strategy id."""


class Fingerprint(msgspec.Struct, frozen=True):
    """A strategy as it is configured.

    Attributes:
        kind: Its type.
        code: Of its module's source; other source, other value.
        parameters: With the defaults filled in, as text.
        symbols: What it trades.
        timeframe: Of its bars; empty: those of the market data.
    """

    kind: str
    code: str
    parameters: dict[str, str]
    symbols: tuple[str, ...]
    timeframe: str = ""


Fingerprints = Mapping[str, Fingerprint]
"""By strategy id."""


def changes(before: Fingerprint, now: Fingerprint) -> str:
    """Return what is other than *before* in words; empty where nothing is."""
    if before.kind != now.kind:
        return f"type changed {before.kind} → {now.kind}"
    found = ["code changed"] if before.code != now.code else []
    names = sorted({*before.parameters, *now.parameters})
    values = [(name, before.parameters.get(name, "–"), now.parameters.get(name, "–")) for name in names]
    moved = [f"{name} {old} → {new}" for name, old, new in values if old != new]
    found += [f"parameters changed {', '.join(moved)}"] if moved else []
    more = [f"+{symbol}" for symbol in now.symbols if symbol not in before.symbols]
    more += [f"−{symbol}" for symbol in before.symbols if symbol not in now.symbols]
    found += [f"symbols changed {' '.join(more)}"] if more else []
    if before.timeframe != now.timeframe:
        found.append(f"timeframe changed {before.timeframe or 'the data'} → {now.timeframe or 'the data'}")
    return "; ".join(found)
