from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from shared.errors import LockHeld
from shared.store.lock import FileLock


def test_second_holder_is_told_at_once_who_has_it(tmp_path: Path) -> None:
    first, second = FileLock(tmp_path / "x.lock"), FileLock(tmp_path / "x.lock")
    first.acquire()
    with pytest.raises(LockHeld, match=f"pid {os.getpid()}.*TRADING_HOME"):
        second.acquire()
    assert (first.held, second.held) == (True, False)


def test_released_lock_can_be_taken_and_release_is_harmless(tmp_path: Path) -> None:
    first, second = FileLock(tmp_path / "x.lock"), FileLock(tmp_path / "x.lock")
    first.acquire()
    assert first.try_acquire()
    first.release()
    first.release()
    assert second.try_acquire()


def test_lock_of_a_dead_process_is_free(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    code = "import os, pathlib, sys; from shared.store.lock import FileLock;"
    code += " FileLock(pathlib.Path(sys.argv[1])).acquire(); os.kill(os.getpid(), 9)"
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code, str(path)], cwd=root, check=False)
    assert done.returncode == -9
    lock = FileLock(path)
    assert lock.holder() is not None
    assert lock.try_acquire()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": "x", "command": 1}'])
def test_unreadable_holder_is_nobody(tmp_path: Path, content: str) -> None:
    path = tmp_path / "x.lock"
    path.write_text(content)
    assert FileLock(path).holder() is None
