"""Who may import whom, and what a mere import may cost."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]
ROOMS = ("app", "broker", "order", "sandbox", "shared", "strategy")


def run(*command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    main = "from importlinter.cli import lint_imports_command as main; main()"
    return run(sys.executable, "-c", main, "--no-cache", folder=folder)


def test_rooms_import_downwards_only() -> None:
    result = lint(PROJECT)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("strategy/wrong.py", "import order.manager"),
        ("order/wrong.py", "import strategy.engine"),
        ("shared/wrong.py", "import broker.base"),
        ("broker/wrong.py", "import order.books"),
        ("strategy/wrong.py", "import broker.base"),
        ("order/wrong.py", "import broker.paper"),
        ("app/wrong.py", "import broker.angel_one"),
        ("broker/wrong.py", "import sandbox.exchange"),
        ("sandbox/wrong.py", "import broker.base"),
        ("sandbox/wrong.py", "import order.books"),
        ("order/wrong.py", "import numpy"),
    ],
)
def test_import_against_the_rule_is_caught(module: str, line: str, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_bytes((PROJECT / "pyproject.toml").read_bytes())
    names = ["strategy/engine", "order/manager", "order/books"]
    names += ["broker/base", "broker/paper", "broker/shadow"]
    names += ["broker/angel_one/__init__", "sandbox/exchange"]
    names += ["shared/models", "shared/bus/__init__", "shared/store/__init__"]
    for name in [*(f"{room}/__init__" for room in ROOMS), *names]:
        path = tmp_path / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    (tmp_path / module).write_text(f"{line}\n")
    result = lint(tmp_path)
    assert result.returncode == 1, result.stdout + result.stderr
    assert module.replace("/", ".").removesuffix(".py") in result.stdout


@pytest.mark.parametrize("module", ["strategy.engine", "order.manager", "order.subscriber"])
def test_front_door_imported_loads_nothing_heavy(module: str, tmp_path: Path) -> None:
    heavy = {"sqlalchemy", "alembic", "redis", "numpy", "pandas", "typer", "fastapi"}
    code = f"import sys, {module}; print(*sorted({heavy!r} & set(sys.modules)))"
    result = run(sys.executable, "-c", code, folder=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == []
