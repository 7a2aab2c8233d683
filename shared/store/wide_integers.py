"""Migrations say `Integer`, which SQLite keeps in 64 bits; on PostgreSQL it has to be asked for."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.schema import CreateColumn


@compiles(sa.Integer, "postgresql")
def wide(_type: sa.Integer, _compiler: Any, **_: object) -> str:
    """Return the type of a whole number."""
    return "BIGINT"


@compiles(CreateColumn, "postgresql")
def wide_serial(column: CreateColumn, compiler: Any, **options: object) -> str:
    """Return a column's definition; one that numbers by itself does so in 64 bits, too."""
    text: str = compiler.visit_create_column(column, **options)
    return text.replace(" SERIAL", " BIGSERIAL")
