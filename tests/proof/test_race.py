from __future__ import annotations

import pytest

from proof.race import Race

SEEDS = 100


@pytest.mark.parametrize("first", [0, SEEDS, 2 * SEEDS])
def test_position_is_flat_and_was_never_short_whatever_races(first: int) -> None:
    traded, wrong = 0, {}
    for seed in range(first, first + SEEDS):
        race = Race(seed)
        found = race.run()
        if found:
            wrong[seed] = found
        traded += any(order.trades for order in race.market.orders)
    assert wrong == {}
    assert traded > SEEDS // 2, "a race in which nothing trades proves nothing"
