from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from shared.errors import ConfigurationError
from shared.failpoint import LOG_NAME, POINTS, arm

PROJECT = Path(__file__).resolve().parents[2]
ROOMS = ("order", "strategy", "shared", "broker")


def test_every_point_stands_in_the_code_and_no_other() -> None:
    found: list[str] = []
    for room in ROOMS:
        for path in (PROJECT / room).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            found += re.findall(r'\bhit(?:\(|, )"([a-z.]+)"', text)
    assert sorted(found) == sorted(POINTS)


@pytest.mark.parametrize("spec", ["nowhere:1", "lane.claimed:2", "lane.claimed:often", "lane.claimed:-1"])
def test_senseless_point_is_refused_by_name(spec: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(spec)):
        arm(spec, tmp_path)


SCRIPT = """
import sys
from pathlib import Path
from shared.failpoint import arm, hit
arm(sys.argv[1], Path(sys.argv[2]))
hit("lane.claimed")
hit("lane.booked")
print("alive")
"""


@pytest.mark.parametrize(
    ("spec", "dies"), [("lane.booked:1", True), ("lane.booked", True), ("lane.booked:0", False), ("", False)]
)
def test_armed_point_ends_the_process_and_says_where(spec: str, dies: bool, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, spec, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert (done.returncode == -signal.SIGKILL, done.stdout.strip() == "alive") == (dies, not dies)
    log = tmp_path / LOG_NAME
    assert (log.read_text().split()[1:] == ["lane.booked"]) if dies else not log.exists()
