from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from app.bench.command import run_bench
from app.bench.figures import Figure
from shared.errors import ConfigurationError


def test_unknown_measurement_is_told_with_all_that_are_known(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"No measurement speed\.") as caught:
        run_bench(["frames", "speed"], as_json=True, quick=True, data=tmp_path)
    assert "frames_full" in caught.value.remedy
    assert "paced_minute" in caught.value.remedy


def test_measurement_as_json_is_one_figure_a_line_and_nothing_else(tmp_path: Path) -> None:
    # A process of its own: measurements set up logging for the whole of it.
    command = [sys.executable, "-c", "from app.cli import main; main()", "bench", "order_call", "--quick"]
    said = subprocess.run([*command, "--json"], cwd=tmp_path, capture_output=True, check=True)
    figures = [msgspec.json.decode(line, type=Figure) for line in said.stdout.splitlines()]
    assert [figure.name for figure in figures] == ["order_call"]
    assert figures[0].p50 is not None and figures[0].p50 > 0 and figures[0].floor > 0
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"
