from __future__ import annotations

import csv
import io
import json
import zipfile
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from shared.version import software
from tests.app.test_cli import invoke, message

CANARIES = {
    "ANGEL_ONE_API_KEY": "canary-api-key",
    "ANGEL_ONE_CLIENT_CODE": "CANARY1",
    "ANGEL_ONE_PASSWORD": "4711081547",
    "ANGEL_ONE_TOTP_SECRET": "CANARYCANARYCANARYCANARYCANARY22",
    "SIGNAL_KEY": "canary-signal-key-0815",
}


def test_extract_of_a_replay_is_written_and_proven(traded: Path, tmp_path: Path) -> None:
    out = tmp_path / "audit.zip"
    made = json.loads(invoke("audit", "export", "--out", str(out), "--json", home=traded).stdout)
    summary = json.loads((traded / "summary.json").read_text())
    assert made["manifest"]["files"]["fills.csv"]["rows"] == summary["fills"] > 0
    digest = made["manifest_sha256"]
    checked = invoke("audit", "check", str(out), "--manifest", digest, "--json", home=tmp_path)
    assert (checked.exit_code, json.loads(checked.stdout)["findings"]) == (0, [])
    with zipfile.ZipFile(out) as pack:
        starts = list(csv.DictReader(io.StringIO(pack.read("starts.csv").decode())))
    assert software() in starts[0]["facts"]
    plain = invoke("audit", "check", str(out), home=tmp_path)
    assert plain.stdout.splitlines()[-1] == "The file is as it was written."


def test_changed_file_ends_with_exit_1(traded: Path, tmp_path: Path) -> None:
    out = tmp_path / "audit.zip"
    assert invoke("audit", "export", "--out", str(out), home=traded).exit_code == 0
    other = "0" * 64
    checked = invoke("audit", "check", str(out), "--manifest", other, home=tmp_path)
    assert checked.exit_code == 1
    assert checked.stdout.splitlines()[-1] == "1 findings."
    out.write_bytes(out.read_bytes()[:-100])
    checked = invoke("audit", "check", str(out), "--json", home=tmp_path)
    assert (checked.exit_code, json.loads(checked.stdout)["unexplained"]) == (1, 1)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--user", "nobody"), "There is no user 'nobody'"),
        (("--from", "yesterday"), "'yesterday' is no day"),
    ],
)
def test_what_is_not_there_is_told(
    traded: Path, tmp_path: Path, options: tuple[str, ...], said: str
) -> None:
    result = invoke("audit", "export", "--out", str(tmp_path / "x.zip"), *options, home=traded)
    assert result.exit_code == 2
    assert said in message(result)
    assert invoke("audit", "check", str(tmp_path / "x.zip"), home=traded).exit_code == 2


def test_no_secret_is_in_an_extract(traded: Path, tmp_path: Path) -> None:
    out = tmp_path / "audit.zip"
    keys = {**CANARIES, "SECRETS_KEY": Fernet.generate_key().decode()}
    result = invoke("audit", "export", "--out", str(out), home=traded, **keys)
    assert result.exit_code == 0
    signing = [path.read_bytes().strip() for path in traded.glob("*key*") if path.is_file()]
    with zipfile.ZipFile(out) as pack:
        whole = b"".join(pack.read(name) for name in pack.namelist())
    for secret in [*map(str.encode, keys.values()), *signing]:
        assert secret not in whole
    assert b"CANARY" not in whole.upper()
