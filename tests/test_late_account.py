"""A position whose account has no session at the start: told, kept, and sold once the account is there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from order.control import control_path
from shared.models import OrderState
from tests.rehearsal import PATIENCE_S, Rehearsal
from tests.test_account import QUIET, bought, execute, ours, theirs

NAMES = {"api_key": "API_KEY", "client_code": "CLIENT_CODE", "pin": "PASSWORD", "totp_secret": "TOTP_SECRET"}


@pytest.fixture
def rehearsal(tmp_path: Path) -> Iterator[Rehearsal]:
    made = Rehearsal(tmp_path, QUIET)
    made.environment["SECRETS_KEY"] = Fernet.generate_key().decode()
    yield made
    made.close()


def keep(rehearsal: Rehearsal, user_id: str, account: dict[str, str]) -> None:
    """Keep the credentials of a user's account; where the system runs, it is connected."""
    file = rehearsal.folder / f"{user_id}.env"
    file.write_text("".join(f"ANGEL_ONE_{name}={account[key]}\n" for key, name in NAMES.items()))
    file.chmod(0o600)
    code, said = rehearsal.trading("users", "credentials", "set", user_id, "--from-file", str(file))
    assert code == 0, said
    file.unlink()


@pytest.mark.timeout(5 * PATIENCE_S)
def test_exit_of_a_user_whose_account_is_lost_goes_as_soon_as_it_is_back(rehearsal: Rehearsal) -> None:
    rehearsal.sandbox("--speed", "1", "--seed", "7")
    run = rehearsal.start("run")
    rehearsal.arm()
    bought(rehearsal, 7, "TCS")
    assert rehearsal.trading("users", "add", "asha")[0] == 0
    keep(rehearsal, "asha", rehearsal.accounts[1])
    run.terminate()
    assert run.wait(PATIENCE_S) == 0
    for name in NAMES.values():  # from here on only asha has an account
        del rehearsal.environment[f"ANGEL_ONE_{name}"]
    rehearsal.start("run")
    rehearsal.until(control_path(rehearsal.home).exists, "started")
    told = "user_001: holds TCS 7 and nobody can sell it until then"
    rehearsal.until(lambda: told in (rehearsal.folder / "run.out").read_text(), "told at the start")
    code, said = rehearsal.trading("doctor")
    assert (code, "holds TCS 7 and nobody can sell it" in said) == (1, True), said
    assert execute(rehearsal, "TCS", "SELL", 7).status is OrderState.NEW
    assert any("EXIT_WAITS: 7 TCS" in note for row in rehearsal.rows("accounts") for note in row["notes"])
    assert theirs(rehearsal) == {"TCS": 7}
    keep(rehearsal, "user_001", rehearsal.accounts[0])
    rehearsal.until(lambda: not theirs(rehearsal) and not ours(rehearsal), "sold")
    assert rehearsal.trading("verify")[0] == 0
