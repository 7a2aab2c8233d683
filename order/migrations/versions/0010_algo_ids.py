"""Algo ids: what the exchange has registered a user's orders under.

Revision ID: 0010
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; who has none has an empty one."""
    op.add_column("users", sa.Column("algo_id", sa.Text, nullable=False, server_default=""))
