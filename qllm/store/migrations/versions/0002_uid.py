"""A random id for every run, which the folder of its files carries.

Runs that have begun keep the folder of their number, which carries none. What has never begun has
no folder, and so may have an id.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from qllm.store.folders import new_uid
from qllm.store.types import AnyText

revision = "0002"
down_revision: str | None = "0001"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Add the column."""
    op.add_column("runs", sa.Column("uid", AnyText(), nullable=True))
    runs = sa.table("runs", sa.column("id"), sa.column("parent_id"), sa.column("attempt"),
                    sa.column("uid"))  # fmt: skip
    connection = op.get_bind()
    waiting = sa.select(runs.c.id).where(runs.c.attempt == 0, runs.c.parent_id.is_not(None))
    for (run_id,) in connection.execute(waiting).fetchall():
        connection.execute(sa.update(runs).where(runs.c.id == run_id).values(uid=new_uid()))
