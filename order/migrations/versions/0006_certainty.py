"""What must be known of a broker's account after a restart: fills booked, ids seen, marks on the account.

Revision ID: 0006
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables, and keep from now on under which account a user's tags are made."""
    order = ("signal_no", "user_no", "leg", "slice", "attempt")
    op.create_table(
        "venue_fills",
        *(sa.Column(name, sa.Integer, primary_key=True, autoincrement=False) for name in order),
        sa.Column("fill_id", sa.Text, primary_key=True),
        sa.Column("quantity", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "venue_ids",
        sa.Column("user_no", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("day", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("venue_order_id", sa.Text, primary_key=True),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "account_marks",
        sa.Column("user_no", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("kind", sa.Text, primary_key=True),
        sa.Column("what", sa.Text, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
        sa.Column("at_us", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    for name in ("lost_us", "settled_us"):
        op.add_column("venue_orders", sa.Column(name, sa.BigInteger, nullable=False, server_default="0"))
    op.add_column("users", sa.Column("account", sa.Text, nullable=False, server_default=""))
    op.execute("UPDATE users SET account = broker")
