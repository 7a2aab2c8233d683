"""What people see: the command line on a pseudo-terminal of a given size."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path

import pytest

from app.screen import FULL_LINES, Thrift

COMMAND = [sys.executable, "-c", "from app.cli import main; main()"]
OnTerminal = Callable[..., str]


@pytest.fixture
def on_terminal(tmp_path: Path) -> OnTerminal:
    """Run the command line on a terminal; return all that was written to it."""

    def run(*arguments: str, home: Path, columns: int) -> str:
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        environment = {"PATH": os.environ["PATH"], "TERM": "xterm-256color", "TRADING_HOME": str(home)}
        process = subprocess.Popen(
            [*COMMAND, *arguments], env=environment, cwd=tmp_path, stdin=slave, stdout=slave, stderr=slave
        )
        os.close(slave)
        written = b""
        # The terminal ends with an error (EIO) once its last writer has gone.
        try:
            while chunk := os.read(master, 65_536):
                written += chunk
        except OSError:
            pass
        os.close(master)
        assert process.wait(timeout=10) == 0, written.decode()
        return written.decode()

    return run


def plain(written: str) -> list[str]:
    """Return the lines without colours and cursor movements."""
    return [line.rstrip() for line in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written).split("\r\n")]


@pytest.mark.parametrize("columns", [80, 160])
def test_listing_on_a_terminal_has_one_coloured_line_for_each_row(
    columns: int, traded: Path, on_terminal: OnTerminal
) -> None:
    written = on_terminal("orders", "-n", "5", home=traded, columns=columns)
    lines = plain(written)
    assert "\x1b[32mBUY" in written or "\x1b[31mSELL" in written
    assert sum("RELIANCE" in line for line in lines) == 5
    assert max(map(len, lines)) <= columns
    assert ("No room for" in written) == (columns == 80)


def test_replay_on_a_terminal_shows_progress_and_then_the_summary(
    tmp_path: Path, wave: Path, on_terminal: OnTerminal
) -> None:
    written = on_terminal("run", "--replay", str(wave), "--until-end", home=tmp_path / "var", columns=80)
    text = "\n".join(plain(written))
    assert written.count("\x1b[1;32mPAPER") == 1
    assert re.search(r"━*─* +\d+%  \d+ signals", text)
    assert "Ctrl-C stops" in text
    assert "data rows 372; rejected or repaired: bad range 1, duplicate 1" in text
    assert max(map(len, plain(written)[-10:])) <= 80
    assert "pending 0, lost 0, duplicate 0, unexplained 0" in plain(written)[-2]


def test_thrift_lets_the_first_lines_through_then_one_a_second() -> None:
    now = [0.0]
    thrift = Thrift(lambda: now[0])
    assert [thrift.take() for _ in range(FULL_LINES)] == [0] * FULL_LINES
    assert [thrift.take() for _ in range(5)] == [None] * 5
    now[0] = 1.0
    assert thrift.take() == 5
    assert thrift.take() is None
    assert thrift.rest() == 1
    assert thrift.rest() == 0


def test_thrift_after_a_quiet_time_is_generous_again() -> None:
    now = [0.0]
    thrift = Thrift(lambda: now[0])
    while thrift.take() is not None:
        pass
    thrift.rest()
    now[0] = 3600.0
    assert [thrift.take() for _ in range(FULL_LINES + 1)] == [0] * FULL_LINES + [None]
