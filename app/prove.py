"""`trading prove`: kills, crash points, faults and mutants against a whole installation of its own."""

from __future__ import annotations

import json

import typer

from shared.errors import EXIT_FAILED


def run_proof(profile: str, seed: int, *, server: str, as_json: bool, keep: bool) -> None:
    """Run a proof and print it; exit 1 where anything is not as promised.

    Raises:
        ConfigurationError: There is no such profile.
    """
    # Development only: nothing else in the command line needs it.
    from proof.report import prove

    report = prove(profile, seed, lambda line: typer.echo(line, err=True), server=server, keep=keep)
    typer.echo(json.dumps(report.as_dict()) if as_json else report.line())
    if not as_json:
        for finding in report.findings[:20]:
            typer.echo(f"  {finding}")
    if not report.proven:
        raise typer.Exit(EXIT_FAILED)
