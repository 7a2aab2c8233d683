from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from app.fingerprints import fingerprints
from strategy.config import DEFAULT_CONFIGS, StrategyConfig, discover


def test_defaults_that_are_written_out_are_the_same_strategy() -> None:
    bare = StrategyConfig("s", "rsi", ["TCS"])
    (said,) = fingerprints([bare]).values()
    written = StrategyConfig("s", "rsi", ["TCS"], {"period": int(said.parameters["period"])})
    assert fingerprints([written]) == fingerprints([bare])
    other = StrategyConfig("s", "rsi", ["TCS"], {"period": int(said.parameters["period"]) + 1}, "5m")
    assert fingerprints([other])["s"].code == said.code
    assert fingerprints([other]) != fingerprints([bare])


def test_other_source_is_other_code(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = fingerprints(DEFAULT_CONFIGS)["ma_crossover"]
    edited = tmp_path / "edited.py"
    edited.write_bytes(Path(inspect.getfile(discover()["moving_average"])).read_bytes() + b"# more\n")
    monkeypatch.setattr("app.fingerprints.inspect.getfile", lambda _: str(edited))
    after = fingerprints(DEFAULT_CONFIGS)["ma_crossover"]
    assert (after.code != before.code, after.parameters) == (True, before.parameters)
