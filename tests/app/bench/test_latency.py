from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from app.bench.latency import peak_mb, signal_fill


@pytest.mark.parametrize("protected", [False, True])
async def test_signals_fill_for_all_users_and_none_is_refused(tmp_path: Path, protected: bool) -> None:
    figure = await signal_fill(tmp_path, 4, 4, limit_ms=1e6, protected=protected)
    assert "4 paced signals, 0 orders refused" in figure.note
    assert figure.p50 is not None and figure.p50 > 0 and figure.floor > 0


def test_peak_memory_remembers_what_was_given_back() -> None:
    script = "held = bytearray(b'x') * 50_000_000; del held; print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert 50 < peak_mb(child.pid) < 90
        child.communicate(b"\n")
