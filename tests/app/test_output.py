from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from order.schema import FILE_NAME
from tests.app.conftest import COMMAND, environment


def unread(*arguments: str, home: Path) -> tuple[int, bytes]:
    """Run a command of which nobody reads a word; return how it ended and what it complained of."""
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        env=environment(home),
        cwd=home.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    said = process.stderr.read()
    process.stderr.close()
    return process.wait(30), said


@pytest.mark.parametrize("command", ["orders", "signals --json", "journal export", "positions", "--help"])
def test_command_that_nobody_reads_ends_as_if_it_were_read(traded: Path, command: str) -> None:
    assert unread(*command.split(), home=traded) == (0, b"")


@pytest.mark.parametrize("command", ["orders", "positions --json", "fills -n 3"])
def test_switch_that_is_told_to_nobody_changes_no_exit_code(
    traded: Path, tmp_path: Path, command: str
) -> None:
    home = Path(shutil.copytree(traded, tmp_path / "used", ignore=shutil.ignore_patterns("*.sock")))
    assert subprocess.run(
        [*COMMAND, "halt"], env=environment(home), cwd=tmp_path, capture_output=True, check=False
    ).returncode == 0  # fmt: skip
    reads, writes = os.pipe()
    os.close(reads)
    process = subprocess.run(
        [*COMMAND, *command.split()], env=environment(home), cwd=tmp_path, stdout=writes, stderr=writes,
        check=False,
    )  # fmt: skip
    os.close(writes)
    assert process.returncode == 0


def test_verdict_outlives_its_reader(traded: Path, tmp_path: Path) -> None:
    home = Path(shutil.copytree(traded, tmp_path / "used", ignore=shutil.ignore_patterns("*.sock")))
    assert unread("verify", home=home) == (0, b"")
    with closing(sqlite3.connect(home / FILE_NAME)) as sql:
        sql.execute("UPDATE orders SET quantity = quantity + 1")
        sql.commit()
    assert unread("verify", home=home) == (1, b"")


def test_run_goes_on_when_its_reader_has_gone(wave: Path, tmp_path: Path) -> None:
    home = tmp_path / "var"
    assert unread("run", "--replay", str(wave), "--until-end", home=home) == (0, b"")
    assert unread("verify", home=home) == (0, b"")
