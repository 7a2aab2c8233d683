from __future__ import annotations

import os

import pytest

from proof.race import Race

SEEDS = int(os.environ.get("TRADING_RACE_SEEDS", "300"))
"""How many races are run; ten thousand take a minute."""

PART = -(-SEEDS // 3)


@pytest.mark.timeout(60 + SEEDS)
@pytest.mark.parametrize("first", range(0, SEEDS, PART))
def test_position_is_flat_and_was_never_short_whatever_races(first: int) -> None:
    traded, partials, too_late, wrong = 0, 0, 0, {}
    seeds = range(first, min(first + PART, SEEDS))
    for seed in seeds:
        race = Race(seed)
        found = race.run()
        if found:
            wrong[seed] = found
        traded += any(order.trades for order in race.market.orders)
        partials += race.market.forty and race.market.partials > 0
        too_late += race.market.too_late > 0
    print(f"{len(seeds)} races: {traded} traded, {partials} with 40 % first, {too_late} cancels too late")
    assert wrong == {}
    if len(seeds) >= 100:
        assert traded > len(seeds) // 2, "a race in which nothing trades proves nothing"
        assert partials > len(seeds) // 10, "exits filled to 40 % first"
        assert too_late > len(seeds) // 100, "cancels refused as filled"
