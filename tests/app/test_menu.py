from __future__ import annotations

from pathlib import Path

from typer.main import get_command

from app.cli import app
from app.menu import ORDER
from tests.app.test_cli import invoke


def test_every_command_has_its_place() -> None:
    command = get_command(app)
    assert set(command.commands) == set(ORDER)  # type: ignore[attr-defined]


def test_help_lists_commands_in_their_order(tmp_path: Path) -> None:
    lines = invoke("--help", home=tmp_path).stdout.partition("Commands:")[2].splitlines()
    assert [line.split()[0] for line in lines if line.startswith("  ")] == list(ORDER)
