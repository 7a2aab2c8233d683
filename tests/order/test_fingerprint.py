from __future__ import annotations

from typing import Any

import msgspec
import pytest

from order.fingerprint import Fingerprint, changes

BEFORE = Fingerprint("rsi", "aa", {"period": "14", "oversold": "30"}, ("TCS", "INFY"))


@pytest.mark.parametrize(
    ("now", "said"),
    [
        ({}, ""),
        ({"code": "bb"}, "code changed"),
        ({"parameters": {"period": "10", "oversold": "30"}}, "parameters changed period 14 → 10"),
        ({"parameters": {"period": "14", "top": "9"}}, "parameters changed oversold 30 → –, top – → 9"),
        ({"symbols": ("TCS", "SBIN")}, "symbols changed +SBIN −INFY"),
        ({"symbols": ("INFY", "TCS")}, ""),
        ({"timeframe": "5m"}, "timeframe changed the data → 5m"),
        ({"kind": "other", "code": "bb"}, "type changed rsi → other"),
        ({"code": "bb", "timeframe": "1d"}, "code changed; timeframe changed the data → 1d"),
    ],
)
def test_what_has_changed_is_told_in_words(now: dict[str, Any], said: str) -> None:
    assert changes(BEFORE, msgspec.structs.replace(BEFORE, **now)) == said
