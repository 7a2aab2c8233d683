"""`trading users credentials`: what a user's account at the broker logs in with."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from app.command import Json, guarded
from shared.errors import ConfigurationError

credentials_app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="What users' accounts at the broker log in with: encrypted, a file each in the state folder.",
)

UserArgument = Annotated[str, typer.Argument(metavar="USER", help="As in `trading users`.")]


@credentials_app.command("set")
@guarded
def set_(
    user: UserArgument,
    from_file: Annotated[
        Path | None,
        typer.Option(
            "--from-file",
            metavar="FILE",
            help="Lines as in `.env`, mode 600; - reads standard input. Default: asks, without echo.",
        ),
    ] = None,
    ask_totp: Annotated[
        bool,
        typer.Option("--ask-totp", help="Keep no TOTP secret: `trading run` or `trading arm` asks each day."),
    ] = False,
) -> None:
    """Keep a user's credentials in place of those that there are; a running system connects them."""
    from app import user_credentials

    if from_file is None and not sys.stdin.isatty():
        raise ConfigurationError(
            "Nobody is there to type.",
            remedy="--from-file FILE reads lines as in `.env`; --from-file - standard input.",
        )
    user_credentials.keep(user, from_file, ask_totp=ask_totp)


@credentials_app.command()
@guarded
def show(
    user: Annotated[str | None, typer.Argument(metavar="USER", help="Default: everybody.")] = None,
    as_json: Json = False,
) -> None:
    """Show which fields are set, and the client code with its middle masked; no secret."""
    from app import user_credentials

    user_credentials.show(user, as_json=as_json)


@credentials_app.command()
@guarded
def check(user: UserArgument) -> None:
    """Log in with a user's credentials, and compare the address that is seen with the registered one."""
    from app import user_credentials

    user_credentials.check(user)


@credentials_app.command()
@guarded
def remove(user: UserArgument) -> None:
    """Remove a user's credentials; a running system ends the session, unless exits need it."""
    from app import user_credentials

    user_credentials.remove(user)


@credentials_app.command()
@guarded
def rotate(
    drop_old: Annotated[
        bool, typer.Option("--drop-old", help="Forget the old keys; other state folders may need them.")
    ] = False,
) -> None:
    """Encrypt all credentials of this state folder anew with a new key."""
    from app import user_credentials

    user_credentials.rotate(drop_old=drop_old)
