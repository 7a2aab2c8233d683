"""The one reader of the environment: `.env` and the process's variables become typed settings.

The process environment wins over `.env`. Everything that is wrong is told at once, with its name, its
masked value, the reason and the remedy. A value left at its placeholder counts as not set.
"""

from __future__ import annotations

import difflib
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from dotenv.parser import parse_stream
from pydantic import BeforeValidator, Field, PlainSerializer, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from shared import setting_values as read
from shared.errors import ConfigurationError
from shared.secret import MASK, Secret, masked_url

DEFAULT_ENV_FILE = Path(".env")
ENCODING = "utf-8-sig"  # with or without the mark that some editors put first
DEFAULT_STRATEGIES_FILE = Path("strategies.toml")

_masked = PlainSerializer(lambda _: MASK, return_type=str, when_used="json")
_Secret = Annotated[Secret, BeforeValidator(read.secret), _masked]
_SignalKey = Annotated[Secret, BeforeValidator(read.signal_key), _masked]
_Redis = Annotated[
    str, BeforeValidator(read.redis_address), PlainSerializer(masked_url, return_type=str, when_used="json")
]
_Rest = Annotated[str, BeforeValidator(read.rest_address)]
_Feed = Annotated[str, BeforeValidator(read.feed_address)]
_Profile = Annotated[Literal["realistic", "instant"], BeforeValidator(read.one_of("realistic", "instant"))]
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
_Level = Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(read.one_of(*_LEVELS))]


def _strategies_file() -> Path | None:
    return DEFAULT_STRATEGIES_FILE.absolute() if DEFAULT_STRATEGIES_FILE.is_file() else None


class _Process(EnvSettingsSource):
    """The process environment; a placeholder there must not hide a real value of the file."""

    def __call__(self) -> dict[str, Any]:
        return _without_placeholders(super().__call__())


class _File(DotEnvSettingsSource):
    """The `.env` file."""

    def __call__(self) -> dict[str, Any]:
        return _without_placeholders(super().__call__())


class Settings(BaseSettings):
    """What the environment says; made by `Settings.load`, frozen afterwards.

    Attributes:
        angel_one_api_key, angel_one_client_code, angel_one_password, angel_one_totp_secret: The one
            Angel One account of the environment; it belongs to `user_001`.
        angel_one_base_url, angel_one_feed_url, angel_one_order_feed_url: Other endpoints than Angel
            One's own, such as the sandbox's.
        paper_trading: True unless the environment says otherwise; live needs the caller's consent, too.
        paper_profile: How the paper venue fills: `realistic`, or `instant` (full fill at once).
        home: The state folder, absolute.
        database_url: None or a bare `sqlite://`, which mean the same.
        redis_url: A Redis or Valkey server; None is the embedded one.
        signal_key: Signs what travels on the bus; None: made in the state folder on first use.
        strategies_file: TOML that configures strategies; None: the default configuration.
        sim_seed: Seed of the simulated market.
        log_level: DEBUG, INFO, WARNING or ERROR.
    """

    # Fields are read by alias alone: by name, `home` would be filled from the variable HOME.
    model_config = SettingsConfigDict(frozen=True, extra="ignore", arbitrary_types_allowed=True)

    angel_one_api_key: _Secret | None = Field(None, alias="ANGEL_ONE_API_KEY")
    angel_one_client_code: _Secret | None = Field(None, alias="ANGEL_ONE_CLIENT_CODE")
    angel_one_password: _Secret | None = Field(None, alias="ANGEL_ONE_PASSWORD")
    angel_one_totp_secret: _Secret | None = Field(None, alias="ANGEL_ONE_TOTP_SECRET")
    angel_one_base_url: _Rest | None = Field(None, alias="ANGEL_ONE_BASE_URL")
    angel_one_feed_url: _Feed | None = Field(None, alias="ANGEL_ONE_FEED_URL")
    angel_one_order_feed_url: _Feed | None = Field(None, alias="ANGEL_ONE_ORDER_FEED_URL")
    paper_trading: Annotated[bool, BeforeValidator(read.yes_or_no)] = Field(True, alias="PAPER_TRADING")
    paper_profile: _Profile = Field("realistic", alias="PAPER_PROFILE")
    home: Annotated[Path, BeforeValidator(read.folder)] = Field(
        default_factory=lambda: Path("var").absolute(), alias="TRADING_HOME"
    )
    database_url: Annotated[str, BeforeValidator(read.sqlite)] | None = Field(None, alias="DATABASE_URL")
    redis_url: _Redis | None = Field(None, alias="REDIS_URL")
    signal_key: _SignalKey | None = Field(None, alias="SIGNAL_KEY")
    strategies_file: Annotated[Path, BeforeValidator(read.strategies_file)] | None = Field(
        default_factory=_strategies_file, alias="STRATEGIES_FILE"
    )
    sim_seed: Annotated[int, BeforeValidator(read.seed)] = Field(7, alias="SIM_SEED")
    log_level: _Level = Field("INFO", alias="LOG_LEVEL")

    @classmethod
    def load(cls, env_file: str | Path | None = DEFAULT_ENV_FILE, **overrides: object) -> Settings:
        """Read the process environment, then *env_file*, then the defaults.

        Args:
            env_file: None reads no file; a missing `.env` is fine, any other missing file is not.
            overrides: Field names and values that win over everything, such as command-line options;
                None is "not given".

        Raises:
            ConfigurationError: Something is wrong; the message lists all of it.
        """
        path = None if env_file is None else Path(env_file)
        findings = [] if path is None else _file_findings(path)
        given = {name: value for name, value in overrides.items() if value is not None}
        by_alias = {cls.model_fields[name].alias or name: value for name, value in given.items()}
        arguments: dict[str, Any] = {"_env_file": path, "_env_file_encoding": ENCODING, **by_alias}
        try:
            settings = cls(**arguments)
        except ValidationError as error:
            findings += [_finding(each, path, by_alias) for each in error.errors()]
        else:
            if not findings:
                return settings
        raise _failure(findings)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return where values come from, the strongest first (called by pydantic-settings)."""
        if not isinstance(dotenv_settings, DotEnvSettingsSource):
            raise TypeError("pydantic-settings changed what it passes for .env")
        file = _File(settings_cls, dotenv_settings.env_file, dotenv_settings.env_file_encoding)
        return init_settings, _Process(settings_cls), file

    @classmethod
    def names(cls) -> list[str]:
        """Return the names of all settings as the environment spells them."""
        return [field.alias or name for name, field in cls.model_fields.items()]

    def shown(self) -> dict[str, object]:
        """Return name → value as JSON takes it, secrets masked; fit for logs and screens."""
        return self.model_dump(mode="json", by_alias=True)

    def __repr__(self) -> str:
        return f"Settings({', '.join(f'{name}={value!r}' for name, value in self.shown().items())})"

    __str__ = __repr__


# Named one by one: a value that failed to be read has no type yet that could say so.
_SECRET_NAMES = frozenset(
    {
        "ANGEL_ONE_API_KEY",
        "ANGEL_ONE_CLIENT_CODE",
        "ANGEL_ONE_PASSWORD",
        "ANGEL_ONE_TOTP_SECRET",
        "SIGNAL_KEY",
    }
)


def _without_placeholders(values: dict[str, Any]) -> dict[str, Any]:
    return {name: v for name, v in values.items() if not (isinstance(v, str) and read.is_placeholder(v))}


def _file_findings(path: Path) -> list[str]:
    """Return what is wrong with the lines of *path*, never the lines: they may hold a password.

    Raises:
        ConfigurationError: It cannot be read at all.
    """
    try:
        text = path.read_text(encoding=ENCODING)
    except FileNotFoundError:
        if path == DEFAULT_ENV_FILE:
            return []
        raise _failure([f"{path}: there is no such file. Copy env.template there."]) from None
    except UnicodeDecodeError:
        raise _failure([f"{path}: is not UTF-8 text. Copy env.template anew."]) from None
    except OSError as error:
        raise _failure([f"{path}: cannot be read ({error.strerror}). Make it a readable file."]) from None
    findings = []
    for each in parse_stream(io.StringIO(text)):
        if each.error or (each.key is not None and each.value is None):
            findings.append(f"{path}, line {each.original.line}: is not NAME=value. Mend it.")
        elif each.key is not None and each.key.upper() not in Settings.names():
            near = difflib.get_close_matches(each.key.upper(), Settings.names(), n=1, cutoff=0.6)
            hint = f"Did you mean {near[0]}?" if near else "env.template lists the known ones."
            findings.append(f"{each.key} ({path}, line {each.original.line}): is not a setting. {hint}")
    return findings


def _finding(error: ErrorDetails, path: Path | None, overrides: Mapping[str, object]) -> str:
    """Return one line: name, masked value, where it came from, reason and remedy."""
    name = str(error["loc"][0]).upper()
    where = "the call" if name in overrides else "the environment" if name in _process_names() else path
    cause = error.get("ctx", {}).get("error")
    reason = str(cause) if isinstance(cause, ValueError) else error["msg"]
    return f"{name}={_masked_value(name, error['input'])} ({where}): {reason}"


def _process_names() -> set[str]:
    return {name.upper() for name, value in os.environ.items() if not read.is_placeholder(value)}


def _masked_value(name: str, value: object) -> str:
    if name in _SECRET_NAMES:
        return MASK
    return masked_url(str(value))


def _failure(findings: list[str]) -> ConfigurationError:
    count = "One setting is" if len(findings) == 1 else f"{len(findings)} settings are"
    return ConfigurationError("\n  ".join([f"{count} wrong:", *findings]))
