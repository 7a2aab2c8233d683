"""Modifies and cancels as requests of their own.

Revision ID: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

INT = sa.BigInteger


def upgrade() -> None:
    """Make the table; only what is not settled is indexed."""
    key = ("signal_no", "user_no", "leg", "slice", "attempt", "number")
    op.create_table(
        "amendments",
        *(sa.Column(name, sa.Integer, primary_key=True, autoincrement=False) for name in key),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("order_type", sa.Text, nullable=False),
        sa.Column("quantity", INT, nullable=False),
        sa.Column("price_paise", INT, nullable=False),
        sa.Column("trigger_paise", INT, nullable=False),
        sa.Column("asked_us", INT, nullable=False),
        sa.Column("sent_us", INT, nullable=False),
        sa.Column("updated_us", INT, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )
    unsettled = "state IN ('REQUESTED','SENT','TAKEN','UNKNOWN')"
    op.create_index(
        "amendments_open",
        "amendments",
        ["state"],
        sqlite_where=sa.text(unsettled),
        postgresql_where=sa.text(unsettled),
    )
