"""A secret shows itself nowhere."""

from __future__ import annotations

import copy
import json
import pickle

import msgspec
import pytest

from shared.secret import Secret, masked_code, masked_url


def test_secret_shown_in_any_way_is_masked() -> None:
    secret = Secret("canary")
    assert f"{secret} {secret!r} {[secret]} {secret!s:>5}".count("canary") == 0
    assert secret.reveal() == "canary"


def test_secret_written_anywhere_is_refused() -> None:
    secret = Secret("canary")
    for write in (pickle.dumps, copy.deepcopy, json.dumps, msgspec.json.encode, msgspec.msgpack.encode):
        with pytest.raises(TypeError):
            write(secret)


def test_secret_equals_one_with_the_same_text_only() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://localhost:6379/0", "redis://localhost:6379/0"),
        ("redis://user:word@localhost:6379/0", "redis://***@localhost:6379/0"),
        ("redis://:w@rd@localhost", "redis://***@localhost"),
        ("unix:///run/v.sock?password=word", "unix:///run/v.sock?***"),
        ("redis://user:wo/r?d@[::1", "redis://***@[::1"),
        ("user:word@localhost", "***@localhost"),
    ],
)
def test_masked_url_hides_user_password_and_query(url: str, shown: str) -> None:
    assert masked_url(url) == shown


def test_client_code_shows_its_ends_only() -> None:
    assert masked_code("A123456") == "A1***56"
    assert masked_code("A123") == "****"
    assert masked_code("") == ""
