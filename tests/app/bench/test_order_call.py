from __future__ import annotations

import pytest

from app.bench.order_call import figure


@pytest.mark.parametrize(("ours", "met"), [(1.59, True), (1.61, False)])
def test_own_cost_is_what_our_median_is_above_the_bare_one(ours: float, met: bool) -> None:
    made = figure([ours] * 9 + [50.0], [1.0] * 9 + [0.1], "")
    assert made.met is met
    assert made.note.startswith(f"our own {ours - 1:.3f} ms")
    assert made.p50 == ours
    assert made.p99 == 50.0
    assert made.ratio == round(ours, 2)
