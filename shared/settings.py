"""The one reader of the environment: `.env` and the process's variables become typed settings.

The process environment wins over `.env`. Everything that is wrong is told at once, with its name, its
masked value, the reason and the remedy. A value left at its placeholder counts as not set.
"""

from __future__ import annotations

import difflib
import io
import logging
import os
from collections.abc import Mapping
from decimal import Decimal
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

logging.getLogger("dotenv.main").setLevel(logging.ERROR)  # we name each line that is none ourselves

DEFAULT_ENV_FILE = Path(".env")
ENCODING = "utf-8-sig"  # with or without the mark that some editors put first
DEFAULT_STRATEGIES_FILE = Path("strategies.toml")

_masked = PlainSerializer(lambda _: MASK, return_type=str, when_used="json")
_Secret = Annotated[Secret, BeforeValidator(read.secret), _masked]
_SignalKey = Annotated[Secret, BeforeValidator(read.signal_key), _masked]
_Redis = Annotated[
    str, BeforeValidator(read.redis_address), PlainSerializer(masked_url, return_type=str, when_used="json")
]
_Database = Annotated[
    str,
    BeforeValidator(read.database_address),
    PlainSerializer(masked_url, return_type=str, when_used="json"),
]
_Rest = Annotated[str, BeforeValidator(read.rest_address)]
_Feed = Annotated[str, BeforeValidator(read.feed_address)]
_Address = Annotated[str, BeforeValidator(read.ipv4_address)]
_Proxy = Annotated[
    str, BeforeValidator(read.proxy_address), PlainSerializer(masked_url, return_type=str, when_used="json")
]
_SecretsKey = Annotated[Secret, BeforeValidator(read.secrets_key), _masked]
_Profile = Annotated[Literal["realistic", "instant"], BeforeValidator(read.one_of("realistic", "instant"))]
_Quantity = Annotated[Literal["total", "remaining"], BeforeValidator(read.one_of("total", "remaining"))]
_StopExit = Annotated[Literal["modify", "cancel"], BeforeValidator(read.one_of("modify", "cancel"))]
_MODES = ("self_family", "broker_hosted")
_Mode = Annotated[Literal["self_family", "broker_hosted"], BeforeValidator(read.one_of(*_MODES))]
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
        angel_one_modify_quantity: What the quantity of a modify means at Angel One: `total`, or `remaining`.
        angel_one_stop_exit: How an exit meets a resting stop: `modify` turns the stop into the exit, `cancel`
            cancels it first and exits once that is confirmed.
        angel_one_source_address, angel_one_proxy: Where the account's traffic leaves this machine.
        angel_one_registered_address: The address registered with Angel One, to compare with.
        address_check_url: Answers with the address that it sees, as text.
        secrets_key: Fernet keys that encrypt credentials and tokens at rest; None: a file outside the state
            folder, made on first use.
        paper_trading: True unless the environment says otherwise; live needs the caller's consent, too.
        paper_profile: How the paper venue fills: `realistic`, or `instant` (full fill at once).
        deployment_mode: Whose accounts are armed live: `self_family`, one family's, or `broker_hosted`, those
            of a provider's clients.
        home: The state folder, absolute.
        database_url: A PostgreSQL database for the order store; None or a bare `sqlite://`: a file in `home`.
        redis_url: A Redis or Valkey server; None is the embedded one.
        signal_key: Signs what travels on the bus; None: made in the state folder on first use.
        strategies_file: TOML that configures strategies; None: the default configuration.
        square_off: IST `HH:MM` at which INTRADAY positions are closed in place of the table's time, and in
            rehearsals, too; empty: the table's.
        house_max_gross: Gross exposure of all users together, as a multiple of their capital.
        house_day_loss_percent: Day's loss of all users together, percent of their capital, that closes all.
        feed_silence_s: Seconds without any price in the session, or without books that can be written, after
            which entries at work are taken off.
        sim_seed: Seed of the simulated market.
        proof: This installation is for a proof: its stores are marked so and take no other use.
        failpoint: Named points at which a process of a proof ends itself, with probabilities.
        mutant: A protection that a proof switches off, to see that it is missed.
        sandbox_accounts: What `trading sandbox --json` printed: each user gets one of its accounts.
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
    angel_one_modify_quantity: _Quantity = Field("total", alias="ANGEL_ONE_MODIFY_QUANTITY")
    angel_one_stop_exit: _StopExit = Field("modify", alias="ANGEL_ONE_STOP_EXIT")
    angel_one_source_address: _Address | None = Field(None, alias="ANGEL_ONE_SOURCE_ADDRESS")
    angel_one_proxy: _Proxy | None = Field(None, alias="ANGEL_ONE_PROXY")
    angel_one_registered_address: _Address | None = Field(None, alias="ANGEL_ONE_REGISTERED_ADDRESS")
    address_check_url: _Rest = Field("https://api.ipify.org", alias="ADDRESS_CHECK_URL")
    secrets_key: _SecretsKey | None = Field(None, alias="SECRETS_KEY")
    paper_trading: Annotated[bool, BeforeValidator(read.yes_or_no)] = Field(True, alias="PAPER_TRADING")
    paper_profile: _Profile = Field("realistic", alias="PAPER_PROFILE")
    deployment_mode: _Mode = Field("self_family", alias="DEPLOYMENT_MODE")
    home: Annotated[Path, BeforeValidator(read.folder)] = Field(
        default_factory=lambda: Path("var").absolute(), alias="TRADING_HOME"
    )
    database_url: _Database | None = Field(None, alias="DATABASE_URL")
    redis_url: _Redis | None = Field(None, alias="REDIS_URL")
    signal_key: _SignalKey | None = Field(None, alias="SIGNAL_KEY")
    strategies_file: Annotated[Path, BeforeValidator(read.strategies_file)] | None = Field(
        default_factory=_strategies_file, alias="STRATEGIES_FILE"
    )
    square_off: Annotated[str, BeforeValidator(read.time_of_day)] = Field("", alias="SQUARE_OFF")
    house_max_gross: Annotated[Decimal, BeforeValidator(read.multiple)] = Field(
        Decimal(1), alias="HOUSE_MAX_GROSS"
    )
    house_day_loss_percent: Annotated[Decimal, BeforeValidator(read.percent)] = Field(
        Decimal(4), alias="HOUSE_DAY_LOSS_PERCENT"
    )
    feed_silence_s: Annotated[int, BeforeValidator(read.silence)] = Field(30, alias="FEED_SILENCE")
    sim_seed: Annotated[int, BeforeValidator(read.seed)] = Field(7, alias="SIM_SEED")
    log_level: _Level = Field("INFO", alias="LOG_LEVEL")
    sandbox_accounts: Annotated[Path, BeforeValidator(read.accounts_file)] | None = Field(
        None, alias="SANDBOX_ACCOUNTS"
    )
    proof: Annotated[bool, BeforeValidator(read.yes_or_no)] = Field(False, alias="TRADING_PROOF")
    failpoint: str = Field("", alias="FAILPOINT")
    mutant: str = Field("", alias="MUTANT")

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

    @property
    def postgres_url(self) -> str | None:
        """The PostgreSQL database that keeps the order store; None where that is SQLite."""
        url = self.database_url
        return None if url is None or url.startswith("sqlite") else url

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
        "SECRETS_KEY",
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
