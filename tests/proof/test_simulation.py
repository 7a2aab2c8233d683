from __future__ import annotations

import os
import subprocess
import sys

import pytest

from proof.simulation import simulate

SEEDS = int(os.environ.get("TRADING_TEST_SEEDS", "8"))


def test_every_seed_ends_as_promised() -> None:
    outcomes = [simulate(seed) for seed in range(SEEDS)]
    assert [f"seed {each.seed}: {each.wrong}" for each in outcomes if each.wrong] == []
    assert sum(each.crashes for each in outcomes) > SEEDS
    assert sum(each.orders for each in outcomes) > SEEDS


@pytest.mark.parametrize("seed", [7_004_266])
def test_seed_that_once_went_wrong_ends_as_promised(seed: int) -> None:
    assert simulate(seed).wrong == []


def test_seed_repeats_itself() -> None:
    assert simulate(3) == simulate(3)


# A process of its own: a mutant breaks modules for good.
MUTANT = """
import sys
import structlog
from proof.mutants import make
from proof.simulation import simulate
structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
make(sys.argv[1])
for seed in range(int(sys.argv[2])):
    try:
        wrong = simulate(seed).wrong
    except Exception as error:
        wrong = [repr(error)]
    if wrong:
        print("CAUGHT", wrong[0])
        break
"""


@pytest.mark.parametrize(
    "name", ["unclaimed", "cursor_first", "accepted_is_filled", "lost_is_rejected"]
)
def test_mutant_is_caught_by_some_seed(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", MUTANT, name, "80"], capture_output=True, text=True, timeout=55, check=True
    )
    assert "CAUGHT" in done.stdout, f"{name}: nothing noticed"
