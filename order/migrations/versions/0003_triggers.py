"""Triggers of stop orders: beside `orders`, so that an order without one pays nothing for it.

Revision ID: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table; 0 stands for a stop that has woken."""
    key = ("signal_no", "user_no", "leg", "slice", "attempt")
    op.create_table(
        "triggers",
        *(sa.Column(name, sa.Integer, primary_key=True, autoincrement=False) for name in key),
        sa.Column("trigger_paise", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
