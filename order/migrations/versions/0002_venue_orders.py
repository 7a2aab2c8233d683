"""What is known of orders at a broker: beside `orders`, so that paper pays nothing for it.

Revision ID: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table of orders at a broker; they are found by their tag."""
    key = ("signal_no", "user_no", "leg", "slice", "attempt")
    op.create_table(
        "venue_orders",
        *(sa.Column(name, sa.Integer, primary_key=True, autoincrement=False) for name in key),
        sa.Column("tag", sa.Text, nullable=False, unique=True),
        sa.Column("venue_order_id", sa.Text, nullable=False),
        sa.Column("sent_us", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
