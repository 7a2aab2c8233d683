from __future__ import annotations

import subprocess
import sys


def test_collector_is_back_at_its_pace_once_all_is_loaded() -> None:
    code = "import gc\nusual = gc.get_threshold()\nfrom app.loading import IMPORTING, loaded\n"
    code += "from app.start import main\n"
    code += "import app.cli\napp.cli.main = lambda: print(gc.get_threshold()[0] == IMPORTING)\nmain()\n"
    code += "loaded()\nprint(gc.get_threshold() == usual, gc.get_freeze_count() > 10_000)\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["True", "True", "True"], done.stderr
