"""Run by Alembic: migrate over the connection that :mod:`qllm.store.migrate` hands in."""

from __future__ import annotations

from alembic import context

from qllm.store.schema import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,  # SQLite cannot alter most of a table in place
    transactional_ddl=True,
)
# No transaction of its own: the caller's commits the whole upgrade, or nothing of it.
context.run_migrations()
