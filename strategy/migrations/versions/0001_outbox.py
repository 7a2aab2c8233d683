"""Outbox, checkpoints, epochs.

Revision ID: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

INT = sa.BigInteger


def upgrade() -> None:
    """Make the first version of the outbox."""
    op.create_table(
        "meta", sa.Column("key", sa.Text, primary_key=True), sa.Column("value", sa.Text, nullable=False)
    )
    op.create_table(
        "outbox",
        sa.Column("seq", sa.Integer, primary_key=True),
        sa.Column("signal_id", sa.Text, nullable=False, unique=True),
        sa.Column("payload", sa.LargeBinary, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("committed_us", INT, nullable=False),
    )
    op.create_table(
        "checkpoints",
        sa.Column("run", sa.Text, primary_key=True),
        sa.Column("strategy_id", sa.Text, primary_key=True),
        sa.Column("symbol", sa.Text, primary_key=True),
        sa.Column("timeframe", sa.Text, primary_key=True),
        sa.Column("close_us", INT, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "epochs",
        sa.Column("no", sa.Integer, primary_key=True),
        sa.Column("epoch", sa.Text, nullable=False, unique=True),
        sa.Column("start_seq", INT, nullable=False),
        sa.Column("complete", sa.Integer, nullable=False),
        sa.Column("placed", sa.Integer, nullable=False),
        sa.Column("void", sa.Integer, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("made_us", INT, nullable=False),
    )
