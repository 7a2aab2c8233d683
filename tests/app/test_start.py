from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

START = [sys.executable, "-c", "from app.start import main; main()"]


def environment(home: Path, **more: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "TRADING_HOME": str(home), **more}


def test_terminal_that_knows_no_arrow_is_no_error(tmp_path: Path) -> None:
    done = subprocess.run(
        [*START, "doctor"],
        env=environment(tmp_path / "var", PYTHONIOENCODING="ascii"),
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert b"? To read from Angel One" in done.stdout
    assert b"Traceback" not in done.stderr


def test_interrupt_while_it_starts_is_quiet(tmp_path: Path) -> None:
    code = "import os, signal\nfrom app.start import main\nimport app.cli\n"
    code += "app.cli.main = lambda: os.kill(os.getpid(), signal.SIGINT)\nmain()\n"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(tmp_path / "var"),
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (-signal.SIGINT, b"")
