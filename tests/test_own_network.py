"""The live path from end to end, real processes at Angel One's own names, where no broker is in reach."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import live_story
from tests.own_network import possible, run_inside

PATIENCE_S = 480.0


@pytest.mark.timeout(PATIENCE_S + 20)
def test_live_path_at_the_brokers_own_names(tmp_path: Path) -> None:
    if not possible():
        pytest.skip("`unshare -rmn` is not permitted here: there is no network of our own to be had")
    done = run_inside(Path(live_story.__file__), tmp_path, PATIENCE_S)
    assert done.returncode == 0, done.stdout + done.stderr
